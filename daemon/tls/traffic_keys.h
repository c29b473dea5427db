/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of an established TLS connection, one direction each, as a record layer needs them.
 *
 * TLS 1.3: from the application traffic secrets (RFC 8446 7.2, 7.3). TLS 1.2: from the master
 * secret (RFC 5246 6.3; the same with the extended master secret of RFC 7627). Pure computation,
 * no socket, no SSL object. Whoever holds one of these structs wipes it.
 */
#ifndef MCSEAL_TLS_TRAFFIC_KEYS_H
#define MCSEAL_TLS_TRAFFIC_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRAFFIC_SECRET_MAX 48 /* SHA-384 */
#define TRAFFIC_RANDOM     32
#define TRAFFIC_MASTER     48

enum traffic_version {
	TRAFFIC_TLS_1_2 = 0x0303,
	TRAFFIC_TLS_1_3 = 0x0304,
};

enum traffic_cipher {
	TRAFFIC_AES_128_GCM,
	TRAFFIC_AES_256_GCM,
	TRAFFIC_CHACHA20_POLY1305,
	TRAFFIC_CIPHERS,
};

struct traffic_secret {
	uint8_t bytes[TRAFFIC_SECRET_MAX];
	uint8_t size; /* 32 or 48: of the suite's hash */
};

enum traffic_direction {
	TRAFFIC_RECEIVE,
	TRAFFIC_SEND,
	TRAFFIC_DIRECTIONS,
};

/* One direction. */
struct traffic_keys {
	enum traffic_version version;
	enum traffic_cipher cipher;
	uint8_t key[32]; /* traffic_key_size() of them */
	/* All 12 bytes of the write IV, but with GCM in TLS 1.2: the 4 bytes of the salt. */
	uint8_t iv[12];
	uint64_t sequence; /* number of the next record */
};

/* Both keys of a connection as they come out of a handshake. Wiped by whoever made it. */
struct traffic_pair {
	struct traffic_keys keys[TRAFFIC_DIRECTIONS];
	/* TLS 1.3; size 0 where there are none. */
	struct traffic_secret secrets[TRAFFIC_DIRECTIONS];
	uint16_t record_max; /* bytes of content that the peer takes: RECORD_MAX, or RFC 6066 4 */
	bool client;         /* we are: tickets may come */
};

/* By OpenSSL's SSL_CIPHER_get_protocol_id() (IANA). 0, or -ENOTSUP: none of ours. */
int traffic_cipher_by_suite(uint16_t suite, enum traffic_cipher *cipher);
/* As in this project's documents: "AES-128-GCM". */
const char *traffic_cipher_name(enum traffic_cipher cipher);
/* Bytes: 16 or 32. */
size_t traffic_key_size(enum traffic_cipher cipher);
/* Bytes of a traffic secret: of the hash of the TLS 1.3 suite with this cipher. */
size_t traffic_secret_size(enum traffic_cipher cipher);

/* RFC 8446 7.3: "key" and "iv". sequence = 0. 0, or -ENOMEM / -EIO (OpenSSL refused). */
int traffic_keys_expand(enum traffic_cipher cipher, const struct traffic_secret *secret,
			struct traffic_keys *keys);
/* RFC 8446 7.2: "traffic upd", in place. Same errors. */
int traffic_secret_update(enum traffic_cipher cipher, struct traffic_secret *secret);
/* RFC 5246 6.3. sequence = 1 both: Finished was record 0. `suite` tells the PRF's hash. */
int traffic_keys_tls_1_2(uint16_t suite, const uint8_t master[TRAFFIC_MASTER],
			 const uint8_t client_random[TRAFFIC_RANDOM],
			 const uint8_t server_random[TRAFFIC_RANDOM], struct traffic_keys *client,
			 struct traffic_keys *server);

#endif
