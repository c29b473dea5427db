/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the nth call of a program's fail: loaded into it by LD_PRELOAD, it shares a file, named by
 * MCSEAL_FAULTS, with the test, which says there which calls fail and reads how many did. The file
 * has a struct slot for each of enum call, in their order.
 *
 * What libconfuse allocates never fails: it does not look, and only another library would help.
 * daemon/config/config_parse.c sees to it that there is memory before it is called.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* What glibc's own functions are besides (malloc/malloc.c). */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

enum call {
	CALL_ALLOCATION,
	CALL_ACCEPT4,
	CALL_OPEN,
	CALL_MMAP,
	CALL_SOCKET,
	CALL_CONNECT,
	CALL_SEND,
	CALL_SENDMSG,
	CALL_RECV,
	CALL_SETSOCKOPT,
	CALL_GETSOCKOPT,
	CALL_EPOLL_CTL,
	CALL_EVENTFD,
	CALL_PIPE2,
	CALL_WRITE,
	CALLS,
};

/* Calls number `from` to `until`, the first being 0, fail with `error`. */
struct slot {
	atomic_ullong seen, from, until, failed;
	long long error;
};

static struct slot before[CALLS], *slots = before;

static uintptr_t spared_from, spared_to; /* libconfuse's code */

static int find_spared(struct dl_phdr_info *object, size_t size, void *context)
{
	(void)size;
	(void)context;
	if (strstr(object->dlpi_name, "libconfuse") == NULL)
		return 0;
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];

		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		spared_from = object->dlpi_addr + part->p_vaddr;
		spared_to = spared_from + part->p_memsz;
	}
	return 1;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("MCSEAL_FAULTS");
	int (*real_open)(const char *, int, ...) = NULL;
	void *(*real_mmap)(void *, size_t, int, int, int, off_t) = NULL;
	void *memory = MAP_FAILED;
	int fd = -1;

	*(void **)&real_open = dlsym(RTLD_NEXT, "open");
	*(void **)&real_mmap = dlsym(RTLD_NEXT, "mmap");
	if (path != NULL && real_open != NULL && real_mmap != NULL)
		fd = real_open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		memory = real_mmap(NULL, sizeof(before), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		abort();
	(void)dl_iterate_phdr(find_spared, NULL);
	slots = memory;
	close(fd);
}

/* Is it this call's turn? Then errno says why it failed. */
static int fails(enum call call)
{
	struct slot *slot = &slots[call];
	unsigned long long number = atomic_fetch_add(&slot->seen, 1);

	if (number < atomic_load(&slot->from) || number >= atomic_load(&slot->until))
		return 0;
	atomic_fetch_add(&slot->failed, 1);
	errno = (int)slot->error;
	return 1;
}

static int allocation_fails(const void *caller)
{
	uintptr_t at = (uintptr_t)caller;

	return !(at >= spared_from && at < spared_to) && fails(CALL_ALLOCATION);
}

void *malloc(size_t size)
{
	return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
	return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_realloc(memory, size);
}

/* glibc's own would hide who asked. */
char *strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = allocation_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);

	return copy != NULL ? memcpy(copy, text, size) : NULL;
}

/*
 * The function behind ours; looked for once. `parameters` is a list in parentheses of its own.
 */
#define REAL(type, name, parameters)                                                               \
	static type(*real) parameters; /* NOLINT(bugprone-macro-parentheses) */                    \
	if (real == NULL)                                                                          \
	*(void **)&real = dlsym(RTLD_NEXT, name)

#define REPLACE(call, type, function, parameters, arguments, failure)                              \
	type function parameters                                                                   \
	{                                                                                          \
		REAL(type, #function, parameters);                                                 \
		return fails(call) ? (failure) : real arguments;                                   \
	}

REPLACE(CALL_ACCEPT4, int, accept4, (int fd, struct sockaddr *peer, socklen_t *size, int flags),
	(fd, peer, size, flags), -1)
REPLACE(CALL_MMAP, void *, mmap, (void *at, size_t size, int access, int flags, int fd, off_t from),
	(at, size, access, flags, fd, from), MAP_FAILED)
REPLACE(CALL_SOCKET, int, socket, (int family, int type, int protocol), (family, type, protocol),
	-1)
REPLACE(CALL_CONNECT, int, connect, (int fd, const struct sockaddr *to, socklen_t size),
	(fd, to, size), -1)
REPLACE(CALL_SEND, ssize_t, send, (int fd, const void *bytes, size_t size, int flags),
	(fd, bytes, size, flags), -1)
REPLACE(CALL_SENDMSG, ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags),
	(fd, message, flags), -1)
REPLACE(CALL_RECV, ssize_t, recv, (int fd, void *bytes, size_t size, int flags),
	(fd, bytes, size, flags), -1)
REPLACE(CALL_SETSOCKOPT, int, setsockopt,
	(int fd, int level, int name, const void *value, socklen_t size),
	(fd, level, name, value, size), -1)
REPLACE(CALL_GETSOCKOPT, int, getsockopt,
	(int fd, int level, int name, void *value, socklen_t *size), (fd, level, name, value, size),
	-1)
REPLACE(CALL_EPOLL_CTL, int, epoll_ctl, (int fd, int what, int other, struct epoll_event *event),
	(fd, what, other, event), -1)
REPLACE(CALL_EVENTFD, int, eventfd, (unsigned int value, int flags), (value, flags), -1)
REPLACE(CALL_PIPE2, int, pipe2, (int ends[2], int flags), (ends, flags), -1)
REPLACE(CALL_WRITE, ssize_t, write, (int fd, const void *bytes, size_t size), (fd, bytes, size), -1)

#define REPLACE_OPEN(function, before, before_names)                                               \
	int function(before const char *path, int flags, ...)                                      \
	{                                                                                          \
		REAL(int, #function, (before const char *, int, ...));                             \
		va_list arguments;                                                                 \
		unsigned int mode;                                                                 \
                                                                                                   \
		va_start(arguments, flags);                                                        \
		mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, unsigned int) : 0;      \
		va_end(arguments);                                                                 \
		return fails(CALL_OPEN) ? -1 : real(before_names path, flags, mode);               \
	}
#define COMMA ,

REPLACE_OPEN(open, , )
REPLACE_OPEN(openat, int folder COMMA, folder COMMA)
