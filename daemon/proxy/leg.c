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
 *
 * On kernel TLS data goes in and out of the socket as if it were plain. A record that is no data
 * makes recv and splice fail; take_control() then takes it off. What has to be sent beside the
 * data (a KeyUpdate, close_notify) is sent at once where nothing else is on its way, else by
 * catch_up() when that has left: a new send key must not get between the parts of one send.
 */
#include "proxy/leg.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void leg_init(struct leg *leg, struct ring *ring, struct buffer_pool *pool, struct op_owner *owner,
	      uint8_t tag)
{
	leg->ring = ring;
	leg->fd = -1;
	leg->input.pool = leg->output.pool = pool;
	leg->recv = (struct op){.owner = owner, .tag = tag};
	leg->send = (struct op){.owner = owner, .tag = tag};
	leg->writable = (struct op){.owner = owner, .tag = tag};
}

static void start_receiving(struct leg *leg)
{
	/* Linux 6.1 reports a part of a record as readable. */
	leg->recv.unsure = leg->kernel != NULL;
	if (leg->watched)
		ring_watch(leg->ring, &leg->recv, leg->fd);
	else
		ring_recv(leg->ring, &leg->recv, leg->fd);
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
		start_receiving(leg);
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
	if (result == -EPROTO || result == -EDQUOT)
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

/* Nothing is on its way into the socket, so that something else may be sent directly. */
static bool still(const struct leg *leg)
{
	return !op_armed(&leg->send) && !leg->busy && !leg->broken;
}

static int shut_down(struct leg *leg)
{
	leg->finished = true;
	/* ENOTCONN: the peer has reset the connection meanwhile; recv reports that. */
	if (shutdown(leg->fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return -errno;
	return 0;
}

/* Kernel TLS: what had to wait until the sending side is still. 0, or -errno: the leg is lost. */
static int catch_up(struct leg *leg)
{
	int error = 0;

	if (!still(leg) || leg->finished)
		return 0;
	if (ktls_control_update_due(leg->kernel))
		error = ktls_control_update(leg->kernel);
	if (error == 0 && leg->finishing)
		error = ktls_control_say_closed(leg->kernel);
	if (error == -EAGAIN) {
		leg_wait_writable(leg);
		return 0;
	}
	if (error < 0) {
		leg->broken = true;
		leg->error = error;
		return error;
	}
	return leg->finishing ? shut_down(leg) : 0;
}

static enum leg_event ended(struct leg *leg, enum leg_event how)
{
	if (leg->ended)
		return LEG_NOTHING;
	leg->ended = true;
	leg->readable = false;
	leg_receive(leg, false);
	return how;
}

static enum leg_event lost(struct leg *leg, int error)
{
	leg->error = error;
	return LEG_ERROR;
}

static enum leg_event take_control(struct leg *leg)
{
	int outcome = ktls_control_receive(leg->kernel, clock_now());

	if (outcome == -EPROTO || outcome == -EBADMSG || outcome == -EDQUOT)
		return LEG_FAULT;
	if (outcome < 0)
		return lost(leg, outcome);
	if (catch_up(leg) < 0)
		return LEG_ERROR;
	if (outcome == KTLS_CONTROL_NOTHING)
		return LEG_NOTHING;
	return ended(leg, outcome == KTLS_CONTROL_CLOSED ? LEG_END : LEG_TRUNCATED);
}

enum leg_event leg_interrupted(struct leg *leg, int res)
{
	bool records = leg->tls != NULL || leg->kernel != NULL;

	/* Of a plain socket, or of one whose connection is lost whatever it carries. */
	if (res < 0 && (leg->kernel == NULL || res == -ECONNRESET || res == -ETIMEDOUT ||
			res == -ENOMEM || res == -ENOBUFS))
		return lost(leg, res);
	if (res < 0 && ktls_control_broken(leg->kernel, res))
		return LEG_FAULT;
	if (res < 0)
		return take_control(leg);
	return ended(leg, records ? LEG_TRUNCATED : LEG_END);
}

enum leg_event leg_hung_up(struct leg *leg)
{
	int error = 0;
	socklen_t size = sizeof(error);

	(void)getsockopt(leg->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return leg_interrupted(leg, -error);
}

/* Also the end of a recv that was stopped when the leg became a watched one. */
static enum leg_event watched(struct leg *leg, const struct op_result *result)
{
	enum leg_event event = LEG_NOTHING;

	if (leg->ended)
		return LEG_NOTHING;
	if (result->res < 0 && result->res != -ECANCELED)
		event = leg_interrupted(leg, result->res);
	if (event == LEG_NOTHING && leg->receiving && !op_armed(&leg->recv))
		start_receiving(leg);
	if (result->res < 0)
		return event;
	leg->readable = true;
	leg->hung_up |= (result->res & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
	return LEG_READABLE;
}

enum leg_event leg_received(struct leg *leg, const struct op_result *result)
{
	enum leg_event event = LEG_NOTHING;

	if (leg->watched && result->buffer == NULL)
		return watched(leg, result);
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
			start_receiving(leg);
		return event;
	}
	event = leg_interrupted(leg, result->res);
	if (event == LEG_NOTHING && leg->receiving && !op_armed(&leg->recv))
		start_receiving(leg);
	return event;
}

bool leg_can_send(const struct leg *leg)
{
	return leg->fd >= 0 && still(leg) && !leg->finishing;
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

int leg_finish(struct leg *leg)
{
	int error;

	leg->finishing = true;
	if (leg->kernel != NULL)
		return catch_up(leg);
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
	if (leg->kernel != NULL)
		return catch_up(leg);
	if (leg->finishing)
		return shut_down(leg);
	return leg->tls ? send_replies(leg) : 0;
}

void leg_wait_writable(struct leg *leg)
{
	if (!op_armed(&leg->writable))
		ring_poll(leg->ring, &leg->writable, leg->fd, POLLOUT);
}

int leg_writable(struct leg *leg, const struct op_result *result)
{
	if (result->res == -ECANCELED)
		return 0;
	if (result->res < 0) {
		leg->broken = true;
		leg->error = result->res;
		return result->res;
	}
	return leg->kernel != NULL ? catch_up(leg) : 0;
}

int leg_set_busy(struct leg *leg, bool busy)
{
	leg->busy = busy;
	return leg->kernel != NULL ? catch_up(leg) : 0;
}

int leg_key_use(const struct leg *leg, uint64_t *received, uint64_t *sent)
{
	int error;

	*received = *sent = 0;
	if (leg->tls != NULL)
		tls_stream_use(leg->tls, received, sent);
	if (leg->kernel == NULL)
		return 0;
	error = ktls_control_use(leg->kernel, TRAFFIC_RECEIVE, received);
	return error < 0 ? error : ktls_control_use(leg->kernel, TRAFFIC_SEND, sent);
}

int leg_refresh_keys(struct leg *leg)
{
	int error = leg->kernel != NULL ? ktls_control_refresh(leg->kernel)
					: tls_stream_refresh(leg->tls);

	if (error < 0)
		return error;
	return leg->kernel != NULL ? catch_up(leg) : send_replies(leg);
}

void leg_cancel(struct leg *leg)
{
	leg->receiving = false;
	if (op_armed(&leg->send) || leg->busy)
		leg->broken = true; /* a record, or the frame that it belongs to, may be half out */
	ring_cancel(leg->ring, &leg->recv);
	ring_cancel(leg->ring, &leg->send);
	ring_cancel(leg->ring, &leg->writable);
}

/* Best effort and never waiting: a full socket must not delay the end. */
static void say_goodbye(struct leg *leg)
{
	uint8_t records[TLS_STREAM_WRAPPED(0) + TLS_STREAM_REPLIES_MAX];
	size_t used;

	if (leg->kernel != NULL) {
		(void)ktls_control_say_closed(leg->kernel);
		return;
	}
	/* Even where close_notify cannot be sealed any more, a waiting fatal alert leaves. */
	(void)tls_stream_wrap_close(leg->tls, records, &used);
	if (used > 0)
		(void)!send(leg->fd, records, used, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void leg_close(struct leg *leg)
{
	bool records = leg->tls != NULL || leg->kernel != NULL;

	if (records && leg->fd >= 0 && !leg->finishing && !leg->broken)
		say_goodbye(leg);
	tls_stream_free(leg->tls);
	leg->tls = NULL;
	ktls_control_free(leg->kernel);
	leg->kernel = NULL;
	buffer_deinit(&leg->input);
	buffer_deinit(&leg->output);
	if (leg->fd >= 0)
		close(leg->fd);
	leg->fd = -1;
}

const char *leg_reason(const struct leg *leg)
{
	if (leg->kernel != NULL)
		return ktls_control_reason(leg->kernel);
	return leg->tls != NULL ? tls_stream_reason(leg->tls) : "";
}
