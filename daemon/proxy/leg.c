/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Receiving is one operation that stays armed (`recv`); the relay switches it off when it cannot
 * pass on what came. Because a switched-off operation ends later, `receiving` says what is
 * wanted and the operation's own state what is the case; the end of a cancelled one starts it
 * anew where it is wanted again.
 *
 * Sending is one operation at a time (`send`) out of `output`, which keeps the bytes until the
 * kernel has all of them. On a TLS leg `output` holds sealed records in the order in which their
 * sequence numbers were used; nothing may overtake, so replies of the record layer (KeyUpdate)
 * wait for the send in flight like everything else.
 *
 * `broken` means that a record may be half out: from then on nothing may be sealed, because the
 * peer could not tell a lost record from a forged one.
 */
#include "proxy/leg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void leg_init(struct leg *leg, struct ring *ring, struct op_owner *owner, uint8_t tag)
{
	leg->ring = ring;
	leg->fd = -1;
	leg->recv = (struct op){.owner = owner, .tag = tag};
	leg->send = (struct op){.owner = owner, .tag = tag};
}

void leg_open(struct leg *leg, int fd)
{
	leg->fd = fd;
}

void leg_receive(struct leg *leg, bool on)
{
	if (leg->ended || leg->fd < 0)
		on = false;
	leg->receiving = on;
	if (on && !op_armed(&leg->recv))
		ring_recv(leg->ring, &leg->recv, leg->fd);
	else if (!on && op_armed(&leg->recv))
		ring_cancel(leg->ring, &leg->recv);
}

static int take_plaintext(void *owner, const uint8_t *bytes, size_t size)
{
	struct leg *leg = owner;

	return buffer_append(&leg->input, bytes, size);
}

/* Sends what the record layer made on its own: KeyUpdate answers. */
static int send_replies(struct leg *leg)
{
	uint8_t *room;
	size_t size;

	if (op_armed(&leg->send) || leg->broken)
		return 0; /* they leave with or before the next wrapped record */
	room = buffer_reserve(&leg->output, TLS_STREAM_REPLIES_MAX);
	if (room == NULL)
		return -ENOMEM;
	size = tls_stream_replies(leg->tls, room);
	buffer_filled(&leg->output, size);
	if (size == 0)
		buffer_deinit(&leg->output);
	else
		ring_send(leg->ring, &leg->send, leg->fd, buffer_bytes(&leg->output), size);
	return 0;
}

static enum leg_event received_records(struct leg *leg, const struct ring_buffer *buffer)
{
	size_t before = buffer_size(&leg->input);
	int result;

	if (leg->ended)
		return LEG_NOTHING; /* what follows close_notify is not data (RFC 8446 6.1) */
	result = tls_stream_unwrap(leg->tls, buffer->bytes, buffer->size, take_plaintext, leg);
	if (result == -EPROTO || result == -EBADMSG)
		return LEG_FAULT;
	if (result >= 0 && send_replies(leg) < 0)
		result = -ENOMEM;
	if (result < 0) {
		leg->error = result;
		return LEG_ERROR;
	}
	if (result == TLS_STREAM_CLOSED) {
		leg->ended = true;
		leg_receive(leg, false);
		return LEG_END;
	}
	return buffer_size(&leg->input) > before ? LEG_BYTES : LEG_NOTHING;
}

static enum leg_event received_bytes(struct leg *leg, const struct ring_buffer *buffer)
{
	int error = buffer_append(&leg->input, buffer->bytes, buffer->size);

	if (error < 0) {
		leg->error = error;
		return LEG_ERROR;
	}
	return LEG_BYTES;
}

enum leg_event leg_received(struct leg *leg, const struct op_result *result)
{
	enum leg_event event = LEG_NOTHING;

