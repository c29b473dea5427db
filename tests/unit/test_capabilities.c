/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probes against a kernel whose faults are made here.
 *
 * Seam: the linker wraps setsockopt, pipe2, fcntl, splice and send (WRAP_ in Makefile). The faked
 * kernel TLS takes keys as it is told and lets bytes pass as they are: what is asked here is which
 * conclusion follows from which behaviour. The behaviour of real kernels is asked in
 * tests/e2e/test_capabilities.py.
 */
#include "proxy/capabilities.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "capabilities_fixture.h"
#include "ring/pipe_pool.h"

#define TLS_LEVEL   282 /* SOL_TLS */
#define DESCRIPTORS 1024

int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
	__attribute__((weak));
int __real_pipe2(int ends[2], int flags) __attribute__((weak));
int __real_fcntl(int fd, int command, ...) __attribute__((weak));
ssize_t __real_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t size,
		      unsigned int flags) __attribute__((weak));
ssize_t __real_send(int fd, const void *bytes, size_t size, int flags) __attribute__((weak));

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_pipe2(int ends[2], int flags);
int __wrap_fcntl(int fd, int command, ...);
ssize_t __wrap_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t size,
		      unsigned int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);

/* Faults: errno values, 0 for none. */
struct fake_kernel {
	int attach;
	int cipher[TRAFFIC_CIPHERS];
	int send_keys;  /* TLS_TX */
	int other_keys; /* a second TLS_TX or TLS_RX */
	int pipe, pipe_size;
	bool small_pipes; /* of one slot, as a user with too many gets them */
	bool loses;       /* in a splice */
	bool mute;        /* sent bytes go nowhere */
};

static struct fake_kernel kernel;
static unsigned int attached, installed;
static bool has_keys[DESCRIPTORS][2];

static int fail_with(int error)
{
	errno = error;
	return error ? -1 : 0;
}

static int take_keys(int fd, bool receiver, const void *value)
{
	uint16_t head[2];
	int cipher;

	memcpy(head, value, sizeof(head));
	cipher = head[1] == 51 ? 0 : head[1] == 52 ? 1 : 2;
	assert_true(head[1] == 51 || head[1] == 52 || head[1] == 54);
	installed++;
	if (kernel.cipher[cipher])
		return fail_with(kernel.cipher[cipher]);
	if (has_keys[fd][receiver] && kernel.other_keys)
		return fail_with(kernel.other_keys);
	if (!receiver && kernel.send_keys)
		return fail_with(kernel.send_keys);
	has_keys[fd][receiver] = true;
	return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	assert_in_range(fd, 0, DESCRIPTORS - 1);
	if (level == TLS_LEVEL)
		return take_keys(fd, name == 2, value);
	if (level != IPPROTO_TCP || name != TCP_ULP)
		return __real_setsockopt(fd, level, name, value, size);
	attached++;
	has_keys[fd][0] = has_keys[fd][1] = false;
	return fail_with(kernel.attach);
}

int __wrap_pipe2(int ends[2], int flags)
{
	return kernel.pipe ? fail_with(kernel.pipe) : __real_pipe2(ends, flags);
}

int __wrap_fcntl(int fd, int command, ...)
{
	va_list arguments;
	int value;

	if (command == F_GETPIPE_SZ)
		return kernel.small_pipes ? (int)sysconf(_SC_PAGESIZE) : __real_fcntl(fd, command);
	va_start(arguments, command);
	value = va_arg(arguments, int);
	va_end(arguments);
	if (command == F_SETPIPE_SZ && value > sysconf(_SC_PAGESIZE) && kernel.pipe_size)
		return fail_with(kernel.pipe_size);
	return __real_fcntl(fd, command, value);
}

/* What did not fit is thrown away, and nothing says so. */
ssize_t __wrap_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t size,
		      unsigned int flags)
{
	ssize_t moved = __real_splice(in, in_at, out, out_at, size, flags);
	char lost[5];

	if (kernel.loses && moved > 0 && (size_t)moved < size)
		(void)!recv(in, lost, sizeof(lost), MSG_DONTWAIT);
	return moved;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
	return kernel.mute ? (ssize_t)size : __real_send(fd, bytes, size, flags);
}

/* --- probes ------------------------------------------------------------------------------------
 */

static unsigned int count_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(folder);
	while (readdir(folder) != NULL)
		count++;
	closedir(folder);
	return count;
}

static void probe_site(struct capabilities *capabilities, const struct config *config)
{
	unsigned int before = count_descriptors();

	attached = installed = 0;
	memset(capabilities, 0x5a, sizeof(*capabilities)); /* what is not found stays visible */
	capabilities_probe(capabilities, config);
	assert_int_equal(count_descriptors(), before);
	for (unsigned int i = 0; i < CAPABILITIES; i++) {
		const struct capability_finding *finding = &capabilities->findings[i];

		if (finding->there)
			assert_string_equal(finding->why, "");
		else
			assert_in_range(strlen(finding->why), 5, sizeof(finding->why) - 2);
	}
}

