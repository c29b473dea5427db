/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection on a loop, plain or in TLS (OpenSSL over memory: no system call of its own).
 *
 * The owner embeds it, zeroed, and hears of it by its stream_events. Everything is called from
 * loop_turn() only, except that stream_connect() reports at once what socket(2) refused.
 */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include <openssl/ssl.h>
#include <stddef.h>

#include "base/address.h"
#include "loop.h"

/* Bytes on their way out: a handshake's flight with a chain of certificates fits. */
#define STREAM_OUT_SIZE     16384
#define STREAM_PROBLEM_SIZE 256

struct stream;

struct stream_events {
	/* Connected, and the handshake is over. */
	void (*opened)(struct stream *stream);
	/* Plain bytes; gone when it returns. Closing the stream in here is fine. */
	void (*received)(struct stream *stream, const uint8_t *bytes, size_t size);
	/* Everything handed in has left this program: room is there again. May be NULL. */
	void (*sent)(struct stream *stream);
	/*
	 * The descriptor is closed, no operation is under way: the stream may be used again or
	 * freed. `problem` says why in plain words, NULL after a stream_close().
	 */
	void (*closed)(struct stream *stream, const char *problem);
};

/* Only stream.c writes the fields. */
struct stream {
	struct loop *loop;
	const struct stream_events *events;
	SSL *ssl; /* NULL = plain */
	int fd;
	bool open; /* between opened() and closing */
	bool closing;
	bool receiving, sending, connecting; /* operations under way */
	struct loop_op receive, send, connect;
	struct address address; /* dialled; the kernel reads it later */
	const uint8_t *in;      /* records that OpenSSL has not taken yet */
	size_t in_size;
	size_t out_used;
	char problem[STREAM_PROBLEM_SIZE]; /* "" = none */
	uint8_t out[STREAM_OUT_SIZE];
};

/* Of each context whose sessions are to be streams, before the first. False: no memory. */
bool stream_tls_init(SSL_CTX *context);
/* Instead of SSL_CTX_free(3), when its sessions are gone. Accepts NULL. */
void stream_tls_free(SSL_CTX *context);
/*
 * Dials. `ssl` (owned from here on; NULL = plain) is set up as a client but for its BIO. Any
 * failure comes by closed().
 */
void stream_connect(struct stream *stream, struct loop *loop, const struct stream_events *events,
		    const struct address *address, SSL *ssl);
/* The other way in: a descriptor from accept(2), and `ssl` as a server. */
void stream_accept(struct stream *stream, struct loop *loop, const struct stream_events *events,
		   int fd, SSL *ssl);
/* Between stream_connect() or stream_accept() and opened(). */
static inline bool stream_is_opening(const struct stream *stream)
{
	return stream->fd >= 0 && !stream->open && !stream->closing;
}

/* False: no room, nothing was taken. One call is one TLS record. */
bool stream_send(struct stream *stream, const void *bytes, size_t size);
/* The most that stream_send() takes now. */
size_t stream_room(const struct stream *stream);
/* Says goodbye, and ends in closed(); with a `problem` that is passed on, or NULL. */
void stream_close(struct stream *stream, const char *problem);

#endif