	if (result->buffer != NULL) {
		event = leg->tls ? received_records(leg, result->buffer)
				 : received_bytes(leg, result->buffer);
		ring_buffer_release(leg->ring, result->buffer);
	}
	if (result->more || event == LEG_FAULT || event == LEG_ERROR)
		return event;
	if (result->res == -ECANCELED || result->res > 0) {
		/* Stopped; perhaps wanted again by now. */
		if (leg->receiving && !leg->ended)
			ring_recv(leg->ring, &leg->recv, leg->fd);
		return event;
	}
	if (result->res < 0) {
		leg->error = result->res;
		return LEG_ERROR;
	}
	if (leg->ended)
		return LEG_NOTHING;
	leg->ended = true;
	leg->receiving = false;
	return leg->tls ? LEG_TRUNCATED : LEG_END;
}

bool leg_can_send(const struct leg *leg)
{
	return leg->fd >= 0 && !op_armed(&leg->send) && !leg->finishing && !leg->broken;
}

static int seal(struct leg *leg, const uint8_t *bytes, size_t size)
{
	uint8_t *room =
		buffer_reserve(&leg->output, TLS_STREAM_WRAPPED(size) + TLS_STREAM_REPLIES_MAX);
	size_t used;
	int error;

	if (room == NULL)
		return -ENOMEM;
	error = size > 0 ? tls_stream_wrap(leg->tls, bytes, size, room, &used)
			 : tls_stream_wrap_close(leg->tls, room, &used);
	if (error < 0) {
		leg->broken = true;
		return error;
	}
	buffer_filled(&leg->output, used);
	return 0;
}

static void start_send(struct leg *leg)
{
	ring_send(leg->ring, &leg->send, leg->fd, buffer_bytes(&leg->output),
		  buffer_size(&leg->output));
}

int leg_send(struct leg *leg, const uint8_t *bytes, size_t size)
{
	int error = leg->tls ? seal(leg, bytes, size) : buffer_append(&leg->output, bytes, size);

	if (error == 0)
		start_send(leg);
	return error;
}

static int shut_down(struct leg *leg)
{
	leg->finished = true;
	/* ENOTCONN: the peer has reset the connection meanwhile; recv reports that. */
	if (shutdown(leg->fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return -errno;
	return 0;
}

int leg_finish(struct leg *leg)
{
	int error;

	leg->finishing = true;
	if (leg->tls == NULL)
		return shut_down(leg);
	error = seal(leg, NULL, 0);
	if (error == 0)
		start_send(leg);
	return error;
}

int leg_sent(struct leg *leg, const struct op_result *result)
{
	if (result->res < 0) {
		leg->broken = true;
		leg->error = result->res;
		return result->res;
	}
	buffer_deinit(&leg->output);
	if (leg->finishing)
		return shut_down(leg);
	return leg->tls ? send_replies(leg) : 0;
}

void leg_cancel(struct leg *leg)
{
	leg->receiving = false;
	if (op_armed(&leg->send))
		leg->broken = true; /* a record may be half out */
	ring_cancel(leg->ring, &leg->recv);
	ring_cancel(leg->ring, &leg->send);
}

/* Best effort and never waiting: a full socket must not delay the end. */
static void say_goodbye(struct leg *leg)
{
	uint8_t records[TLS_STREAM_WRAPPED(0) + TLS_STREAM_REPLIES_MAX];
	size_t used;

	/* Even where close_notify cannot be sealed any more, a waiting fatal alert leaves. */
	(void)tls_stream_wrap_close(leg->tls, records, &used);
	if (used > 0)
		(void)!send(leg->fd, records, used, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void leg_close(struct leg *leg)
{
	if (leg->tls != NULL && leg->fd >= 0 && !leg->finishing && !leg->broken)
		say_goodbye(leg);
	tls_stream_free(leg->tls);
	leg->tls = NULL;
	buffer_deinit(&leg->input);
	buffer_deinit(&leg->output);
	if (leg->fd >= 0)
		close(leg->fd);
	leg->fd = -1;
}

const char *leg_reason(const struct leg *leg)
{
	return leg->tls ? tls_stream_reason(leg->tls) : "";
}
