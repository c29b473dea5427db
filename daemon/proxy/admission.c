/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/admission.h"

#include "base/error.h"

#include <string.h>
#include <sys/random.h>

#define LINES_A_SECOND 10

struct admission_source {
	struct address address; /* port 0 */
	unsigned int sessions, greeting;
	LIST_ENTRY(admission_source) entry;
};

static uint64_t seed;
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
	/* Without randomness yet, at boot, the address of something of this process must do. */
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed = (uint64_t)(uintptr_t)&seed ^ (uint64_t)clock_now();
}

/* FNV-1a, from a secret start, stirred at the end as MurmurHash3 does. */
uint32_t admission_source(const struct address *client)
{
	bool is_v6 = client->any.sa_family == AF_INET6;
	const uint8_t *bytes = is_v6 ? (const uint8_t *)&client->v6.sin6_addr
				     : (const uint8_t *)&client->v4.sin_addr;
	uint64_t hash;

	pthread_once(&seeded, make_seed);
	hash = seed;
	for (size_t i = 0; i < (is_v6 ? 16U : 4U) && client->any.sa_family != AF_UNSPEC; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	hash ^= hash >> 33;
	hash *= 0xff51afd7ed558ccdULL;
	hash ^= hash >> 33;
	return (uint32_t)hash;
}

const char *admission_reason_name(enum admission_reason reason)
{
	static const char *const NAMES[ADMISSION_REASONS] = {
		[ADMISSION_GRANTED] = "granted",
		[ADMISSION_SESSIONS] = "session-limit",
		[ADMISSION_LISTENER] = "listener-limit",
		[ADMISSION_SOURCE] = "source-limit",
		[ADMISSION_HANDSHAKES] = "source-handshakes",
		[ADMISSION_NO_MEMORY] = "no-memory",
	};

	return NAMES[reason];
}

/* --- all of these with the lock held -------------------------------------------------------- */

static struct admission_source *find(struct admission *admission, const struct address *client)
{
	struct admission_sources *bucket =
		&admission->sources[admission_source(client) % ADMISSION_BUCKETS];
	struct admission_source *source;

	LIST_FOREACH (source, bucket, entry)
		if (address_same_host(&source->address, client))
			return source;
	source = calloc(1, sizeof(*source));
	if (source == NULL)
		return NULL;
	source->address = *client;
	LIST_INSERT_HEAD(bucket, source, entry);
	return source;
}

static void forget_if_unused(struct admission_source *source)
{
	if (source->sessions > 0)
		return;
	LIST_REMOVE(source, entry);
	free(source);
}

static size_t listener_of(const struct config *config, const struct config_edge *edge,
			  const struct config_gateway *gateway)
{
	return gateway != NULL ? config->edge_count + (size_t)(gateway - config->gateways)
			       : (size_t)(edge - config->edges);
}

/* Their number never changes: config_compare_listeners(). */
static bool has_counts(struct admission *admission, size_t count)
{
	if (admission->listeners == NULL) {
		admission->listeners = calloc(count, sizeof(*admission->listeners));
		admission->listener_count = admission->listeners != NULL ? count : 0;
	}
	return admission->listeners != NULL;
}

static enum admission_reason take_source(struct admission *admission, const struct config *config,
					 const struct address *client,
					 struct admission_place *place)
{
	const struct config_limits *limits = &config->limits;
	struct admission_source *source;

	if (client->any.sa_family == AF_UNSPEC)
		return ADMISSION_GRANTED;
	source = find(admission, client);
	if (source == NULL)
		return ADMISSION_NO_MEMORY;
	if (limits->sessions_per_source > 0 && source->sessions >= limits->sessions_per_source)
		return ADMISSION_SOURCE; /* it has some: it is kept */
	if (place->greeting && limits->handshakes_per_source > 0 &&
	    source->greeting >= limits->handshakes_per_source)
		return ADMISSION_HANDSHAKES;
	source->sessions++;
	source->greeting += place->greeting;
	place->source = source;
	return ADMISSION_GRANTED;
}

static enum admission_reason take(struct admission *admission, const struct config *config,
				  unsigned int limit, const struct address *client,
				  struct admission_place *place)
{
	enum admission_reason reason;

	if (!has_counts(admission, config->edge_count + config->gateway_count))
		return ADMISSION_NO_MEMORY;
	if (limit > 0 && admission->listeners[place->listener] >= limit)
		return ADMISSION_LISTENER;
	reason = take_source(admission, config, client, place);
	if (reason == ADMISSION_GRANTED) {
		admission->listeners[place->listener]++;
		place->held = true;
	}
	return reason;
}

/* -------------------------------------------------------------------------------------------- */

enum admission_reason admission_take(struct admission *admission, const struct config *config,
				     const struct config_edge *edge,
				     const struct config_gateway *gateway,
				     const struct address *client, struct admission_place *place)
{
	enum admission_reason reason;

	*place = (struct admission_place){
		.listener = listener_of(config, edge, gateway),
		.greeting = gateway != NULL,
	};
	pthread_mutex_lock(&admission->lock);
	reason = take(admission, config, gateway != NULL ? gateway->sessions : edge->sessions,
		      client, place);
	pthread_mutex_unlock(&admission->lock);
	return reason;
}

void admission_greeted(struct admission *admission, struct admission_place *place)
{
	if (!place->greeting)
		return;
	place->greeting = false;
	if (place->source == NULL)
		return;
	pthread_mutex_lock(&admission->lock);
	place->source->greeting--;
	pthread_mutex_unlock(&admission->lock);
}

void admission_give(struct admission *admission, struct admission_place *place)
{
	if (!place->held)
		return;
	admission_greeted(admission, place);
	pthread_mutex_lock(&admission->lock);
	admission->listeners[place->listener]--;
	if (place->source != NULL) {
		place->source->sessions--;
		forget_if_unused(place->source);
	}
	pthread_mutex_unlock(&admission->lock);
	*place = (struct admission_place){.held = false};
}

bool admission_may_tell(struct admission *admission, clock_us now, unsigned int *untold)
{
	bool may;

	pthread_mutex_lock(&admission->lock);
	if (admission->lines == 0 || now - admission->told >= CLOCK_SEC) {
		admission->told = now;
		admission->lines = 0;
	}
	may = admission->lines < LINES_A_SECOND;
	*untold = admission->untold;
	if (may) {
		admission->lines++;
		admission->untold = 0;
	} else {
		admission->untold++;
	}
	pthread_mutex_unlock(&admission->lock);
	return may;
}

void admission_deinit(struct admission *admission)
{
	free(admission->listeners);
	admission->listeners = NULL;
}
