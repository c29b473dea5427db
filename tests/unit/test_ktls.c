/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exact bytes that the kernel is given, with setsockopt(), getsockopt(), recvmsg() and
 * sendmsg() replaced. What the kernel does with them is test_ktls_live's.
 */
#include "tls/ktls.h"
#include "tls/record_control.h"

#include "record_fixture.h"

#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#define FD 77

/* --- the seam -------------------------------------------------------------------------------- */

static struct {
	int level, option;
	uint8_t bytes[64];
	socklen_t size;
	int error; /* to answer; 0: success */
} option;

static struct {
	uint8_t bytes[8], type;
	ssize_t size;
	bool typed, peek;
	int error;
	size_t room;
} message;

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
ssize_t __wrap_recvmsg(int fd, struct msghdr *header, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *header, int flags);

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	assert_int_equal(fd, FD);
	assert_in_range(size, 1, sizeof(option.bytes));
	option.level = level;
	option.option = name;
	option.size = size;
	memcpy(option.bytes, value, size);
	errno = option.error;
	return option.error == 0 ? 0 : -1;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	assert_int_equal(fd, FD);
	option.level = level;
	option.option = name;
	errno = option.error;
	if (option.error != 0)
		return -1;
	assert_true(*size >= option.size);
	memcpy(value, option.bytes, option.size);
	*size = option.size;
	return 0;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *header, int flags)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(header);

	assert_int_equal(fd, FD);
	assert_true(flags & MSG_DONTWAIT);
	assert_int_equal(header->msg_controllen, CMSG_SPACE(1));
	message.peek = flags & MSG_PEEK;
	message.room = header->msg_iov[0].iov_len;
	if (message.error != 0) {
		errno = message.error;
		return -1;
	}
	if (!message.typed) {
		header->msg_controllen = 0;
	} else {
		control->cmsg_level = 282;
		control->cmsg_type = 2; /* TLS_GET_RECORD_TYPE */
		control->cmsg_len = CMSG_LEN(1);
		*CMSG_DATA(control) = message.type;
	}
	memcpy(header->msg_iov[0].iov_base, message.bytes,
	       message.size < (ssize_t)message.room ? (size_t)message.size : message.room);
	return message.size < (ssize_t)message.room ? message.size : (ssize_t)message.room;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *header, int flags)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(header);

	assert_int_equal(fd, FD);
	assert_int_equal(flags, MSG_DONTWAIT | MSG_NOSIGNAL); /* others: EOPNOTSUPP */
	assert_int_equal(control->cmsg_level, 282);
	assert_int_equal(control->cmsg_type, 1); /* TLS_SET_RECORD_TYPE */
	assert_int_equal(control->cmsg_len, CMSG_LEN(1));
	message.type = *CMSG_DATA(control);
	assert_in_range(header->msg_iov[0].iov_len, 1, sizeof(message.bytes));
	memcpy(message.bytes, header->msg_iov[0].iov_base, header->msg_iov[0].iov_len);
	if (message.error != 0) {
		errno = message.error;
		return -1;
	}
	return message.size != 0 ? message.size : (ssize_t)header->msg_iov[0].iov_len;
}

static int reset(void **state)
{
	(void)state;
	memset(&option, 0, sizeof(option));
	memset(&message, 0, sizeof(message));
	return 0;
}

/* --- keys ------------------------------------------------------------------------------------ */

static struct traffic_keys keys_of(enum traffic_version version, enum traffic_cipher cipher)
{
	struct traffic_keys keys = {
		.version = version, .cipher = cipher, .sequence = 0x0102030405060708};

	for (size_t i = 0; i < traffic_key_size(cipher); i++)
		keys.key[i] = (uint8_t)(0x80 + i);
	for (size_t i = 0; i < sizeof(keys.iv); i++)
		keys.iv[i] = (uint8_t)(0x10 + i);
	return keys;
}

