/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/capabilities.h"

#include "base/error.h"
#include "base/log.h"
#include "proxy/ktls_probe.h"
#include "proxy/loopback.h"
#include "ring/pipe_pool.h"
#include "ring/ring_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert((int)CAPABILITY_CHACHA20_POLY1305 - (int)CAPABILITY_AES_128_GCM ==
		       (int)TRAFFIC_CHACHA20_POLY1305 - (int)TRAFFIC_AES_128_GCM,
	       "ciphers stand in one order");
_Static_assert(CAPABILITY_REKEY - CAPABILITY_AES_128_GCM == (int)TRAFFIC_CIPHERS,
	       "every cipher is a capability");

/* Name in lines, and in sentences like "... is not to be had". */
static const struct {
	const char *name, *noun;
} names[] = {
	[CAPABILITY_URING] = {"io_uring", "io_uring"},
	[CAPABILITY_URING_SPLICE] = {"uring-splice", "splice by io_uring"},
	[CAPABILITY_KTLS] = {"ktls", "kernel TLS"},
	[CAPABILITY_AES_128_GCM] = {"aes-128-gcm", "AES-128-GCM in the kernel"},
	[CAPABILITY_AES_256_GCM] = {"aes-256-gcm", "AES-256-GCM in the kernel"},
	[CAPABILITY_CHACHA20_POLY1305] = {"chacha20-poly1305", "CHACHA20-POLY1305 in the kernel"},
	[CAPABILITY_REKEY] = {"rekey", "a change of keys in the kernel"},
	[CAPABILITY_WHOLE_POLL] = {"whole-poll", "poll for whole records"},
	[CAPABILITY_SAFE_SPLICE] = {"safe-splice", "splice without loss"},
	[CAPABILITY_PIPES] = {"pipes", "a pipe of full size"},
};
_Static_assert(ARRAY_SIZE(names) == CAPABILITIES, "every capability has a name");

/* What each word of `engine =` asks for. */
static const struct demand {
	const char *word;
	bool epoll;   /* the loop is not io_uring */
	bool insists; /* else something less will do */
	enum relay_engine relay;
} demands[] = {
	[CONFIG_ENGINE_AUTO] = {"auto", false, false, RELAY_ENGINE_SPLICE},
	[CONFIG_ENGINE_SPLICE] = {"splice", false, true, RELAY_ENGINE_SPLICE},
	[CONFIG_ENGINE_URING_SPLICE] = {"uring-splice", false, true, RELAY_ENGINE_URING_SPLICE},
	[CONFIG_ENGINE_COPY] = {"copy", false, true, RELAY_ENGINE_COPY},
	[CONFIG_ENGINE_EPOLL] = {"epoll", true, false, RELAY_ENGINE_SPLICE},
};

const char *capability_name(enum capability capability)
{
	return names[capability].name;
}

/* --- the configuration's listeners ---------------------------------------------------------- */

struct listener {
	const char *section, *name;
	enum config_ktls ktls;
};

/* The n-th gateway, then edge, of the file; false behind the last. */
static bool listener_at(const struct config *config, size_t n, struct listener *listener)
{
	if (n < config->gateway_count) {
		const struct config_gateway *gateway = &config->gateways[n];

		*listener = (struct listener){"gateway", gateway->name,
					      config_ktls(config, NULL, gateway)};
		return true;
	}
	n -= config->gateway_count;
	if (n < config->edge_count) {
		const struct config_edge *edge = &config->edges[n];

		*listener = (struct listener){"edge", edge->name, config_ktls(config, edge, NULL)};
		return true;
	}
	return false;
}

static bool wants_ktls(const struct config *config)
{
	struct listener listener;

	for (size_t i = 0; listener_at(config, i, &listener); i++) {
		if (listener.ktls != CONFIG_KTLS_OFF)
			return true;
	}
	return false;
}

/* --- findings ------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void set_missing(struct capability_finding *finding,
							      const char *format, ...)
{
	va_list arguments;

	finding->there = false;
	va_start(arguments, format);
	(void)vsnprintf(finding->why, sizeof(finding->why), format, arguments);
	va_end(arguments);
}

static void set_outcome(struct capability_finding *finding, const char *step, int error)
{
	if (error < 0)
		set_missing(finding, "%s: %s", step, strerrordesc_np(-error));
	else
		*finding = (struct capability_finding){.there = true};
}

static void probe_uring(struct capability_finding *findings)
{
	const char *step = "loopback connection";
	int pair[2];
	int error = ring_probe_uring(&step);

	set_outcome(&findings[CAPABILITY_URING], step, error);
	if (error == 0) {
		step = "loopback connection";
		error = loopback_pair(pair);
		if (error == 0)
			error = ring_probe_splice(pair[0], pair[1], &step);
		cleanup_close_fd(&pair[0]);
		cleanup_close_fd(&pair[1]);
	}
	set_outcome(&findings[CAPABILITY_URING_SPLICE], step, error);
}

/* Users with many pipes get small ones: /proc/sys/fs/pipe-user-pages-soft, pipe(7). */
static void probe_pipes(struct capability_finding *finding)
{
	int ends[2], error;

	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) {
		set_outcome(finding, "pipe", -errno);
		return;
	}
	error = pipe_set_slots(ends[1]);
	if (error == -EPERM)
		set_missing(finding, "pipe of %d slots: %s (fs.pipe-user-pages-soft)", PIPE_SLOTS,
			    strerrordesc_np(-error));
	else
		set_outcome(finding, "pipe", error);
	cleanup_close_fd(&ends[0]);
	cleanup_close_fd(&ends[1]);
}

