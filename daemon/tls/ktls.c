/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/ktls.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/socket.h>

/* Not in the C library's headers of Debian 12. */
#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif

#define SEQUENCE_SIZE 8
#define NONCE_SIZE    12

/*
 * Behind version and cipher: iv, key, salt, rec_seq (linux/tls.h). The write IV of 12 bytes is
 * salt and iv with GCM (include/net/tls.h), iv alone with ChaCha20.
 */
static const struct {
	uint16_t number;
	uint8_t iv_size, key_size, salt_size;
} ciphers[TRAFFIC_CIPHERS] = {
	[TRAFFIC_AES_128_GCM] = {TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_128_IV_SIZE,
				 TLS_CIPHER_AES_GCM_128_KEY_SIZE, TLS_CIPHER_AES_GCM_128_SALT_SIZE},
	[TRAFFIC_AES_256_GCM] = {TLS_CIPHER_AES_GCM_256, TLS_CIPHER_AES_GCM_256_IV_SIZE,
				 TLS_CIPHER_AES_GCM_256_KEY_SIZE, TLS_CIPHER_AES_GCM_256_SALT_SIZE},
	[TRAFFIC_CHACHA20_POLY1305] = {TLS_CIPHER_CHACHA20_POLY1305,
				       TLS_CIPHER_CHACHA20_POLY1305_IV_SIZE,
				       TLS_CIPHER_CHACHA20_POLY1305_KEY_SIZE,
				       TLS_CIPHER_CHACHA20_POLY1305_SALT_SIZE},
};

static const int options[TRAFFIC_DIRECTIONS] = {
	[TRAFFIC_RECEIVE] = TLS_RX, [TRAFFIC_SEND] = TLS_TX};

_Static_assert(KTLS_CRYPTO_MAX == sizeof(struct tls12_crypto_info_aes_gcm_256) &&
		       KTLS_CRYPTO_MAX == sizeof(struct tls12_crypto_info_chacha20_poly1305),
	       "the largest crypto info");

/* An ancillary record type, aligned as cmsg(3) wants it. */
union record_type {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(uint8_t))];
};

static uint64_t get_sequence(const uint8_t *bytes)
{
	uint64_t sequence = 0;

	for (int i = 0; i < SEQUENCE_SIZE; i++)
		sequence = sequence << 8 | bytes[i];
	return sequence;
}

static uint8_t *append(uint8_t *at, const void *bytes, size_t size)
{
	if (size > 0)
		memcpy(at, bytes, size);
	return at + size;
}

size_t ktls_crypto_info(const struct traffic_keys *keys, uint8_t crypto[KTLS_CRYPTO_MAX])
{
	const uint8_t salt_size = ciphers[keys->cipher].salt_size;
	const struct tls_crypto_info info = {.version = (uint16_t)keys->version,
					     .cipher_type = ciphers[keys->cipher].number};
	uint8_t sequence[SEQUENCE_SIZE], *at = crypto;

	put_be64(sequence, keys->sequence);
	at = append(at, &info, sizeof(info));
	/*
	 * GCM in TLS 1.2 carries its nonce in each record: the kernel counts on from the one that
	 * it is given, so the record's number makes it unique (RFC 5288 3) whatever came before.
	 */
	if (keys->version == TRAFFIC_TLS_1_2 && salt_size > 0)
		at = append(at, sequence, sizeof(sequence));
	else
		at = append(at, keys->iv + salt_size, ciphers[keys->cipher].iv_size);
	at = append(at, keys->key, ciphers[keys->cipher].key_size);
	at = append(at, keys->iv, salt_size);
	at = append(at, sequence, sizeof(sequence));
	return (size_t)(at - crypto);
}

int ktls_attach(int fd)
{
	static const char name[] = "tls";

	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, name, sizeof(name)) < 0 ? -errno : 0;
}

int ktls_install(int fd, enum traffic_direction direction, const struct traffic_keys *keys)
{
	uint8_t crypto[KTLS_CRYPTO_MAX];
	size_t size = ktls_crypto_info(keys, crypto);
	int error = 0;

	if (setsockopt(fd, SOL_TLS, options[direction], crypto, (socklen_t)size) < 0)
		error = -errno;
	OPENSSL_cleanse(crypto, sizeof(crypto));
	return error;
}

int ktls_sequence(int fd, enum traffic_direction direction, const struct traffic_keys *like,
		  uint64_t *sequence)
{
	uint8_t crypto[KTLS_CRYPTO_MAX];
	size_t expected = ktls_crypto_info(like, crypto);
	socklen_t size = (socklen_t)expected;
	int error = 0;

	/* The answer holds the key: wiped like one. */
	if (getsockopt(fd, SOL_TLS, options[direction], crypto, &size) < 0)
		error = -errno;
	else if (size != expected)
		error = -EPROTO;
	else
		*sequence = get_sequence(crypto + expected - SEQUENCE_SIZE);
	OPENSSL_cleanse(crypto, sizeof(crypto));
	return error;
}

/* recvmsg() with room for the content type; *type = 0 where the kernel named none. */
static ssize_t receive(int fd, uint8_t *bytes, size_t size, int flags, uint8_t *type)
{
	union record_type control = {0};
	struct iovec vector = {.iov_base = bytes, .iov_len = size};
	struct msghdr message = {.msg_iov = &vector,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	const struct cmsghdr *header;
	ssize_t got = recvmsg(fd, &message, flags | MSG_DONTWAIT);

	*type = 0;
	if (got < 0)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	if (header != NULL && header->cmsg_level == SOL_TLS &&
	    header->cmsg_type == TLS_GET_RECORD_TYPE)
		*type = *CMSG_DATA(header);
	return got;
}

int ktls_peek_type(int fd, uint8_t *type)
{
	uint8_t byte;
	ssize_t got = receive(fd, &byte, sizeof(byte), MSG_PEEK, type);

	if (got < 0)
		return (int)got;
	if (got == 0 && *type == 0)
		return -ENODATA;
	return *type == 0 ? -EPROTO : 0;
}

ssize_t ktls_receive(int fd, uint8_t *bytes, size_t size, uint8_t *type)
{
	ssize_t got = receive(fd, bytes, size, 0, type);

	if (got > 0 && *type == 0)
		return -EPROTO; /* bytes that no key has opened */
	if (got == 0 && *type != 0)
		return -EPROTO; /* RFC 8446 5.1: no empty record but of data, and those are skipped
				 */
	return got;
}

int ktls_send(int fd, uint8_t type, const uint8_t *bytes, size_t size)
{
	union record_type control = {.header = {.cmsg_len = CMSG_LEN(sizeof(type)),
						.cmsg_level = SOL_TLS,
						.cmsg_type = TLS_SET_RECORD_TYPE}};
	struct iovec vector = {.iov_base = (uint8_t *)(uintptr_t)bytes, .iov_len = size};
	const struct msghdr message = {.msg_iov = &vector,
				       .msg_iovlen = 1,
				       .msg_control = &control,
				       .msg_controllen = sizeof(control)};
	ssize_t sent;

	*CMSG_DATA(&control.header) = type;
	sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return -errno;
	/* A part of a message has left as a record of its own: nothing can mend that. */
	return (size_t)sent == size ? 0 : -EIO;
}
