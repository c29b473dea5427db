/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * OpenSSL takes and frees a handful of pieces for each record: the buffers
 * (SSL_MODE_RELEASE_BUFFERS, so that idle connections have none) and what it writes packets with.
 * What a thread frees it keeps, wiped, for its next record, a few of each size; the pieces begin
 * with the address of the next. A size is rounded up to one of these, and malloc_usable_size()
 * tells it again.
 */
#include "tls/tls_memory.h"

#include "base/error.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	size_t size;
	unsigned int keep;
} CLASSES[] = {
	{32, 16},
	{64, 16},
	{128, 16},
	{256, 16},
	{512, 8},
	{1024, 8},
	/* A record with its header and padding, to read and to write (ssl/record/ssl3_buffer.c). */
	{17408, 2},
};

/* How a piece begins while it is kept. */
struct kept {
	struct kept *next;
};

struct cache {
	struct {
		struct kept *first;
		unsigned int count;
	} classes[ARRAY_SIZE(CLASSES)];
};

/* OpenSSL gives no context to these functions: a thread's cache is found as its own. */
static __thread struct cache *here;
static pthread_key_t ending; /* frees it */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool caches;

/* Which pieces of `size` bytes are kept with, or ARRAY_SIZE(CLASSES). */
static size_t class_of(size_t size)
{
	size_t class = 0;

	/* What is between the small ones and a record comes rarely. */
	if (size > 1024 && size <= 16384)
		return ARRAY_SIZE(CLASSES);
	while (class < ARRAY_SIZE(CLASSES) && CLASSES[class].size < size)
		class ++;
	return class;
}

static void *pop(struct cache *cache, size_t class)
{
	struct kept *kept = cache->classes[class].first;

	if (kept == NULL)
		return NULL;
	cache->classes[class].first = kept->next;
	kept->next = NULL;
	cache->classes[class].count--;
	return kept;
}

static void free_cache(void *argument)
{
	struct cache *cache = argument;

	here = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(CLASSES); i++)
		while (cache->classes[i].first != NULL)
			free(pop(cache, i));
	free(cache);
}

static void make_key(void)
{
	caches = pthread_key_create(&ending, free_cache) == 0;
}

/* This thread's; NULL: none, and everything goes to the allocator. */
static struct cache *cache_here(void)
{
	if (here != NULL)
		return here;
	pthread_once(&once, make_key);
	if (!caches)
		return NULL;
	here = calloc(1, sizeof(*here));
	if (here != NULL && pthread_setspecific(ending, here) != 0) {
		free(here);
		here = NULL;
	}
	return here;
}

static void *allocate(size_t size, const char *file, int line)
{
	size_t class = class_of(size);
	struct cache *cache;
	void *memory = NULL;

	(void)file;
	(void)line;
	if (class == ARRAY_SIZE(CLASSES))
		return malloc(size);
	cache = cache_here();
	if (cache != NULL)
		memory = pop(cache, class);
	return memory != NULL ? memory : malloc(CLASSES[class].size);
}

/* Which class a piece of `held` bytes serves, or ARRAY_SIZE(CLASSES). */
static size_t class_held(size_t held)
{
	size_t class = ARRAY_SIZE(CLASSES);

	while (class > 0 && CLASSES[class - 1].size > held)
		class --;
	/* malloc(3) gives a few bytes more than it was asked for; much more is no piece of ours. */
	return class > 0 && held - CLASSES[class - 1].size < 32 ? class - 1 : ARRAY_SIZE(CLASSES);
}

static void wipe_and_free(void *memory, const char *file, int line)
{
	size_t held, class;
	struct cache *cache;
	struct kept *kept;

	(void)file;
	(void)line;
	if (memory == NULL)
		return;
	held = malloc_usable_size(memory);
	explicit_bzero(memory, held);
	class = class_held(held);
	cache = class < ARRAY_SIZE(CLASSES) ? cache_here() : NULL;
	if (cache == NULL || cache->classes[class].count == CLASSES[class].keep) {
		free(memory);
		return;
	}
	kept = memory;
	kept->next = cache->classes[class].first;
	cache->classes[class].first = kept;
	cache->classes[class].count++;
}

/* realloc(3) may leave the old bytes behind when it moves them. */
static void *grow(void *memory, size_t size, const char *file, int line)
{
	size_t held = memory != NULL ? malloc_usable_size(memory) : 0;
	void *moved;

	if (size > 0 && size <= held && size > held / 2)
		return memory;
	moved = size > 0 ? allocate(size, file, line) : NULL;
	if (size > 0 && moved == NULL)
		return NULL;
	if (moved != NULL && memory != NULL)
		memcpy(moved, memory, held < size ? held : size);
	wipe_and_free(memory, file, line);
	return moved;
}

int tls_memory_wipe_on_free(void)
{
	return CRYPTO_set_mem_functions(allocate, grow, wipe_and_free) == 1 ? 0 : -EBUSY;
}
