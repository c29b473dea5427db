/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The original destination, with getsockopt(2) replaced at link time: what is asked of the
 * kernel, and what each of its answers means. The real kernel is asked by the redirect tests.
 */
#include "net/origdst.h"

#include "net/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *size);

static int kernel_error;
static const char *kernel_answer;
static int asked_level;

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
	struct address answer;

	(void)fd;
	assert_int_equal(option, 80);
	asked_level = level;
	if (kernel_error != 0) {
		errno = kernel_error;
		return -1;
	}
	assert_int_equal(address_parse(kernel_answer, &answer), 0);
	assert_true(*size >= address_size(&answer));
	memcpy(value, &answer.any, address_size(&answer));
	*size = address_size(&answer);
	return 0;
}

/* A connected pair on loopback; `text` is where the listener is. */
static int accepted(const char *text, int *client, struct address *local)
{
	struct address address;
	int listener, fd;

	assert_int_equal(address_parse(text, &address), 0);
	assert_int_equal(socket_listen(&address, false, &listener), 0);
	assert_int_equal(socket_local(listener, local), 0);
	*client = socket(address.any.sa_family, SOCK_STREAM, 0);
	assert_int_equal(connect(*client, &local->any, address_size(local)), 0);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

static void check(const char *listen, int level, const char *answer, int error, int expected)
{
	struct address local, destination, same;
	char own[ADDRESS_TEXT_SIZE];
	int client, fd = accepted(listen, &client, &local);

	kernel_error = error;
	kernel_answer = answer ? answer : address_print(&local, own);
	assert_int_equal(origdst_get(fd, &destination), expected);
	assert_int_equal(asked_level, level);
	if (expected == 0) {
		assert_int_equal(address_parse(answer, &same), 0);
		assert_true(address_equal(&destination, &same));
	}
	close(fd);
	close(client);
}

static void redirected(void **state)
{
	(void)state;
	check("127.0.0.1:0", IPPROTO_IP, "10.30.0.10:5007", 0, 0);
	check("[::1]:0", IPPROTO_IPV6, "[fd30::10]:5007", 0, 0);
}

static void not_redirected(void **state)
{
	(void)state;
	/* Tracked but direct: the kernel answers with the listener's own address. */
	check("127.0.0.1:0", IPPROTO_IP, NULL, 0, ORIGDST_NOT_REDIRECTED);
	check("127.0.0.1:0", IPPROTO_IP, "10.30.0.10:5007", ENOENT, ORIGDST_NOT_REDIRECTED);
	check("[::1]:0", IPPROTO_IPV6, "10.30.0.10:5007", ENOPROTOOPT, ORIGDST_NOT_REDIRECTED);
	check("127.0.0.1:0", IPPROTO_IP, "10.30.0.10:5007", EPERM, -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(redirected),
		cmocka_unit_test(not_redirected),
	};

	return cmocka_run_group_tests_name("origdst", tests, NULL, NULL);
}