#define KEY_16 "80 81 82 83 84 85 86 87 88 89 8a 8b 8c 8d 8e 8f"
#define KEY_32 KEY_16 "90 91 92 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f"
#define NUMBER "01 02 03 04 05 06 07 08"

/*
 * Version and cipher in the machine's byte order, then iv, key, salt, rec_seq. The sizes are those
 * of linux/tls.h: 40 and 56 bytes; any other is EINVAL.
 */
static const struct {
	enum traffic_version version;
	enum traffic_cipher cipher;
	uint16_t number;
	size_t size;
	const char *behind;
} layouts[] = {
	{TRAFFIC_TLS_1_3, TRAFFIC_AES_128_GCM, 51, 40,
	 "14 15 16 17 18 19 1a 1b" KEY_16 "10 11 12 13" NUMBER},
	{TRAFFIC_TLS_1_3, TRAFFIC_AES_256_GCM, 52, 56,
	 "14 15 16 17 18 19 1a 1b" KEY_32 "10 11 12 13" NUMBER},
	{TRAFFIC_TLS_1_3, TRAFFIC_CHACHA20_POLY1305, 54, 56,
	 "10 11 12 13 14 15 16 17 18 19 1a 1b" KEY_32 NUMBER},
	/* GCM in TLS 1.2: the explicit nonce of the next record is its number. */
	{TRAFFIC_TLS_1_2, TRAFFIC_AES_128_GCM, 51, 40, NUMBER KEY_16 "10 11 12 13" NUMBER},
	{TRAFFIC_TLS_1_2, TRAFFIC_AES_256_GCM, 52, 56, NUMBER KEY_32 "10 11 12 13" NUMBER},
	{TRAFFIC_TLS_1_2, TRAFFIC_CHACHA20_POLY1305, 54, 56,
	 "10 11 12 13 14 15 16 17 18 19 1a 1b" KEY_32 NUMBER},
};

static void exact_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(layouts); i++) {
		enum traffic_direction direction = (enum traffic_direction)(i % 2);
		struct traffic_keys keys = keys_of(layouts[i / 2].version, layouts[i / 2].cipher);
		const uint16_t head[] = {(uint16_t)layouts[i / 2].version, layouts[i / 2].number};
		uint8_t expected[64];

		reset(NULL);
		memcpy(expected, head, sizeof(head));
		assert_int_equal(record_hex(layouts[i / 2].behind, expected + sizeof(head)),
				 layouts[i / 2].size - sizeof(head));
		assert_int_equal(ktls_install(FD, direction, &keys), 0);
		assert_int_equal(option.level, 282);
		assert_int_equal(option.option, direction == TRAFFIC_SEND ? 1 : 2);
		assert_int_equal(option.size, layouts[i / 2].size);
		assert_memory_equal(option.bytes, expected, option.size);
	}
}

static void attach(void **state)
{
	(void)state;
	assert_int_equal(ktls_attach(FD), 0);
	assert_int_equal(option.level, 6);   /* IPPROTO_TCP */
	assert_int_equal(option.option, 31); /* TCP_ULP */
	assert_memory_equal(option.bytes, "tls", 4);
}

static void errors_are_passed_on(void **state)
{
	static const int errors[] = {ENOENT, ENOTCONN, EBUSY, EINVAL, ENOPROTOOPT};
	struct traffic_keys keys = keys_of(TRAFFIC_TLS_1_3, TRAFFIC_AES_128_GCM);
	uint64_t sequence;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		option.error = errors[i];
		assert_int_equal(ktls_attach(FD), -errors[i]);
		assert_int_equal(ktls_install(FD, TRAFFIC_SEND, &keys), -errors[i]);
		assert_int_equal(ktls_sequence(FD, TRAFFIC_SEND, &keys, &sequence), -errors[i]);
	}
}

