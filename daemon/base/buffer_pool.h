/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that buffers have given back, kept for the next: a session that relays takes and gives
 * some for every frame, and none of that has to go through the allocator. For one thread.
 */
#ifndef MCSEAL_BASE_BUFFER_POOL_H
#define MCSEAL_BASE_BUFFER_POOL_H

#include <stddef.h>
#include <stdint.h>

struct buffer_pool;

/* NULL: no memory. Holds nothing yet, and a quarter of a MiB at most. */
struct buffer_pool *buffer_pool_new(void);
/* When no buffer has any of it. Accepts NULL. */
void buffer_pool_free(struct buffer_pool *pool);

/* At least `size` bytes, *capacity with what it is. NULL: no memory. A NULL pool only allocates. */
uint8_t *buffer_pool_take(struct buffer_pool *pool, size_t size, size_t *capacity);
/* Of `capacity` bytes, as it was taken. Accepts NULL memory. */
void buffer_pool_give(struct buffer_pool *pool, uint8_t *memory, size_t capacity);

#endif
