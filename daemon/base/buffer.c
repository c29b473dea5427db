/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void move_to_front(struct buffer *buffer)
{
	size_t size = buffer_size(buffer);

	if (buffer->memory == NULL || buffer->start == 0 || size == 0)
		return;
	memmove(buffer->memory, buffer->memory + buffer->start, size);
	buffer->start = 0;
	buffer->end = size;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t size)
{
	size_t capacity = buffer->capacity;
	uint8_t *memory;

	if (buffer->capacity - buffer->end >= size && buffer->memory != NULL)
		return buffer->memory + buffer->end;
	move_to_front(buffer);
	if (buffer->capacity - buffer->end < size || buffer->memory == NULL) {
		if (capacity < buffer->end + size)
			capacity = buffer->end + size + capacity / 2;
		memory = realloc(buffer->memory, capacity ? capacity : 1);
		if (memory == NULL)
			return NULL;
		buffer->memory = memory;
		buffer->capacity = capacity;
	}
	return buffer->memory + buffer->end;
}

void buffer_filled(struct buffer *buffer, size_t size)
{
	buffer->end += size;
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
	buffer->start += size;
	if (buffer->start == buffer->end)
		buffer_deinit(buffer);
}

void buffer_deinit(struct buffer *buffer)
{
	free(buffer->memory);
	*buffer = (struct buffer){0};
}