static void probe(struct capabilities *capabilities, const struct fake_kernel *with)
{
	struct site site;

	make_site(&site);
	kernel = *with;
	probe_site(capabilities, &site.config);
	kernel = (struct fake_kernel){0};
}

static void assert_missing(const struct capabilities *capabilities, enum capability first,
			   enum capability last, const char *why)
{
	for (unsigned int i = first; i <= last; i++) {
		assert_false(capabilities->findings[i].there);
		assert_string_equal(capabilities->findings[i].why, why);
	}
}

static void assert_there(const struct capabilities *capabilities, enum capability first,
			 enum capability last)
{
	for (unsigned int i = first; i <= last; i++) {
		if (!capabilities->findings[i].there)
			fail_msg("%s: %s", capability_name(i), capabilities->findings[i].why);
	}
}

static void test_everything_there(void **state)
{
	struct capabilities capabilities;

	(void)state;
	probe(&capabilities, &(struct fake_kernel){0});
	assert_there(&capabilities, CAPABILITY_KTLS, CAPABILITY_REKEY);
	assert_there(&capabilities, CAPABILITY_SAFE_SPLICE, CAPABILITY_PIPES);
	/* Bytes pass as they are here, so poll tells of every one. */
	assert_missing(&capabilities, CAPABILITY_WHOLE_POLL, CAPABILITY_WHOLE_POLL,
		       "poll says that a part of a record can be read");
	for (unsigned int i = 0; i < TRAFFIC_CIPHERS; i++)
		assert_null(capabilities_refuse_cipher(&capabilities, (enum traffic_cipher)i));
}

static void test_no_module(void **state)
{
	static const char why[] =
		"TCP_ULP tls: No such file or directory (module tls is not loaded; modprobe tls)";
	struct capabilities capabilities;

	(void)state;
	probe(&capabilities, &(struct fake_kernel){.attach = ENOENT});
	assert_missing(&capabilities, CAPABILITY_KTLS, CAPABILITY_SAFE_SPLICE, why);
	assert_there(&capabilities, CAPABILITY_PIPES, CAPABILITY_PIPES);
	assert_int_equal(installed, 0);
	assert_string_equal(capabilities_refuse_cipher(&capabilities, TRAFFIC_AES_256_GCM), why);
}

static void test_attach_refused(void **state)
{
	struct capabilities capabilities;

	(void)state;
	probe(&capabilities, &(struct fake_kernel){.attach = EPERM});
	assert_missing(&capabilities, CAPABILITY_KTLS, CAPABILITY_SAFE_SPLICE,
		       "TCP_ULP tls: Operation not permitted");
}

static void test_one_cipher_missing(void **state)
{
	static const char why[] =
		"TLS_RX: No such file or directory (the kernel has no module for it)";

	(void)state;
	for (unsigned int i = 0; i < TRAFFIC_CIPHERS; i++) {
		struct fake_kernel with = {0};
		struct capabilities capabilities;

		with.cipher[i] = ENOENT;
		probe(&capabilities, &with);
		for (unsigned int j = 0; j < TRAFFIC_CIPHERS; j++) {
			const char *refused =
				capabilities_refuse_cipher(&capabilities, (enum traffic_cipher)j);

			if (i == j)
				assert_string_equal(refused, why);
			else
				assert_null(refused);
		}
		/* The others do for the rest. */
		assert_there(&capabilities, CAPABILITY_KTLS, CAPABILITY_KTLS);
		assert_there(&capabilities, CAPABILITY_REKEY, CAPABILITY_REKEY);
		assert_there(&capabilities, CAPABILITY_SAFE_SPLICE, CAPABILITY_SAFE_SPLICE);
	}
}

static void test_no_cipher(void **state)
{
	struct capabilities capabilities;

	(void)state;
	probe(&capabilities, &(struct fake_kernel){.cipher = {EINVAL, EINVAL, EINVAL}});
	assert_there(&capabilities, CAPABILITY_KTLS, CAPABILITY_KTLS);
	assert_missing(&capabilities, CAPABILITY_AES_128_GCM, CAPABILITY_SAFE_SPLICE,
		       "TLS_RX: Invalid argument");
}

static void test_only_receiving(void **state)
{
	struct capabilities capabilities;

	(void)state;
	probe(&capabilities, &(struct fake_kernel){.send_keys = ENOPROTOOPT});
	assert_missing(&capabilities, CAPABILITY_AES_128_GCM, CAPABILITY_SAFE_SPLICE,
		       "TLS_TX: Protocol not available");
}

