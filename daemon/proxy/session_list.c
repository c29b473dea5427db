/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/session_list.h"

#include "base/error.h"
#include "proxy/session_walk.h"
#include "proxy/worker.h"

#include <errno.h>
#include <string.h>

#define BLOCK_ROWS 32
#define COPY_COST  16 /* steps of a walk; passing over is one */

/* Rows do not move: a growing array would be copied whole on the worker's thread. */
struct block {
	struct block *next;
	unsigned int used;
	struct session_row rows[BLOCK_ROWS];
};

/* Of one worker; its own until the walk is over. */
struct share {
	struct block *blocks; /* the last one first */
	size_t count;
	int error;
};

struct session_list {
	struct session_walk *walk;
	uint64_t before;
	const struct session_row **rows; /* of all, once asked for */
	unsigned int share_count;
	struct share shares[];
};

/* --- on the worker's thread ----------------------------------------------------------------- */

static struct session_row *new_row(struct share *share)
{
	struct block *block = share->blocks;

	if (block == NULL || block->used == BLOCK_ROWS) {
		block = malloc(sizeof(*block));
		if (block == NULL)
			return NULL;
		block->next = share->blocks;
		block->used = 0;
		share->blocks = block;
	}
	share->count++;
	return &block->rows[block->used++];
}

static const char *name_of_plc(const struct session *session)
{
	return session->plc != NULL ? session->plc->name : NULL;
}

static const char *name_of_route(const struct session *session)
{
	return session->role == SESSION_EDGE && session->route != NULL ? session->route->name
								       : NULL;
}

/* Bytes that nobody understands have none. */
static clock_us latency_of(const struct session *session)
{
	bool answered =
		session->protocol == CONFIG_PROTOCOL_MC && session->directions[LEG_FAR].frames > 0;

	return answered ? session->latency : -1;
}

static void copy(struct session_row *row, const struct session *session)
{
	const struct direction *requests = &session->directions[LEG_NEAR];
	const struct direction *answers = &session->directions[LEG_FAR];

	*row = (struct session_row){
		.snapshot = snapshot_reference(session->snapshot),
		.id = session->id,
		.role = session->role,
		.state = session->state,
		.listener = session->edge != NULL ? session->edge->name : session->gateway->name,
		.identity = session->identity != NULL ? session->identity->name : NULL,
		.plc = name_of_plc(session),
		.route = name_of_route(session),
		.client = session->client,
		.edge = session->edge_address,
		.destination = session->destination,
		.tls_version = session->tls_version,
		.tls_cipher = session->tls_cipher,
		.user_why = session->user_why,
		.resumed = session->resumed,
		.keys_in_kernel = session_keys_in_kernel(session),
		.relays = session->state == SESSION_RELAYING || session->state == SESSION_DRAINING,
		.engine = session_engine(session),
		.age = clock_now() - session->started,
		.latency = latency_of(session),
		.requests = requests->frames,
		.answers = answers->frames,
		.bytes_to_plc = requests->bytes,
		.bytes_from_plc = answers->bytes,
		.refused = session->refused,
		.ending = session->close_at_rest != SESSION_REASON_NONE,
	};
	memcpy(row->serial, session->serial, sizeof(row->serial));
}

static unsigned int visit(void *context, unsigned int worker, struct session *session)
{
	struct session_list *list = context;
	struct share *share = &list->shares[worker];
	struct session_row *row;

	if (list->before != 0 && session->id >= list->before)
		return 1;
	row = share->count < SESSION_LIST_PAGE ? new_row(share) : NULL;
	if (row == NULL) {
		share->error = share->count < SESSION_LIST_PAGE ? -ENOMEM : 0;
		return 0;
	}
	copy(row, session);
	return COPY_COST;
}

/* --- on the main thread --------------------------------------------------------------------- */

int session_list_new(struct worker **workers, unsigned int count, uint64_t before,
		     struct session_list **out)
{
	struct session_list *list = calloc(1, sizeof(*list) + count * sizeof(list->shares[0]));
	const struct session_walk_visitor visitor = {visit, list};
	int error;

	if (list == NULL)
		return -ENOMEM;
	list->before = before;
	list->share_count = count;
	error = session_walk_new(workers, count, &visitor, &list->walk);
	if (error < 0)
		free(list);
	else
		*out = list;
	return error;
}

static void free_block(struct block *block)
{
	for (unsigned int i = 0; i < block->used; i++)
		snapshot_release(block->rows[i].snapshot);
	free(block);
}

void session_list_free(struct session_list *list)
{
	if (list == NULL)
		return;
	session_walk_free(list->walk);
	for (unsigned int i = 0; i < list->share_count; i++) {
		struct block *block;

		while ((block = list->shares[i].blocks) != NULL) {
			list->shares[i].blocks = block->next;
			free_block(block);
		}
	}
	free(list->rows);
	free(list);
}

int session_list_descriptor(const struct session_list *list)
{
	return session_walk_descriptor(list->walk);
}

static int newest_first(const void *a, const void *b)
{
	const struct session_row *const *one = a, *const *other = b;

	return (*one)->id < (*other)->id ? 1 : (*one)->id > (*other)->id ? -1 : 0;
}

int session_list_rows(struct session_list *list, const struct session_row *const **rows,
		      size_t *count)
{
	size_t all = 0, used = 0;

	if (!session_walk_is_done(list->walk))
		return -EAGAIN;
	for (unsigned int i = 0; i < list->share_count; i++) {
		if (list->shares[i].error < 0)
			return list->shares[i].error;
		all += list->shares[i].count;
	}
	free(list->rows);
	list->rows = calloc(all + 1, sizeof(*list->rows)); /* none are no failure */
	if (list->rows == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < list->share_count; i++)
		for (const struct block *block = list->shares[i].blocks; block != NULL;
		     block = block->next)
			for (unsigned int j = 0; j < block->used; j++)
				list->rows[used++] = &block->rows[j];
	qsort(list->rows, all, sizeof(*list->rows), newest_first);
	*rows = list->rows;
	*count = all < SESSION_LIST_PAGE ? all : SESSION_LIST_PAGE;
	return 0;
}
