/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mcseald: reads its configuration, opens its listeners, starts its threads, announces that it is
 * ready, and stops when told to. The order of the calls in run() is the design.
 */
#include "base/error.h"
#include "base/log.h"
#include "config/config.h"
#include "confine/confine.h"
#include "control/control.h"
#include "control/drains.h"
#include "control/expiry.h"
#include "control/reload.h"
#include "control/renewal.h"
#include "net/passed.h"
#include "net/socket.h"
#include "plant/plant.h"
#include "proxy/audit_file.h"
#include "proxy/capabilities.h"
#include "proxy/counters.h"
#include "proxy/handshake_pool.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"
#include "tls/tls_memory.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#define DEFAULT_PATH      "/etc/mcseal/mcseald.conf"
#define WORKERS_MAX       256
#define HANDSHAKE_THREADS 2

const char *argp_program_version = "mcseald " MCSEAL_VERSION;

struct arguments {
	const char *path;
	bool check;
};

static const struct argp_option options[] = {
	{"check", 'c', NULL, 0, "Say everything that is wrong with the configuration, and exit", 0},
	{0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case 'c':
		arguments->check = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one configuration file, not two: %s", value);
		arguments->path = value;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "[FILE]",
	.doc = "Carries MC protocol (SLMP) connections in mutual TLS, as edge, as gateway, or "
	       "both.\n"
	       "\vFILE is " DEFAULT_PATH " unless given. Its format is told in mcseald.conf.md.",
};

static unsigned int worker_count(const struct config *config)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (config->workers > 0)
		return config->workers < WORKERS_MAX ? config->workers : WORKERS_MAX;
	return cores < 1 ? 1 : cores > 4 ? 4 : (unsigned int)cores;
}

/* What this kernel does and what follows, each said in one line. Negative: refused, and said. */
static int choose(struct capabilities *capabilities, const struct config *config)
{
	int error;

	capabilities_probe(capabilities, config);
	capabilities_log(capabilities);
	error = capabilities_choose(capabilities, config);
	if (error == 0)
		capabilities_log_choice(capabilities, config);
	return error;
}

/*
 * Descriptors: thousands of sessions are two each. Locked memory, which rings are counted as: who
 * may have any amount of it (CAP_IPC_LOCK) is about to give up that right, but may fix the limit
 * first.
 */
