/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record layer in user space: what a leg uses where the kernel does not hold the keys.
 *
 * A pure transformation between records and bytes. It never touches the socket: records that
 * were received go in, plaintext comes out, and the other way round, so the leg moves all bytes
 * through the ring in the same way with and without it. OpenSSL's SSL object is gone by then: of
 * it only the AEAD is used.
 */
#ifndef MCSEAL_TLS_TLS_STREAM_H
#define MCSEAL_TLS_TLS_STREAM_H

#include "tls/record_cipher.h"
#include "tls/record_control.h"

/* RFC 6066 4: the shortest records that a peer may ask for. */
#define TLS_STREAM_RECORD_MIN    512
/* Room for wrap(): replies may be waiting besides. */
#define TLS_STREAM_WRAPPED(size) ((size) + ((size) / TLS_STREAM_RECORD_MIN + 1) * RECORD_OVERHEAD)
#define TLS_STREAM_REPLIES_MAX   256 /* the answer to KeyUpdates, one of our own, an alert */

enum tls_stream_outcome {
	TLS_STREAM_CLOSED = 1, /* close_notify was received; nothing comes after it */
};

struct tls_stream;

/* Of a finished handshake; `pair` may be wiped afterwards. 0, -ENOMEM or -EIO. Any thread. */
int tls_stream_new(const struct traffic_pair *pair, struct tls_stream **stream);
/* Wipes and frees the keys. Sends nothing. Accepts NULL. Any thread. */
void tls_stream_free(struct tls_stream *stream);

/*
 * Feeds `size` received bytes, cut anywhere. Plaintext goes to `deliver`, once per record.
 * 0, TLS_STREAM_CLOSED, -EPROTO (bad record, alert: tls_stream_reason()), -EDQUOT when the peer
 * sends more KeyUpdates, tickets or empty records than we bear, or what `deliver` returned < 0.
 */
int tls_stream_unwrap(struct tls_stream *stream, const uint8_t *records, size_t size,
		      int (*deliver)(void *owner, const uint8_t *bytes, size_t size), void *owner);
/*
 * Seals `size` bytes into `records`, which has room for TLS_STREAM_WRAPPED(size) +
 * TLS_STREAM_REPLIES_MAX bytes: up to 16 KiB become one record, unless the peer asked for shorter
 * ones. *used = bytes written. 0 or -EPROTO.
 */
int tls_stream_wrap(struct tls_stream *stream, const uint8_t *bytes, size_t size, uint8_t *records,
		    size_t *used);
/* Seals close_notify. After it nothing can be wrapped. Same room as for size 0. */
int tls_stream_wrap_close(struct tls_stream *stream, uint8_t *records, size_t *used);
/*
 * Records that unwrap() produced on its own (a KeyUpdate, a fatal alert) and that must leave
 * before anything wrapped later; wrap() puts them first by itself. Copies at most
 * TLS_STREAM_REPLIES_MAX bytes; returns how many.
 */
size_t tls_stream_replies(struct tls_stream *stream, uint8_t *records);

/* Records opened and sealed with the present keys of either direction. */
void tls_stream_use(const struct tls_stream *stream, uint64_t *received, uint64_t *sent);
/*
 * A key is near its limit: makes the KeyUpdate that changes ours and asks for the peer's. It waits
 * among the replies. 0; -EOPNOTSUPP: TLS 1.2, the connection has to be closed at a good moment;
 * -EPROTO.
 */
int tls_stream_refresh(struct tls_stream *stream);

/* Why unwrap() failed, in an operator's words. */
const char *tls_stream_reason(const struct tls_stream *stream);

#endif
