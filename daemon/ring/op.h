/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One asynchronous operation, embedded in whoever waits for it.
 *
 * An operation is armed by a ring_*() call and ends with exactly one completion whose `more` is
 * false; accept, recv and watch deliver any number of completions with `more` before that. Until
 * the end the ring refers to the struct and to the descriptor: the owner may free itself and close
 * the descriptor only when its `in_flight` is zero. Closing is therefore: cancel everything,
 * wait for zero, free.
 */
#ifndef MCSEAL_RING_OP_H
#define MCSEAL_RING_OP_H

#include "base/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum op_kind {
	OP_IDLE,
	OP_ACCEPT,
	OP_CONNECT,
	OP_RECV,
	OP_SEND,
	OP_POLL,
	OP_WATCH,
	OP_SPLICE,
};

struct op;
struct ring_buffer;

struct op_result {
	int res;                    /* bytes, descriptor, events, or -errno */
	bool more;                  /* this operation will complete again */
	struct ring_buffer *buffer; /* recv with res > 0: now the owner's, ring_buffer_release() */
};

/* Embedded in the object that owns operations; complete() is its one completion switch. */
struct op_owner {
	void (*complete)(struct op_owner *owner, struct op *op, const struct op_result *result);
	unsigned int in_flight; /* operations armed and not yet ended; written by the ring */
};

/* Zero-initialise, set owner and tag. The rest belongs to the ring. */
struct op {
	struct op_owner *owner;
	uint8_t tag; /* the owner's: which leg, which listener */
	/* recv: the owner's, too: readiness may come with nothing to read (ring_recv()). */
	bool unsure;

	uint8_t kind; /* enum op_kind; OP_IDLE when not armed */
	bool cancelled;
	bool queued; /* on one of the ring's lists below */
	bool linked; /* splice: the next one only runs when this one moved everything */
	short events;
	int fd;
	int to;               /* splice: where to */
	int res;              /* of a completion that waits on the ready list */
	uint32_t left, total; /* bytes; of splice, `left` alone */
	union {
		const uint8_t *bytes;          /* send: what is left */
		const struct address *address; /* connect */
	};
	TAILQ_ENTRY(op) entry;
};

TAILQ_HEAD(op_list, op);

static inline bool op_armed(const struct op *op)
{
	return op->kind != OP_IDLE;
}

#endif