void capabilities_probe(struct capabilities *capabilities, const struct config *config)
{
	struct capability_finding *findings = capabilities->findings;

	memset(capabilities, 0, sizeof(*capabilities));
	if (demands[config->engine].epoll)
		for (unsigned int i = CAPABILITY_URING; i <= CAPABILITY_URING_SPLICE; i++)
			set_missing(&findings[i], "engine = epoll");
	else
		probe_uring(findings);
	if (wants_ktls(config))
		ktls_probe(findings);
	else
		for (unsigned int i = CAPABILITY_KTLS; i <= CAPABILITY_SAFE_SPLICE; i++)
			set_missing(&findings[i], "ktls = off");
	probe_pipes(&findings[CAPABILITY_PIPES]);
}

/* Kernel TLS without any cipher is none. NULL: it is there. */
static const struct capability_finding *lack_of_ktls(const struct capabilities *capabilities)
{
	const struct capability_finding *findings = capabilities->findings;

	if (!findings[CAPABILITY_KTLS].there)
		return &findings[CAPABILITY_KTLS];
	for (unsigned int i = CAPABILITY_AES_128_GCM; i < CAPABILITY_REKEY; i++) {
		if (findings[i].there)
			return NULL;
	}
	return &findings[CAPABILITY_AES_128_GCM];
}

const char *capabilities_refuse_cipher(const struct capabilities *capabilities,
				       enum traffic_cipher cipher)
{
	const struct capability_finding *ktls = &capabilities->findings[CAPABILITY_KTLS];
	const struct capability_finding *own =
		&capabilities->findings[CAPABILITY_AES_128_GCM + (unsigned int)cipher];

	return !ktls->there ? ktls->why : !own->there ? own->why : NULL;
}

/* --- the choice ----------------------------------------------------------------------------- */

/* Returns -EOPNOTSUPP: the configuration insists on what is not there. */
static int refuse_engine(const struct demand *demand, enum capability capability, const char *why)
{
	log_simple(LOG_LEVEL_ERROR, "engine-refused", "why",
		   "engine = %s, but %s is not to be had: %s", demand->word, names[capability].noun,
		   why);
	return -EOPNOTSUPP;
}

static int choose_loop(struct capabilities *capabilities, const struct demand *demand)
{
	const struct capability_finding *uring = &capabilities->findings[CAPABILITY_URING];

	capabilities->loop = RING_ENGINE_EPOLL;
	if (demand->epoll) {
		snprintf(capabilities->loop_why, sizeof(capabilities->loop_why), "engine = epoll");
	} else if (uring->there) {
		capabilities->loop = RING_ENGINE_URING;
		snprintf(capabilities->loop_why, sizeof(capabilities->loop_why),
			 "the kernel offers everything needed");
	} else if (demand->insists) {
		return refuse_engine(demand, CAPABILITY_URING, uring->why);
	} else {
		snprintf(capabilities->loop_why, sizeof(capabilities->loop_why),
			 "io_uring is not to be had: %s", uring->why);
	}
	return 0;
}

/* The first of what splicing needs and is not there; CAPABILITIES: nothing. */
static enum capability lack_for_splice(const struct capabilities *capabilities,
				       enum relay_engine engine)
{
	static const enum capability needs[] = {CAPABILITY_SAFE_SPLICE, CAPABILITY_PIPES,
						CAPABILITY_URING_SPLICE};
	size_t count = ARRAY_SIZE(needs) - (engine == RELAY_ENGINE_URING_SPLICE ? 0 : 1);

	for (size_t i = 0; i < count; i++) {
		if (!capabilities->findings[needs[i]].there)
			return needs[i];
	}
	return CAPABILITIES;
}

static void warn_idle_engine(const struct demand *demand, const char *why)
{
	if (demand->insists && demand->relay != RELAY_ENGINE_COPY)
		log_simple(LOG_LEVEL_WARNING, "engine-idle", "why",
			   "engine = %s, but sessions are in user space and copied: %s",
			   demand->word, why);
}

