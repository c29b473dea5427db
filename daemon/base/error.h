/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The return convention of the whole tree, and clean-up at the end of a scope.
 *
 *   0         done
 *   negative  -errno: fatal here, passed up unchanged, logged once by the layer that
 *             knows what it means to the operator
 *   positive  a named outcome of that module's API, handled by the direct caller
 *
 * Every x_free(NULL) is a no-op; every x_deinit() accepts a half-built object.
 */
#ifndef MCSEAL_BASE_ERROR_H
#define MCSEAL_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define container_of(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void cleanup_free_pointer(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* For locals: the memory or descriptor is released when the scope ends, unless stolen. */
#define cleanup_free __attribute__((cleanup(cleanup_free_pointer)))
#define cleanup_fd   __attribute__((cleanup(cleanup_close_fd)))

/* Moves ownership of a descriptor out of a cleanup_fd local. */
static inline int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* Moves ownership out of a cleanup_free local: `object = steal_pointer(&local);` */
static inline void *steal_pointer(void *pointer)
{
	void **from = (void **)pointer;
	void *stolen = *from;

	*from = NULL;
	return stolen;
}

#endif
