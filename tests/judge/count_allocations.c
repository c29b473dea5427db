/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts a program's allocations: loaded into it by LD_PRELOAD, adds them up in the first eight
 * bytes of the file that MCSEAL_ALLOCATIONS names, which the test reads.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What glibc's own functions are besides (malloc/malloc.c). */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static atomic_ullong before, *counter = &before;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("MCSEAL_ALLOCATIONS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *memory =
		fd >= 0 ? mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
			: MAP_FAILED;

	if (memory == MAP_FAILED)
		abort();
	counter = memory;
	close(fd);
}

void *malloc(size_t size)
{
	atomic_fetch_add(counter, 1);
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	atomic_fetch_add(counter, 1);
	return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
	atomic_fetch_add(counter, 1);
	return __libc_realloc(memory, size);
}
