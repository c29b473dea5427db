/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record layer in user space: what a leg uses where the kernel does not hold the keys.
 *
 * A pure transformation between records and bytes. It never touches the socket: records that
 * were received go in, plaintext comes out, and the other way round, so the leg moves all bytes
 * through the ring in the same way with and without it.
 */
#ifndef MCSEAL_TLS_TLS_STREAM_H
#define MCSEAL_TLS_TLS_STREAM_H

#include "tls/handshake.h"

#include <stddef.h>
#include <stdint.h>

/* Largest expansion of one record: header 5, nonce 8, inner type 1, tag 16 (RFC 5246, 8446). */
#define TLS_STREAM_RECORD_MAX 16384
#define TLS_STREAM_OVERHEAD   32
/* Room for wrap(): every begun 16 KiB costs one record, and replies may be waiting. */
#define TLS_STREAM_WRAPPED(size)                                                                   \
	((size) + ((size) / TLS_STREAM_RECORD_MAX + 2) * TLS_STREAM_OVERHEAD)
#define TLS_STREAM_REPLIES_MAX 1024

enum tls_stream_outcome {
	TLS_STREAM_CLOSED = 1, /* close_notify was received; nothing comes after it */
};

struct tls_stream;

/* Takes over the SSL object of a finished handshake. On failure the handshake keeps it. */
int tls_stream_new(struct handshake *handshake, struct tls_stream **stream);
/* Wipes and frees the keys. Sends nothing. Accepts NULL. */
void tls_stream_free(struct tls_stream *stream);

/*
 * Feeds `size` received bytes, cut anywhere. Plaintext goes to `deliver`, once per record.
 * 0, TLS_STREAM_CLOSED, -EPROTO (bad record, alert: tls_stream_reason()), -EBADMSG when the peer
 * makes us answer faster than it reads or sends more KeyUpdates and tickets than
 * ktls_control_spend() allows, or what `deliver` returned < 0.
 */
int tls_stream_unwrap(struct tls_stream *stream, const uint8_t *records, size_t size,
		      int (*deliver)(void *owner, const uint8_t *bytes, size_t size), void *owner);
/*
 * Seals `size` bytes into `records`, which has room for TLS_STREAM_WRAPPED(size) +
 * TLS_STREAM_REPLIES_MAX bytes: up to 16 KiB become one record. *used = bytes written. 0 or
 * -EPROTO.
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
