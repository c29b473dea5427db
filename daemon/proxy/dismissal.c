/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/dismissal.h"

#include "base/error.h"
#include "proxy/drain.h"
#include "proxy/relay.h"
#include "proxy/session_walk.h"
#include "proxy/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define CLOSE_COST 64 /* steps of a walk */

struct dismissal {
	struct session_walk *walk;
	struct dismissal_order order;
	bool *sections;
	unsigned int worker_count;
	struct dismissal_result results[]; /* by worker */
};

/* The handshake threads have its socket, and give it back when the connection has ended. */
static void end_handshake(const struct session *session)
{
	for (unsigned int i = 0; i < LEGS; i++)
		if (session->legs[i].fd >= 0)
			(void)shutdown(session->legs[i].fd, SHUT_RDWR);
}

static bool relays(const struct session *session)
{
	return session->state == SESSION_RELAYING || session->state == SESSION_DRAINING;
}

/* Before it relays nothing has been asked of the PLC. */
static void dismiss(struct session *session, bool now)
{
	bool shakes = session->state == SESSION_HANDSHAKING;

	if (!now && relays(session))
		relay_end_at_rest(session, SESSION_REASON_CLOSED_BY_ADMIN);
	else
		session_close(session, SESSION_REASON_CLOSED_BY_ADMIN, NULL);
	if (shakes)
		end_handshake(session);
}

static bool is_meant(const struct dismissal *dismissal, const struct session *session)
{
	size_t section =
		drain_section_of(session->snapshot->config, session->edge, session->gateway);

	if (dismissal->order.id != 0)
		return session->id == dismissal->order.id;
	return section < dismissal->order.section_count && dismissal->sections[section];
}

static unsigned int visit(void *context, unsigned int worker, struct session *session)
{
	struct dismissal *dismissal = context;
	struct dismissal_result *result = &dismissal->results[worker];

	if (!is_meant(dismissal, session))
		/* They come in the order of their ids. */
		return session->id < dismissal->order.id ? 0 : 1;
	dismiss(session, dismissal->order.now);
	if (session->state == SESSION_CLOSED)
		result->closed++;
	else
		result->ending++;
	return CLOSE_COST;
}

int dismissal_new(struct worker **workers, unsigned int count, const struct dismissal_order *order,
		  struct dismissal **out)
{
	struct dismissal *dismissal =
		calloc(1, sizeof(*dismissal) + count * sizeof(dismissal->results[0]));
	const struct session_walk_visitor visitor = {visit, dismissal};
	int error = -ENOMEM;

	if (dismissal == NULL)
		return -ENOMEM;
	dismissal->order = *order;
	dismissal->worker_count = count;
	dismissal->sections = calloc(order->section_count + 1, sizeof(bool));
	if (dismissal->sections != NULL) {
		if (order->section_count > 0)
			memcpy(dismissal->sections, order->sections,
			       order->section_count * sizeof(bool));
		error = session_walk_new(workers, count, &visitor, &dismissal->walk);
	}
	if (error < 0)
		dismissal_free(dismissal);
	else
		*out = dismissal;
	return error;
}

void dismissal_free(struct dismissal *dismissal)
{
	if (dismissal == NULL)
		return;
	session_walk_free(dismissal->walk);
	free(dismissal->sections);
	free(dismissal);
}

int dismissal_descriptor(const struct dismissal *dismissal)
{
	return session_walk_descriptor(dismissal->walk);
}

int dismissal_get(const struct dismissal *dismissal, struct dismissal_result *result)
{
	*result = (struct dismissal_result){0};
	if (!session_walk_is_done(dismissal->walk))
		return -EAGAIN;
	for (unsigned int i = 0; i < dismissal->worker_count; i++) {
		result->closed += dismissal->results[i].closed;
		result->ending += dismissal->results[i].ending;
	}
	return 0;
}