static void raise_limits(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	(void)setrlimit(RLIMIT_MEMLOCK, &limit);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void drop_mark_if_forbidden(struct snapshot *snapshot)
{
	int error = snapshot->socket_options.mark ? socket_probe_mark(snapshot->socket_options.mark)
						  : 0;

	if (error == 0)
		return;
	/* Without the mark only rules that match PLC addresses exactly are safe from loops. */
	log_simple(LOG_LEVEL_WARNING, "mark-not-set", "why",
		   "SO_MARK: %s (needs CAP_NET_RAW); `mark = 0` silences this",
		   strerrordesc_np(-error));
	snapshot->socket_options.mark = 0;
}

static int start_workers(struct worker **workers, unsigned int count,
			 const struct capabilities *capabilities, struct snapshot *snapshot,
			 struct handshake_pool *pool, struct counters *counters,
			 struct audit_file *audit, struct passed *passed)
{
	int error = 0;

	for (unsigned int i = 0; i < count && error == 0; i++)
		error = worker_new(i, capabilities, snapshot, pool, counters, audit, passed,
				   &workers[i]);
	return error;
}

/* What the service manager has opened for us. 0 or -errno, and then it has been said. */
static int take_passed(struct passed **passed)
{
	char **names = NULL;
	size_t wrong = 0;
	int count = sd_listen_fds_with_names(1, &names);
	int error = count > 0
			    ? passed_new(SD_LISTEN_FDS_START, (size_t)count, names, &wrong, passed)
			    : count;

	if (error == -EINVAL && names != NULL)
		log_simple(LOG_LEVEL_ERROR, "socket-refused", "socket",
			   "%zu of those passed, named %s, is no listening TCP socket", wrong + 1,
			   names[wrong]);
	for (int i = 0; i < count && names != NULL; i++)
		free(names[i]);
	free(names);
	return error;
}

static void warn_of_idle(const struct passed *passed)
{
	struct address address;
	struct log_entry entry;
	char text[ADDRESS_TEXT_SIZE];
	const char *name;
	size_t at = 0;

	while ((name = passed_idle(passed, &at, &address)) != NULL) {
		log_begin(&entry, LOG_LEVEL_WARNING, "socket-unused");
		log_field(&entry, "name", "%s", name);
		log_field(&entry, "address", "%s", address_print(&address, text));
		log_end(&entry);
	}
}

static void stop_workers(struct worker **workers, unsigned int count, struct handshake_pool *pool)
{
	for (unsigned int i = 0; i < count; i++)
		if (workers[i] != NULL)
			worker_stop(workers[i]);
	handshake_pool_stop(pool);
	for (unsigned int i = 0; i < count; i++)
		worker_join(workers[i]);
	handshake_pool_free(pool);
}

/* --- what this thread waits for ------------------------------------------------------------- */

static int told_to_end(sd_event_source *source, const struct signalfd_siginfo *signal,
		       void *context)
{
	(void)context;
	log_simple(LOG_LEVEL_INFO, "stopping", "signal", "%s",
		   sigabbrev_np((int)signal->ssi_signo));
	(void)sd_notify(0, "STOPPING=1");
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int told_to_reload(sd_event_source *source, const struct signalfd_siginfo *signal,
			  void *context)
{
	(void)source;
	(void)signal;
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_now());
	/* Ready either way: what was in force still is. */
	(void)sd_notify(0,
			reload(context, stderr) == 0
				? "READY=1\nSTATUS=running"
				: "READY=1\nSTATUS=running; the last reload failed, see the log");
	return 0;
}

static int told_to_reopen(sd_event_source *source, const struct signalfd_siginfo *signal,
			  void *context)
{
	const struct reload *running = context;

	(void)source;
	(void)signal;
	audit_file_reopen(running->audit);
	return 0;
}

/* Each with who is told. All are blocked, in every thread. */
static const struct {
	int number;
	sd_event_signal_handler_t told;
} SIGNALS[] = {
	{SIGTERM, told_to_end},
	{SIGINT, told_to_end},
	{SIGHUP, told_to_reload},
	{SIGUSR1, told_to_reopen},
};

static void block_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++)
		sigaddset(&signals, SIGNALS[i].number);
	pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread: all inherit it */
}

static int new_loop(sd_event **loop, struct reload *running)
{
	int error = sd_event_new(loop);

	for (size_t i = 0; i < ARRAY_SIZE(SIGNALS) && error >= 0; i++)
		error = sd_event_add_signal(*loop, NULL, SIGNALS[i].number, SIGNALS[i].told,
					    running);
	if (error >= 0)
		error = sd_event_set_watchdog(*loop, true); /* if the service has one */
	return error < 0 ? error : 0;
}

/* Everything runs: this thread waits for signals and for who asks at the control socket. */
static int wait_for_end(sd_event *loop, struct reload *running, struct drains *drains,
			const struct capabilities *capabilities, struct confinement *confinement,
			struct counters *counters)
{
	struct control_context context = {
		running,  capabilities, confinement, running->snapshot->plant,
		counters, time(NULL),   drains};
	const char *path = running->snapshot->config->control_socket;
	struct control *control = NULL;
	int error;

	if (*path != '\0') /* without it everything else goes on; it has said why */
		(void)control_new(loop, path, &control_commands, &context, &control);
	error = confine_calls(confinement); /* all threads are there, and have their rings */
	if (error == 0) {
		log_simple(LOG_LEVEL_INFO, "ready", "workers", "%u", running->worker_count);
		(void)sd_notify(0, "READY=1\nSTATUS=running");
		error = sd_event_loop(loop);
		if (error < 0)
			log_simple(LOG_LEVEL_ERROR, "loop-failed", "error", "%s",
				   strerrordesc_np(-error));
	}
	control_free(control);
	return error < 0 ? error : 0;
}

/* --- start and end -------------------------------------------------------------------------- */

