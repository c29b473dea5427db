/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mcseald: reads its configuration, opens its listeners, starts its threads, announces that it is
 * ready, and stops when told to. The order of the calls in run() is the design.
 */
#include "base/error.h"
#include "base/log.h"
#include "config/config.h"
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

/* Files are judged whole: the configuration's text, then every certificate that it names. */
static int load(const char *path, struct plant *plant, struct snapshot **snapshot)
{
	struct config *config;
	int error = config_judge(path, stderr, &config), certificates;

	if (config == NULL)
		return error < 0 ? error : -EINVAL;
	log_set_level(config->log_level);
	certificates = snapshot_new(config, plant, stderr, snapshot);
	if (error < 0 && certificates == 0)
		snapshot_release(*snapshot);
	return error < 0 ? error : certificates;
}

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

/* Thousands of sessions are two descriptors each. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

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
			 struct audit_file *audit)
{
	int error = 0;

	for (unsigned int i = 0; i < count && error == 0; i++)
		error = worker_new(i, capabilities, snapshot, pool, counters, audit, &workers[i]);
	return error;
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

static void wait_for_end(const sigset_t *signals, struct audit_file *audit)
{
	int number = sigwaitinfo(signals, NULL);

	while (number < 0 || number == SIGUSR1) {
		if (number == SIGUSR1)
			audit_file_reopen(audit);
		number = sigwaitinfo(signals, NULL);
	}
	log_simple(LOG_LEVEL_INFO, "stopping", "signal", "%s", sigabbrev_np(number));
}

static int serve(struct snapshot *snapshot, struct audit_file *audit, const sigset_t *signals)
{
	struct worker *workers[WORKERS_MAX] = {0};
	struct handshake_pool *pool = NULL;
	const struct config *config = snapshot->config;
	unsigned int count = worker_count(config);
	struct capabilities capabilities = {0}; /* constant from the first thread on */
	struct counters counters = {0};
	int error = choose(&capabilities, config);

	if (error == 0)
		error = handshake_pool_new(&capabilities, HANDSHAKE_THREADS,
					   config->limits.handshakes, &pool);
	if (error == 0)
		error = start_workers(workers, count, &capabilities, snapshot, pool, &counters,
				      audit);
	if (error == 0) {
		log_simple(LOG_LEVEL_INFO, "ready", "workers", "%u", count);
		wait_for_end(signals, audit);
	} else {
		log_simple(LOG_LEVEL_ERROR, "start-failed", "error", "%s", strerrordesc_np(-error));
	}
	stop_workers(workers, count, pool);
	return error;
}

static int check(const char *path)
{
	struct snapshot *snapshot = NULL;
	int error = load(path, NULL, &snapshot);

	if (error < 0)
		return 1;
	snapshot_release(snapshot);
	printf("%s: ok\n", path);
	return 0;
}

static int run(const struct arguments *arguments)
{
	struct snapshot *snapshot = NULL;
	struct plant *plant = NULL;
	struct audit_file *audit = NULL;
	sigset_t signals;
	int error = plant_new(&plant);

	if (error == 0)
		error = audit_file_new(&audit);
	if (error == 0)
		error = load(arguments->path, plant, &snapshot);
	if (error == 0)
		error = plant_configure(plant, snapshot->config);
	if (error == 0)
		error = audit_file_configure(audit, snapshot->config->audit.file);
	if (error != 0) {
		audit_file_free(audit);
		plant_free(plant);
		return 1;
	}
	/* Keys are in this memory: no core dumps, no ptrace by the same user. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow further is an error, no end */
	signal(SIGHUP, SIG_IGN);  /* a closed terminal must not end every session */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread: all inherit it */
	raise_descriptor_limit();
	drop_mark_if_forbidden(snapshot);
	error = serve(snapshot, audit, &signals);
	snapshot_release(snapshot);
	audit_file_free(audit);
	plant_free(plant);
	return error < 0 ? 1 : 0;
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
	return arguments.check ? check(arguments.path) : run(&arguments);
}
