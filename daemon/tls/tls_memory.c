/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_memory.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return malloc(size);
}

static void wipe_and_free(void *memory, const char *file, int line)
{
	(void)file;
	(void)line;
	if (memory == NULL)
		return;
	explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

/* realloc(3) may leave the old bytes behind when it moves them. */
static void *grow(void *memory, size_t size, const char *file, int line)
{
	size_t held = memory != NULL ? malloc_usable_size(memory) : 0;
	void *moved;

	if (size > 0 && size <= held && size > held / 2)
		return memory;
	moved = size > 0 ? malloc(size) : NULL;
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
