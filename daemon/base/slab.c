/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Chunks of CHUNK_BYTES come from mmap(2), aligned to their size, so that a piece finds its chunk
 * by rounding down. A chunk begins with its book; the pieces follow, and those that were given back
 * are a list through their first bytes. Pieces that were never taken are not touched: they cost
 * no memory. Chunks with nothing in use go back, but for one.
 */
#include "base/slab.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK_BYTES ((size_t)64 * 1024)
#define ALIGNMENT   16U

struct piece {
	struct piece *next;
};

struct slab_chunk {
	LIST_ENTRY(slab_chunk) entry;
	struct piece *given_back;
	size_t used, untouched; /* pieces; untouched: the last ones */
};

static size_t piece_bytes(const struct slab *slab)
{
	return (slab->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t book_bytes(void)
{
	return (sizeof(struct slab_chunk) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t pieces(const struct slab *slab)
{
	return (CHUNK_BYTES - book_bytes()) / piece_bytes(slab);
}

/* Twice as much is asked for, and what is before and behind the aligned part goes back. */
static void *map_aligned(void)
{
	uint8_t *memory = mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (memory == MAP_FAILED)
		return NULL;
	before = (CHUNK_BYTES - (uintptr_t)memory % CHUNK_BYTES) % CHUNK_BYTES;
	if (before > 0)
		munmap(memory, before);
	munmap(memory + before + CHUNK_BYTES, CHUNK_BYTES - before);
	return memory + before;
}

static struct slab_chunk *new_chunk(struct slab *slab)
{
	struct slab_chunk *chunk = map_aligned();

	if (chunk == NULL)
		return NULL;
	chunk->untouched = pieces(slab);
	LIST_INSERT_HEAD(&slab->with_room, chunk, entry);
	return chunk;
}

static void *take(struct slab *slab, struct slab_chunk *chunk)
{
	struct piece *piece = chunk->given_back;

	if (piece != NULL) {
		chunk->given_back = piece->next;
	} else {
		size_t at = pieces(slab) - chunk->untouched--;

		piece = (struct piece *)(void *)((uint8_t *)chunk + book_bytes() +
						 at * piece_bytes(slab));
	}
	chunk->used++;
	if (chunk->given_back == NULL && chunk->untouched == 0)
		LIST_REMOVE(chunk, entry);
	return piece;
}

/* A sanitizer knows each piece only when the allocator does. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

void *slab_take(struct slab *slab)
{
	struct slab_chunk *chunk;
	void *piece = NULL;

	if (SANITIZED)
		return calloc(1, slab->size);
	pthread_mutex_lock(&slab->lock);
	chunk = LIST_FIRST(&slab->with_room);
	if (chunk == NULL)
		chunk = new_chunk(slab);
	if (chunk != NULL)
		piece = take(slab, chunk);
	pthread_mutex_unlock(&slab->lock);
	return piece != NULL ? memset(piece, 0, slab->size) : NULL;
}

static bool is_only_one_with_room(const struct slab *slab, const struct slab_chunk *chunk)
{
	return LIST_FIRST(&slab->with_room) == chunk && LIST_NEXT(chunk, entry) == NULL;
}

void slab_give(struct slab *slab, void *given)
{
	struct slab_chunk *chunk;
	struct piece *piece = given;

	if (SANITIZED) {
		free(given);
		return;
	}
	if (piece == NULL)
		return;
	chunk = (struct slab_chunk *)(void *)((uint8_t *)given - (uintptr_t)given % CHUNK_BYTES);
	pthread_mutex_lock(&slab->lock);
	if (chunk->given_back == NULL && chunk->untouched == 0)
		LIST_INSERT_HEAD(&slab->with_room, chunk, entry);
	piece->next = chunk->given_back;
	chunk->given_back = piece;
	chunk->used--;
	if (chunk->used == 0 && !is_only_one_with_room(slab, chunk)) {
		LIST_REMOVE(chunk, entry);
		munmap(chunk, CHUNK_BYTES);
	}
	pthread_mutex_unlock(&slab->lock);
}