static void sequence_is_read_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		struct traffic_keys keys = keys_of(layouts[i].version, layouts[i].cipher);
		uint64_t sequence = 0;

		assert_int_equal(ktls_install(FD, TRAFFIC_RECEIVE, &keys), 0);
		option.bytes[option.size - 1] = 0xff; /* it has gone on */
		keys.sequence = 0;
		assert_int_equal(ktls_sequence(FD, TRAFFIC_RECEIVE, &keys, &sequence), 0);
		assert_int_equal(option.option, 2);
		assert_int_equal(sequence, 0x01020304050607ff);
		option.size -= 4; /* another cipher's */
		assert_int_equal(ktls_sequence(FD, TRAFFIC_RECEIVE, &keys, &sequence), -EPROTO);
	}
}

/* --- records --------------------------------------------------------------------------------- */

static void peek_tells_the_type(void **state)
{
	static const struct {
		ssize_t size;
		bool typed;
		uint8_t type;
		int error, result;
	} cases[] = {
		{1, true, 23, 0, 0},
		{1, true, 22, 0, 0},
		{2, true, 21, 0, 0},
		{0, true, 21, 0, 0}, /* an empty alert: nothing for MSG_PEEK to copy */
		{0, false, 0, 0, -ENODATA},
		{1, false, 0, 0, -EPROTO}, /* no keys on this socket */
		{0, false, 0, EAGAIN, -EAGAIN},
		{0, false, 0, EBADMSG, -EBADMSG},
		{0, false, 0, EKEYEXPIRED, -EKEYEXPIRED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t type = 99;

		message.size = cases[i].size;
		message.typed = cases[i].typed;
		message.type = cases[i].type;
		message.error = cases[i].error;
		assert_int_equal(ktls_peek_type(FD, &type), cases[i].result);
		assert_true(message.peek);
		if (cases[i].result == 0)
			assert_int_equal(type, cases[i].type);
	}
}

static void receive_takes(void **state)
{
	uint8_t bytes[4], type;

	(void)state;
	message.size = 2;
	message.typed = true;
	message.type = 21;
	message.bytes[1] = 40;
	assert_int_equal(ktls_receive(FD, bytes, sizeof(bytes), &type), 2);
	assert_false(message.peek);
	assert_int_equal(message.room, sizeof(bytes));
	assert_int_equal(type, 21);
	assert_int_equal(bytes[1], 40);
	message.size = 0;
	assert_int_equal(ktls_receive(FD, bytes, sizeof(bytes), &type), -EPROTO);
	message.typed = false;
	assert_int_equal(ktls_receive(FD, bytes, sizeof(bytes), &type), 0);
	message.size = 1;
	assert_int_equal(ktls_receive(FD, bytes, sizeof(bytes), &type), -EPROTO);
	message.error = ECONNRESET;
	assert_int_equal(ktls_receive(FD, bytes, sizeof(bytes), &type), -ECONNRESET);
}

static void send_whole_or_not(void **state)
{
	static const uint8_t close_notify[] = {1, 0};

	(void)state;
	assert_int_equal(ktls_send(FD, RECORD_ALERT, close_notify, 2), 0);
	assert_int_equal(message.type, 21);
	assert_memory_equal(message.bytes, close_notify, 2);
	message.size = 1;
	assert_int_equal(ktls_send(FD, RECORD_ALERT, close_notify, 2), -EIO);
	message.error = EAGAIN;
	assert_int_equal(ktls_send(FD, RECORD_ALERT, close_notify, 2), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(exact_bytes, reset),
		cmocka_unit_test_setup(attach, reset),
		cmocka_unit_test_setup(errors_are_passed_on, reset),
		cmocka_unit_test_setup(sequence_is_read_back, reset),
		cmocka_unit_test_setup(peek_tells_the_type, reset),
		cmocka_unit_test_setup(receive_takes, reset),
		cmocka_unit_test_setup(send_whole_or_not, reset),
	};

	return cmocka_run_group_tests_name("ktls", tests, NULL, NULL);
}