static int serve(struct reload *running, struct confinement *confinement)
{
	struct worker *workers[WORKERS_MAX] = {0};
	struct handshake_pool *pool = NULL;
	const struct config *config = running->snapshot->config;
	struct capabilities capabilities = {0}; /* constant from the first thread on */
	struct counters counters = {0};
	struct drains *drains = NULL;
	struct passed *passed = NULL;
	sd_event *loop = NULL;
	int error = choose(&capabilities, config);

	running->workers = workers;
	running->worker_count = worker_count(config);
	if (error == 0)
		error = take_passed(&passed);
	if (error == 0)
		error = new_loop(&loop, running);
	if (error == 0)
		error = confine_files(confinement, config, capabilities.loop == RING_ENGINE_URING);
	if (error == 0)
		error = handshake_pool_new(&capabilities, running->chains, HANDSHAKE_THREADS,
					   config->limits.handshakes, &pool);
	if (error == 0)
		error = start_workers(workers, running->worker_count, &capabilities,
				      running->snapshot, pool, &counters, running->audit, passed);
	if (error == 0)
		warn_of_idle(passed);
	if (error == 0)
		error = drains_new(loop, running, &drains);
	if (error == 0)
		error = expiry_new(loop, &running->snapshot, &running->expiry);
	if (error == 0)
		error = renewal_new(loop, running, &running->renewal);
	if (error == 0)
		error = wait_for_end(loop, running, drains, &capabilities, confinement, &counters);
	else
		log_simple(LOG_LEVEL_ERROR, "start-failed", "error", "%s", strerrordesc_np(-error));
	drains_free(drains);
	renewal_free(running->renewal);
	expiry_free(running->expiry);
	stop_workers(workers, running->worker_count, pool);
	running->workers = NULL;
	running->worker_count = 0;
	sd_event_unref(loop);
	admission_deinit(&counters.admission);
	passed_free(passed);
	return error;
}

static int check(const char *path)
{
	struct snapshot *snapshot = NULL;
	int error = snapshot_load(path, NULL, stderr, &snapshot);

	if (error == -ENOMEM)
		fputs("mcseald: out of memory\n", stderr);
	if (error < 0)
		return 1;
	snapshot_release(snapshot);
	printf("%s: ok\n", path);
	return 0;
}

/* What lasts as long as the daemon, and the first configuration. */
static int load(struct reload *running, struct plant **plant)
{
	int error = plant_new(plant);

	running->chains = peer_chain_store_new();
	if (error == 0 && running->chains == NULL)
		error = -ENOMEM;
	if (error == 0)
		error = audit_file_new(&running->audit);
	if (error == 0)
		error = snapshot_load(running->path, *plant, stderr, &running->snapshot);
	if (error != 0)
		return error;
	log_set_level(running->snapshot->config->log_level);
	error = plant_configure(*plant, running->snapshot->config);
	if (error == 0)
		error = audit_file_configure(running->audit, running->snapshot->config->audit.file);
	return error;
}

static int run(const char *path)
{
	struct reload running = {.path = path};
	struct confinement confinement = {0};
	struct plant *plant = NULL;
	int error = load(&running, &plant);

	if (error == -ENOMEM)
		log_simple(LOG_LEVEL_ERROR, "start-failed", "error", "%s", strerrordesc_np(-error));
	if (error == 0) {
		/* Keys are in this memory: no core dumps, no ptrace by the same user. */
		(void)prctl(PR_SET_DUMPABLE, 0);
		signal(SIGPIPE, SIG_IGN);
		signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error, no end */
		block_signals();
		raise_limits();
		error = confine_privileges(&confinement, running.snapshot->config);
	}
	if (error == 0) {
		drop_mark_if_forbidden(running.snapshot);
		error = serve(&running, &confinement);
	}
	if (running.snapshot != NULL)
		snapshot_release(running.snapshot);
	audit_file_free(running.audit);
	peer_chain_store_free(running.chains);
	plant_free(plant);
	return error != 0;
}

/*
 * Started without a standard descriptor, the next thing that is opened would be it, and the log
 * would go to a PLC. What stands there instead cannot be written: whoever logs learns of it.
 */
static void hold_standard_descriptors(void)
{
	int fd = open("/dev/null", O_RDONLY);

	while (fd >= 0 && fd <= STDERR_FILENO)
		fd = open("/dev/null", O_RDONLY);
	if (fd > STDERR_FILENO)
		close(fd);
}

int main(int argc, char **argv)
{
	struct arguments arguments = {.path = DEFAULT_PATH};

	hold_standard_descriptors();
	if (tls_memory_wipe_on_free() < 0)
		abort(); /* a library of ours has called OpenSSL already: a fault of the build */
	argp_parse(&argp, argc, argv, 0, NULL, &arguments);
	return arguments.check ? check(arguments.path) : run(arguments.path);
}
