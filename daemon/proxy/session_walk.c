/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/session_walk.h"

#include "base/error.h"
#include "proxy/worker.h"

#include <errno.h>

/* Where it is on one worker, between two pieces. */
struct session_walk_place {
	LIST_ENTRY(session_walk_place) entry; /* worker's list */
	struct session *next;
	bool begun;
};

struct session_walk {
	struct session_walk_visitor visitor;
	struct errand *errand;
	struct session_walk_place places[];
};

void session_walk_pass(struct session *session)
{
	struct session_walk_place *place;

	for (place = LIST_FIRST(&session->worker->walks); place != NULL;
	     place = LIST_NEXT(place, entry))
		if (place->next == session)
			place->next = LIST_NEXT(session, entry);
}

static void begin(struct session_walk_place *place, struct worker *worker)
{
	place->begun = true;
	place->next = LIST_FIRST(&worker->sessions);
	LIST_INSERT_HEAD(&worker->walks, place, entry);
}

static void piece(struct errand_part *part, void *context)
{
	struct session_walk *walk = context;
	struct session_walk_place *place = &walk->places[part->number];
	unsigned int left = SESSION_WALK_PIECE, cost = 1;

	if (!place->begun)
		begin(place, part->worker);
	while (place->next != NULL && cost > 0 && left > 0) {
		struct session *session = place->next;

		place->next = LIST_NEXT(session, entry);
		cost = 1;
		if (session->state != SESSION_CLOSED)
			cost = walk->visitor.visit(walk->visitor.context, part->number, session);
		session_settle(session);
		left -= cost < left ? cost : left;
	}
	if (place->next != NULL && cost > 0) {
		errand_again(part);
		return;
	}
	LIST_REMOVE(place, entry);
	errand_done(part);
}

int session_walk_new(struct worker **workers, unsigned int count,
		     const struct session_walk_visitor *visitor, struct session_walk **out)
{
	struct session_walk *walk = calloc(1, sizeof(*walk) + count * sizeof(walk->places[0]));
	int error;

	if (walk == NULL)
		return -ENOMEM;
	walk->visitor = *visitor;
	error = errand_new(workers, count, piece, walk, &walk->errand);
	if (error < 0)
		free(walk);
	else
		*out = walk;
	return error;
}

void session_walk_free(struct session_walk *walk)
{
	if (walk == NULL)
		return;
	errand_free(walk->errand);
	free(walk);
}

int session_walk_descriptor(const struct session_walk *walk)
{
	return errand_descriptor(walk->errand);
}

bool session_walk_is_done(const struct session_walk *walk)
{
	return errand_is_done(walk->errand);
}