static int choose_relay(struct capabilities *capabilities, const struct demand *demand)
{
	const struct capability_finding *lack = lack_of_ktls(capabilities);
	enum capability missing = lack_for_splice(capabilities, demand->relay);
	char *why = capabilities->relay_why;
	const size_t size = sizeof(capabilities->relay_why);

	capabilities->relay = RELAY_ENGINE_COPY;
	if (lack != NULL) {
		/* The same daemon may run where the module is: no fault, but no use either. */
		warn_idle_engine(demand, lack->why);
		snprintf(why, size, "no kernel TLS: %s", lack->why);
	} else if (demand->relay == RELAY_ENGINE_COPY) {
		snprintf(why, size, "engine = %s", demand->word);
	} else if (missing == CAPABILITIES) {
		capabilities->relay = demand->relay;
		snprintf(why, size, "nothing is lost in a splice from kernel TLS");
	} else if (demand->insists) {
		return refuse_engine(demand, missing, capabilities->findings[missing].why);
	} else {
		snprintf(why, size, "%s is not to be had: %s", names[missing].noun,
			 capabilities->findings[missing].why);
	}
	return 0;
}

/* Said of the first listener that insists. */
static int check_required(const struct capabilities *capabilities, const struct config *config)
{
	const struct capability_finding *lack = lack_of_ktls(capabilities);
	struct listener listener;

	for (size_t i = 0; lack != NULL && listener_at(config, i, &listener); i++) {
		if (listener.ktls != CONFIG_KTLS_REQUIRED)
			continue;
		log_simple(LOG_LEVEL_ERROR, "ktls-refused", "why",
			   "%s \"%s\": ktls = required, but kernel TLS is not to be had: %s",
			   listener.section, listener.name, lack->why);
		return -EOPNOTSUPP;
	}
	return 0;
}

int capabilities_choose(struct capabilities *capabilities, const struct config *config)
{
	const struct demand *demand = &demands[config->engine];
	/* Both, so that every refusal is told at once. */
	int required = check_required(capabilities, config);
	int error = choose_loop(capabilities, demand);

	if (error == 0)
		error = choose_relay(capabilities, demand);
	return required < 0 ? required : error;
}

/* --- the log -------------------------------------------------------------------------------- */

/* A cause that several findings share is told with the first of them. */
static bool is_told(const struct capability_finding *findings, unsigned int finding)
{
	for (unsigned int i = 0; i < finding; i++) {
		if (strcmp(findings[i].why, findings[finding].why) == 0)
			return true;
	}
	return false;
}

void capabilities_log(const struct capabilities *capabilities)
{
	const struct capability_finding *findings = capabilities->findings;
	struct log_entry entry;

	log_begin(&entry, LOG_LEVEL_INFO, "capabilities");
	for (unsigned int i = 0; i < CAPABILITIES; i++) {
		char key[32];

		log_field(&entry, names[i].name, "%s", findings[i].there ? "yes" : "no");
		snprintf(key, sizeof(key), "%s-why", names[i].name);
		if (!findings[i].there && !is_told(findings, i))
			log_field(&entry, key, "%s", findings[i].why);
	}
	log_end(&entry);
}

/* "AES-128-GCM, CHACHA20-POLY1305". */
static void list_ciphers(const struct capabilities *capabilities, char *text, size_t size)
{
	size_t used = 0;

	for (unsigned int i = 0; i < TRAFFIC_CIPHERS; i++) {
		if (!capabilities->findings[CAPABILITY_AES_128_GCM + i].there || used >= size)
			continue;
		used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
					 traffic_cipher_name((enum traffic_cipher)i));
	}
}

void capabilities_log_choice(const struct capabilities *capabilities, const struct config *config)
{
	const struct capability_finding *lack = lack_of_ktls(capabilities);
	bool kernel = lack == NULL && wants_ktls(config);
	struct log_entry entry;
	char ciphers[64] = "";

	list_ciphers(capabilities, ciphers, sizeof(ciphers));
	log_begin(&entry, LOG_LEVEL_INFO, "engine");
	log_field(&entry, "loop", "%s", ring_engine_name(capabilities->loop));
	log_field(&entry, "why", "%s", capabilities->loop_why);
	log_field(&entry, "relay", "%s", relay_engine_name(capabilities->relay));
	log_field(&entry, "relay-why", "%s", capabilities->relay_why);
	log_field(&entry, "tls-path", "%s", kernel ? "kernel" : "user space");
	if (kernel)
		log_field(&entry, "tls-why", "the kernel takes keys of %s", ciphers);
	else
		log_field(&entry, "tls-why", "%s", lack ? lack->why : "ktls = off");
	log_end(&entry);
}