static void test_keys_cannot_be_changed(void **state)
{
	struct capabilities capabilities;

	(void)state;
	probe(&capabilities, &(struct fake_kernel){.other_keys = EBUSY});
	assert_missing(&capabilities, CAPABILITY_REKEY, CAPABILITY_REKEY,
		       "TLS_RX: Device or resource busy (needs Linux 6.14)");
	assert_there(&capabilities, CAPABILITY_KTLS, CAPABILITY_CHACHA20_POLY1305);
	assert_there(&capabilities, CAPABILITY_SAFE_SPLICE, CAPABILITY_SAFE_SPLICE);
}

static void test_splice_loses(void **state)
{
	struct capabilities capabilities;

	(void)state;
	probe(&capabilities, &(struct fake_kernel){.loses = true});
	assert_missing(&capabilities, CAPABILITY_SAFE_SPLICE, CAPABILITY_SAFE_SPLICE,
		       "bytes of a record that did not fit into a pipe are lost");
	assert_there(&capabilities, CAPABILITY_KTLS, CAPABILITY_REKEY);
}

static void test_pipes(void **state)
{
	struct capabilities capabilities;

	(void)state;
	probe(&capabilities, &(struct fake_kernel){.pipe = EMFILE});
	assert_missing(&capabilities, CAPABILITY_PIPES, CAPABILITY_PIPES,
		       "pipe: Too many open files");
	assert_missing(&capabilities, CAPABILITY_SAFE_SPLICE, CAPABILITY_SAFE_SPLICE,
		       "pipe of one page: Too many open files");
	/* Small ones at first, but larger ones for the asking. */
	probe(&capabilities, &(struct fake_kernel){.small_pipes = true});
	assert_there(&capabilities, CAPABILITY_PIPES, CAPABILITY_PIPES);
	probe(&capabilities, &(struct fake_kernel){.small_pipes = true, .pipe_size = EPERM});
	assert_missing(&capabilities, CAPABILITY_PIPES, CAPABILITY_PIPES,
		       "pipe of 8 slots: Operation not permitted (fs.pipe-user-pages-soft)");
	assert_int_equal(PIPE_SLOTS, 8);
	assert_there(&capabilities, CAPABILITY_SAFE_SPLICE, CAPABILITY_SAFE_SPLICE);
}

/* A kernel that takes the keys and then moves nothing must not hang the start. */
static void test_no_answer(void **state)
{
	struct capabilities capabilities;
	clock_us begun = clock_now();

	(void)state;
	probe(&capabilities, &(struct fake_kernel){.cipher = {0, ENOENT, ENOENT}, .mute = true});
	assert_string_equal(capabilities.findings[CAPABILITY_AES_128_GCM].why,
			    "receive: Connection timed out");
	assert_missing(&capabilities, CAPABILITY_REKEY, CAPABILITY_SAFE_SPLICE,
		       "receive: Connection timed out");
	assert_in_range(clock_now() - begun, CLOCK_SEC, 8 * CLOCK_SEC);
}

/* What the configuration has no use for is not touched. */
static void test_not_wanted(void **state)
{
	struct capabilities capabilities;
	struct site site;

	(void)state;
	make_site(&site);
	site.config.engine = CONFIG_ENGINE_EPOLL;
	site.config.ktls = CONFIG_KTLS_OFF;
	probe_site(&capabilities, &site.config);
	assert_missing(&capabilities, CAPABILITY_URING, CAPABILITY_URING_SPLICE, "engine = epoll");
	assert_missing(&capabilities, CAPABILITY_KTLS, CAPABILITY_SAFE_SPLICE, "ktls = off");
	assert_int_equal(attached, 0);
	site.config.ktls = CONFIG_KTLS_AUTO;
	site.gateway.ktls = site.edge.ktls = CONFIG_KTLS_OFF;
	probe_site(&capabilities, &site.config);
	assert_missing(&capabilities, CAPABILITY_KTLS, CAPABILITY_SAFE_SPLICE, "ktls = off");
	assert_int_equal(attached, 0);
	/* One listener that wants it is enough. */
	site.config.ktls = CONFIG_KTLS_OFF;
	site.edge.ktls = CONFIG_KTLS_AUTO;
	probe_site(&capabilities, &site.config);
	assert_there(&capabilities, CAPABILITY_KTLS, CAPABILITY_REKEY);
	assert_true(attached > 0 && installed > 0);
}

static int need_seam(void **state)
{
	(void)state;
	if (!__real_setsockopt || !__real_pipe2 || !__real_fcntl || !__real_splice ||
	    !__real_send) {
		print_error("link with --wrap=setsockopt,pipe2,fcntl,splice,send\n");
		return -1;
	}
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_there),
		cmocka_unit_test(test_no_module),
		cmocka_unit_test(test_attach_refused),
		cmocka_unit_test(test_one_cipher_missing),
		cmocka_unit_test(test_no_cipher),
		cmocka_unit_test(test_only_receiving),
		cmocka_unit_test(test_keys_cannot_be_changed),
		cmocka_unit_test(test_splice_loses),
		cmocka_unit_test(test_pipes),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_not_wanted),
	};

	return cmocka_run_group_tests_name("capabilities", tests, need_seam, NULL);
}
