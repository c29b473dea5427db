/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One side of a session: a socket, and the record layer on it. The relay sees plain bytes in
 * `input` and sends plain bytes; whether the wire carries records is the leg's affair: none, made
 * by the kernel (ktls_control), or made in user space (tls_stream).
 *
 * A leg sends one thing at a time: leg_send() makes exactly one send, and on a TLS leg exactly
 * one record up to 16 KiB, out of what it is given. The leg's operations belong to the session's
 * op_owner, which passes their completions to leg_received(), leg_sent() and leg_writable().
 *
 * A leg whose input is spliced is not received but watched: LEG_READABLE says that its socket
 * has something, and whoever splices reads it until EAGAIN.
 */
#ifndef MCSEAL_PROXY_LEG_H
#define MCSEAL_PROXY_LEG_H

#include "base/buffer.h"
#include "ring/ring.h"
#include "tls/ktls_control.h"
#include "tls/tls_stream.h"

#include <stdbool.h>

enum leg_event {
	LEG_NOTHING = 0, /* nothing for the relay: a cancelled recv, a part of a record */
	LEG_BYTES,       /* `input` has grown */
	LEG_READABLE,    /* watched: the socket has something */
	LEG_END,         /* the peer has finished sending: FIN, with close_notify on TLS */
	LEG_TRUNCATED,   /* FIN without close_notify: somebody may have cut the stream */
	LEG_FAULT,       /* the record layer refused what came: leg_reason() */
	LEG_ERROR,       /* the socket failed: leg->error is -errno */
};

struct leg {
	struct ring *ring;
	int fd; /* -1: not open */
	struct op recv, send;
	struct op writable;          /* waits until the socket has room again */
	struct tls_stream *tls;      /* records are made in user space ... */
	struct ktls_control *kernel; /* ... or by the kernel; both NULL: plain */
	struct buffer input;         /* received and not yet taken by the relay */
	struct buffer output;        /* on its way into the socket */
	int error;
	bool watched;   /* its input is spliced: `recv` watches */
	bool readable;  /* watched: EAGAIN has not been seen since the last event */
	bool hung_up;   /* watched: FIN or RST has come; what was sent before may be unread */
	bool busy;      /* an asynchronous splice into the socket is in flight */
	bool receiving; /* the relay wants bytes; the recv may lag behind */
	bool ended;     /* LEG_END was reported */
	bool finishing; /* leg_finish() was called ... */
	bool finished;  /* ... and nothing more will be sent */
	bool broken;    /* nothing may be sent any more */
};

/* Operations will complete at `owner` with `tag`. `pool` may be NULL. */
void leg_init(struct leg *leg, struct ring *ring, struct buffer_pool *pool, struct op_owner *owner,
	      uint8_t tag);
/* Takes the descriptor over. */
void leg_open(struct leg *leg, int fd);
/* Starts or stops receiving. After a stop a few more LEG_BYTES may come. */
void leg_receive(struct leg *leg, bool on);
/* A completion of leg->recv. Plaintext lands in leg->input. */
enum leg_event leg_received(struct leg *leg, const struct op_result *result);
/* Watched and hung up, and what is left is of no use: how did it end? Never LEG_NOTHING. */
enum leg_event leg_hung_up(struct leg *leg);
/*
 * What recv, splice or peek on a watched leg came back with when it was neither bytes nor EAGAIN:
 * 0 at the end of the stream, or -errno; on kernel TLS perhaps a control record, which is then
 * taken. LEG_NOTHING: go on.
 */
enum leg_event leg_interrupted(struct leg *leg, int res);
/* Nothing is being sent and the leg has not been finished. */
bool leg_can_send(const struct leg *leg);
/* Copies (or seals) `size` > 0 bytes and sends them. Only when leg_can_send(). 0 or -errno. */
int leg_send(struct leg *leg, const uint8_t *bytes, size_t size);
/* Ends our direction: close_notify on TLS, then FIN. Only when leg_can_send(). 0 or -errno. */
int leg_finish(struct leg *leg);
/* A completion of leg->send. 0, or -errno when the leg is lost. */
int leg_sent(struct leg *leg, const struct op_result *result);
/* The socket was full: leg->writable completes when it has room. */
void leg_wait_writable(struct leg *leg);
/* A completion of leg->writable. 0, or -errno when the leg is lost. */
int leg_writable(struct leg *leg, const struct op_result *result);
/* An asynchronous splice into the leg has begun or ended. 0, or -errno when the leg is lost. */
int leg_set_busy(struct leg *leg, bool busy);
/* Records under the present keys. 0, or -errno; a plain leg has used none. */
int leg_key_use(const struct leg *leg, uint64_t *received, uint64_t *sent);
/* New keys for both directions. 0; -EOPNOTSUPP: this connection cannot; other -errno: lost. */
int leg_refresh_keys(struct leg *leg);
/* Asks the operations to end. */
void leg_cancel(struct leg *leg);
/* With nothing in flight: says goodbye on TLS if that is still possible, closes. */
void leg_close(struct leg *leg);
/* Why LEG_FAULT, in an operator's words. */
const char *leg_reason(const struct leg *leg);

#endif
