/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's side of kernel TLS on one socket, as far as ktls.c talks to it: a queue of opened
 * records, the records that were sent, the keys that were installed. It stops reading behind a
 * KeyUpdate until it gets the next key, as kernels from 6.14 do; `old` refuses that key, as those
 * before do.
 *
 * Unit tests replace the calls by the linker (--wrap), the fuzz target defines them outright.
 */
#ifndef MCSEAL_TESTS_FAKE_KTLS_H
#define MCSEAL_TESTS_FAKE_KTLS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#ifndef FAKE_KTLS
#define FAKE_KTLS(name) __wrap_##name
#endif

#define FAKE_RECORDS 64
#define FAKE_SIZE    600

struct fake_record {
	uint8_t type, bytes[FAKE_SIZE];
	size_t size;
};

static struct fake_kernel {
	bool old;
	struct fake_record in[FAKE_RECORDS], out[FAKE_RECORDS];
	size_t in_count, in_at, in_offset, out_count;
	bool paused; /* a KeyUpdate is out, its key not yet in */
	int end;     /* behind the queue: an errno, 0: end of the stream */
	int send_error;
	size_t attached, installs[3]; /* by TLS_TX and TLS_RX */
	int install_error[3];
	size_t out_at_install[3]; /* how many records had been sent */
	uint8_t crypto[3][64];
	socklen_t crypto_size[3];
} fake;

static inline void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.end = EAGAIN;
}

static inline void fake_receive(uint8_t type, const void *bytes, size_t size)
{
	struct fake_record *record = &fake.in[fake.in_count++];

	record->type = type;
	record->size = size;
	if (size > 0)
		memcpy(record->bytes, bytes, size);
}

int FAKE_KTLS(setsockopt)(int fd, int level, int option, const void *value, socklen_t size);
int FAKE_KTLS(getsockopt)(int fd, int level, int option, void *value, socklen_t *size);
ssize_t FAKE_KTLS(recvmsg)(int fd, struct msghdr *message, int flags);
ssize_t FAKE_KTLS(sendmsg)(int fd, const struct msghdr *message, int flags);

static inline int fake_fail(int error)
{
	errno = error;
	return -1;
}

int FAKE_KTLS(setsockopt)(int fd, int level, int option, const void *value, socklen_t size)
{
	(void)fd;
	if (level == 6) {
		fake.attached++;
		return fake.install_error[0] ? fake_fail(fake.install_error[0]) : 0;
	}
	if (fake.install_error[option] != 0)
		return fake_fail(fake.install_error[option]);
	if (fake.old && fake.installs[option] > 0)
		return fake_fail(EBUSY);
	memcpy(fake.crypto[option], value, size);
	fake.crypto_size[option] = size;
	fake.installs[option]++;
	fake.out_at_install[option] = fake.out_count;
	if (option == 2)
		fake.paused = false;
	return 0;
}

int FAKE_KTLS(getsockopt)(int fd, int level, int option, void *value, socklen_t *size)
{
	(void)fd;
	(void)level;
	memcpy(value, fake.crypto[option], fake.crypto_size[option]);
	*size = fake.crypto_size[option];
	return 0;
}

ssize_t FAKE_KTLS(recvmsg)(int fd, struct msghdr *message, int flags)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(message);
	const struct fake_record *record = &fake.in[fake.in_at];
	size_t size = message->msg_iov[0].iov_len;

	(void)fd;
	if (fake.paused && fake.in_offset == 0)
		return fake_fail(EKEYEXPIRED);
	if (fake.in_at == fake.in_count) {
		message->msg_controllen = 0;
		return fake.end == 0 ? 0 : fake_fail(fake.end);
	}
	control->cmsg_level = 282;
	control->cmsg_type = 2;
	control->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(control) = record->type;
	if (size > record->size - fake.in_offset)
		size = record->size - fake.in_offset;
	if (size > 0)
		memcpy(message->msg_iov[0].iov_base, record->bytes + fake.in_offset, size);
	if (flags & MSG_PEEK)
		return (ssize_t)size;
	/* Only the first byte of a handshake record is looked at. */
	if (!fake.old && record->type == 22 && record->size > 0 && record->bytes[0] == 24)
		fake.paused = true;
	fake.in_offset += size;
	if (fake.in_offset == record->size) {
		fake.in_offset = 0;
		fake.in_at++;
	}
	return (ssize_t)size;
}

ssize_t FAKE_KTLS(sendmsg)(int fd, const struct msghdr *message, int flags)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(message);
	struct fake_record *record = &fake.out[fake.out_count % FAKE_RECORDS];

	(void)fd;
	(void)flags;
	if (fake.send_error != 0)
		return fake_fail(fake.send_error);
	record->type = *CMSG_DATA(control);
	record->size = message->msg_iov[0].iov_len;
	memcpy(record->bytes, message->msg_iov[0].iov_base, record->size);
	fake.out_count++;
	return (ssize_t)record->size;
}

#endif
