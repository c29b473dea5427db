/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One side of a session: a socket, and the record layer on it. The relay sees plain bytes in
 * `input` and sends plain bytes; whether the wire carries records is the leg's affair. Today a
 * leg is plain or has its records made in user space (tls_stream); kernel TLS will be a third
 * layer behind the same calls.
 *
 * A leg sends one thing at a time: leg_send() makes exactly one send, and on a TLS leg exactly
 * one record up to 16 KiB, out of what it is given. The leg's operations belong to the session's
 * op_owner, which passes their completions to leg_received() and leg_sent().
 */
#ifndef MCSEAL_PROXY_LEG_H
#define MCSEAL_PROXY_LEG_H

#include "base/buffer.h"
#include "ring/ring.h"
#include "tls/tls_stream.h"

#include <stdbool.h>

enum leg_event {
	LEG_NOTHING = 0, /* nothing for the relay: a cancelled recv, a part of a record */
	LEG_BYTES,       /* `input` has grown */
	LEG_END,         /* the peer has finished sending: FIN, with close_notify on TLS */
	LEG_TRUNCATED,   /* FIN without close_notify: somebody may have cut the stream */
	LEG_FAULT,       /* the record layer refused what came: leg_reason() */
	LEG_ERROR,       /* the socket failed: leg->error is -errno */
};

struct leg {
	struct ring *ring;
	int fd; /* -1: not open */
	struct op recv, send;
	struct tls_stream *tls; /* NULL: plain */
	struct buffer input;    /* received and not yet taken by the relay */
	struct buffer output;   /* on its way into the socket */
	int error;
	bool receiving; /* the relay wants bytes; the recv may lag behind */
	bool ended;     /* LEG_END was reported */
	bool finishing; /* leg_finish() was called ... */
	bool finished;  /* ... and nothing more will be sent */
	bool broken;    /* nothing may be sent any more */
};

/* Operations will complete at `owner` with `tag`. */
void leg_init(struct leg *leg, struct ring *ring, struct op_owner *owner, uint8_t tag);
/* Takes the descriptor over. */
void leg_open(struct leg *leg, int fd);
/* Starts or stops receiving. After a stop a few more LEG_BYTES may come. */
void leg_receive(struct leg *leg, bool on);
/* A completion of leg->recv. Plaintext lands in leg->input. */
enum leg_event leg_received(struct leg *leg, const struct op_result *result);
/* Nothing is being sent and the leg has not been finished. */
bool leg_can_send(const struct leg *leg);
/* Copies (or seals) `size` > 0 bytes and sends them. Only when leg_can_send(). 0 or -errno. */
int leg_send(struct leg *leg, const uint8_t *bytes, size_t size);
/* Ends our direction: close_notify on TLS, then FIN. Only when leg_can_send(). 0 or -errno. */
int leg_finish(struct leg *leg);
/* A completion of leg->send. 0, or -errno when the leg is lost. */
int leg_sent(struct leg *leg, const struct op_result *result);
/* Asks the operations to end. */
void leg_cancel(struct leg *leg);
/* With nothing in flight: says goodbye on TLS if that is still possible, closes. */
void leg_close(struct leg *leg);
/* Why LEG_FAULT, in an operator's words. */
const char *leg_reason(const struct leg *leg);

#endif
