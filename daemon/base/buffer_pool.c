/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer_pool.h"

#include "base/error.h"

#include <stdlib.h>

/* A request, an answer of some hundred words, the longest frame, a TLS record; and how many. */
static const struct {
	size_t size;
	unsigned int keep;
} CLASSES[] = {
	{512, 64},
	{2560, 32},
	{8704, 8},
	{17408, 4},
};

/* How a piece begins while it is kept. */
struct kept {
	struct kept *next;
};

struct buffer_pool {
	struct {
		struct kept *first;
		unsigned int count;
	} classes[ARRAY_SIZE(CLASSES)];
};

struct buffer_pool *buffer_pool_new(void)
{
	return calloc(1, sizeof(struct buffer_pool));
}

static uint8_t *pop(struct buffer_pool *pool, size_t class)
{
	struct kept *kept = pool->classes[class].first;

	if (kept == NULL)
		return NULL;
	pool->classes[class].first = kept->next;
	pool->classes[class].count--;
	return (uint8_t *)kept;
}

void buffer_pool_free(struct buffer_pool *pool)
{
	if (pool == NULL)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(CLASSES); i++)
		while (pool->classes[i].first != NULL)
			free(pop(pool, i));
	free(pool);
}

uint8_t *buffer_pool_take(struct buffer_pool *pool, size_t size, size_t *capacity)
{
	uint8_t *memory = NULL;
	size_t class = 0;

	while (class < ARRAY_SIZE(CLASSES) && CLASSES[class].size < size)
		class ++;
	*capacity = class < ARRAY_SIZE(CLASSES) ? CLASSES[class].size : size;
	if (pool != NULL && class < ARRAY_SIZE(CLASSES))
		memory = pop(pool, class);
	return memory != NULL ? memory : malloc(*capacity);
}

void buffer_pool_give(struct buffer_pool *pool, uint8_t *memory, size_t capacity)
{
	struct kept *kept;
	size_t class = 0;

	if (memory == NULL)
		return;
	while (class < ARRAY_SIZE(CLASSES) && CLASSES[class].size != capacity)
		class ++;
	if (pool == NULL || class == ARRAY_SIZE(CLASSES) ||
	    pool->classes[class].count == CLASSES[class].keep) {
		free(memory);
		return;
	}
	kept = (struct kept *)(void *)memory;
	kept->next = pool->classes[class].first;
	pool->classes[class].first = kept;
	pool->classes[class].count++;
}
