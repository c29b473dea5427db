/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that wait: a queue with memory only while it holds something. An idle session has none.
 */
#ifndef MCSEAL_BASE_BUFFER_H
#define MCSEAL_BASE_BUFFER_H

#include "base/buffer_pool.h"

/* Zero-initialised = empty. Only buffer.c writes the other fields. */
struct buffer {
	struct buffer_pool *pool; /* the owner's; NULL: the allocator */
	uint8_t *memory;
	uint32_t start, end, capacity;
};

static inline size_t buffer_size(const struct buffer *buffer)
{
	return buffer->end - buffer->start;
}

static inline const uint8_t *buffer_bytes(const struct buffer *buffer)
{
	return buffer->memory + buffer->start;
}

/* Room for `size` bytes more after the end; NULL when there is no memory. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t size);
/* `size` of the reserved bytes were written. */
void buffer_filled(struct buffer *buffer, size_t size);
/* 0 or -ENOMEM. */
int buffer_append(struct buffer *buffer, const uint8_t *bytes, size_t size);
/* Takes `size` bytes off the front; the memory is freed with the last. */
void buffer_consume(struct buffer *buffer, size_t size);
void buffer_deinit(struct buffer *buffer);

#endif
