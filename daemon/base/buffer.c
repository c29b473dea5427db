/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <errno.h>
#include <string.h>

static void move_to_front(struct buffer *buffer)
{
	size_t size = buffer_size(buffer);

	if (buffer->memory == NULL || buffer->start == 0 || size == 0)
		return;
	memmove(buffer->memory, buffer->memory + buffer->start, size);
	buffer->start = 0;
	buffer->end = (uint32_t)size;
}

/* Into memory with room for `size` bytes more. */
static uint8_t *grow(struct buffer *buffer, size_t size)
{
	size_t used = buffer->end, capacity;
	uint8_t *memory = buffer_pool_take(buffer->pool, used + size, &capacity);

	if (memory == NULL)
		return NULL;
	if (buffer->memory != NULL)
		memcpy(memory, buffer->memory, used);
	buffer_pool_give(buffer->pool, buffer->memory, buffer->capacity);
	buffer->memory = memory;
	buffer->capacity = (uint32_t)capacity;
	return memory + used;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t size)
{
	if (buffer->memory != NULL && buffer->capacity - buffer->end >= size)
		return buffer->memory + buffer->end;
	move_to_front(buffer);
	if (buffer->memory != NULL && buffer->capacity - buffer->end >= size)
		return buffer->memory + buffer->end;
	return grow(buffer, size + buffer->capacity / 2);
}

void buffer_filled(struct buffer *buffer, size_t size)
{
	buffer->end += (uint32_t)size;
}

int buffer_append(struct buffer *buffer, const uint8_t *bytes, size_t size)
{
	uint8_t *room = buffer_reserve(buffer, size);

	if (room == NULL)
		return -ENOMEM;
	memcpy(room, bytes, size);
	buffer_filled(buffer, size);
	return 0;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
	buffer->start += (uint32_t)size;
	if (buffer->start == buffer->end)
		buffer_deinit(buffer);
}

void buffer_deinit(struct buffer *buffer)
{
	buffer_pool_give(buffer->pool, buffer->memory, buffer->capacity);
	*buffer = (struct buffer){.pool = buffer->pool};
}
