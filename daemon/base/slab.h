/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of one size, in memory of their own. What lives as long as a session must not lie among
 * what a handshake takes and frees: one small piece that stays keeps a whole page of that from
 * going back, and an idle session costs three times its size.
 *
 * Any thread: pieces are taken and given back once in a session's life.
 */
#ifndef MCSEAL_BASE_SLAB_H
#define MCSEAL_BASE_SLAB_H

#include <pthread.h>
#include <stddef.h>
#include <sys/queue.h>

struct slab_chunk;
LIST_HEAD(slab_chunks, slab_chunk);

/* Static: SLAB_INITIALIZER(sizeof(struct what)). Only slab.c writes the fields. */
struct slab {
	size_t size;
	pthread_mutex_t lock;
	struct slab_chunks with_room;
};

#define SLAB_INITIALIZER(piece_size)                                                               \
	{                                                                                          \
		.size = (piece_size), .lock = PTHREAD_MUTEX_INITIALIZER,                           \
		.with_room = LIST_HEAD_INITIALIZER(with_room),                                     \
	}

/* A zeroed piece, aligned to 16 bytes; at most 4 KiB. NULL: no memory. */
void *slab_take(struct slab *slab);
/* Of the same slab. Accepts NULL. */
void slab_give(struct slab *slab, void *piece);

#endif
