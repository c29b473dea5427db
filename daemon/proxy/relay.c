/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Each direction is pumped on its own: as long as the far side can take something, the frame at
 * the front of the input is sent. A leg sends one thing at a time, so a slow reader blocks its
 * direction; its other side then stops receiving once a frame's worth of bytes waits, and TCP
 * carries the pressure to the sender.
 *
 * How much may pile up: after a stop, what the ring had already received is still delivered.
 * That is bounded by the ring's buffers (2 MiB a worker) and happens to a flood only.
 *
 * Half-close: when a leg has ended and its input is forwarded, the other leg is finished. The
 * session is over when both are finished. Input that is no whole frame at the end was cut off.
 *
 * A spliced direction goes the same way but for the moving (relay_splice.c); what its leg had
 * received before it was spliced is forwarded first.
 *
 * An inspected session has one request in flight: each is judged when the one before has its whole
 * answer (inspection.h), and what is refused is answered here.
 *
 * Keys wear out (RFC 8446 5.5): at limits.key_records they are changed where the peer, the version
 * and the kernel allow it; else the session is closed when every request has its answer.
 */
#include "proxy/relay.h"

#include "base/error.h"
#include "proxy/inspection.h"
#include "proxy/relay_splice.h"
#include "proxy/worker.h"

#include <errno.h>
#include <string.h>

#define KEY_USE_EVERY 1024 /* frames between two looks at the record counters */

static enum session_reason by_leg(unsigned int leg, enum session_reason near,
				  enum session_reason far)
{
	return leg == LEG_NEAR ? near : far;
}

void relay_rest_came(struct session *session, unsigned int from)
{
	timer_stop(ring_timers(session_ring(session)), &session->directions[from].frame_rest);
}

static void rest_expired(struct session *session, unsigned int from)
{
	session_close(
		session,
		by_leg(from, SESSION_REASON_REQUEST_INCOMPLETE, SESSION_REASON_ANSWER_INCOMPLETE),
		NULL);
	session_settle(session);
}

static void request_rest_expired(struct timer *timer)
{
	rest_expired(container_of(timer, struct session, directions[LEG_NEAR].frame_rest),
		     LEG_NEAR);
}

static void answer_rest_expired(struct timer *timer)
{
	rest_expired(container_of(timer, struct session, directions[LEG_FAR].frame_rest), LEG_FAR);
}

/* A frame has begun; the rest must follow soon, from its first byte on. */
void relay_rest_awaited(struct session *session, unsigned int from)
{
	struct timer *timer = &session->directions[from].frame_rest;
	clock_us allowed = session->snapshot->config->timeouts.frame_rest;

	if (timer_is_set(timer))
		return;
	timer->expired = from == LEG_NEAR ? request_rest_expired : answer_rest_expired;
	if (timer_set(ring_timers(session_ring(session)), timer, clock_now() + allowed) < 0)
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
}

/* A request that arrived early: the one before is not answered, or its answer is being sent. */
static bool must_wait(const struct session *session)
{
	return session->directions[LEG_NEAR].frames != session->directions[LEG_FAR].frames ||
	       relay_splice_in_frame(session, LEG_FAR) || !leg_can_send(&session->legs[LEG_NEAR]);
}

/* Answered here instead of forwarded? The answer is sent in one piece, like a PLC's. */
static bool refused(struct session *session, const struct mc_frame *frame)
{
	struct buffer *input = &session->legs[LEG_NEAR].input;
	uint8_t answer[MC_FRAME_ERROR_SIZE];
	size_t size = inspection_judge(session, buffer_bytes(input), frame->length, answer);
	int error;

	if (size == 0)
		return false;
	relay_rest_came(session, LEG_NEAR);
	buffer_consume(input, frame->length);
	error = leg_send(&session->legs[LEG_NEAR], answer, size);
	if (error < 0)
		relay_unsendable(session, LEG_NEAR, error);
	return true;
}

/* How many bytes at the front of the input go out next; 0: none yet. */
static size_t next_frame(struct session *session, unsigned int from)
{
	struct buffer *input = &session->legs[from].input;
	enum mc_direction direction = from == LEG_NEAR ? MC_REQUEST : MC_ANSWER;
	bool judged = from == LEG_NEAR && session->inspection != NULL;
	struct mc_frame frame;
	enum mc_split split;

	do {
		if (judged && must_wait(session))
			return 0;
		split = mc_stream_split(&session->stream, direction, buffer_bytes(input),
					buffer_size(input), session->snapshot->config->limits.frame,
					&frame);
		if (split == MC_SPLIT_FRAME && judged && !inspection_may_go(session))
			return 0;
	} while (split == MC_SPLIT_FRAME && judged && refused(session, &frame));
	if (session->state == SESSION_CLOSED || buffer_size(input) == 0)
		return 0;
	if (split == MC_SPLIT_FRAME) {
		if (from == LEG_FAR && session->inspection != NULL &&
		    !inspection_answered(session, buffer_bytes(input), frame.length, frame.length))
			return 0;
		mc_stream_passed(&session->stream, direction, buffer_bytes(input), &frame);
		relay_rest_came(session, from);
		return frame.length;
	}
	if (split == MC_SPLIT_BAD)
		session_close(session,
			      by_leg(from, SESSION_REASON_BAD_REQUEST, SESSION_REASON_BAD_ANSWER),
			      mc_stream_foreign(buffer_bytes(input), buffer_size(input)));
	else if (split == MC_SPLIT_MORE && session->legs[from].ended)
		session_close(session,
			      by_leg(from, SESSION_REASON_CLIENT_TRUNCATED,
				     SESSION_REASON_TARGET_TRUNCATED),
			      "connection ended inside a frame");
	else if (split == MC_SPLIT_MORE)
		relay_rest_awaited(session, from);
	return 0;
}

/* By somebody, not by its keys: then nothing more is asked, whatever waits. */
static bool is_told_to_end(const struct session *session)
{
	return session->close_at_rest != SESSION_REASON_NONE &&
	       session->close_at_rest != SESSION_REASON_KEY_LIMIT;
}

static size_t next_piece(struct session *session, unsigned int from)
{
	size_t waiting = buffer_size(&session->legs[from].input);

	if (session->protocol == CONFIG_PROTOCOL_MC && from == LEG_NEAR && is_told_to_end(session))
		return 0;
	if (session->protocol == CONFIG_PROTOCOL_MC)
		return next_frame(session, from);
	return waiting < RECORD_MAX ? waiting : RECORD_MAX;
}

void relay_unsendable(struct session *session, unsigned int to, int error)
{
	if (error == -ENOMEM)
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
	else if (error == -EPROTO)
		session_close(session,
			      by_leg(to, SESSION_REASON_CLIENT_TLS, SESSION_REASON_TARGET_TLS),
			      leg_reason(&session->legs[to]));
	else
		session_close(session,
			      by_leg(to, SESSION_REASON_CLIENT_LOST, SESSION_REASON_TARGET_LOST),
			      strerrordesc_np(-error));
}

static struct leg *tls_leg(struct session *session)
{
	return &session->legs[session->role == SESSION_EDGE ? LEG_FAR : LEG_NEAR];
}

/* A key is used up. At twice the limit a session that never rests is closed all the same. */
static void renew_keys(struct session *session, bool far_beyond)
{
	struct leg *leg = tls_leg(session);
	int error = far_beyond ? -EOPNOTSUPP : leg_refresh_keys(leg);

	if (error == -EOPNOTSUPP && far_beyond)
		session_close(session, SESSION_REASON_KEY_LIMIT, "no pause between requests");
	else if (error == -EOPNOTSUPP && session->close_at_rest == SESSION_REASON_NONE)
		session->close_at_rest = SESSION_REASON_KEY_LIMIT;
	else if (error == -EOPNOTSUPP)
		return; /* it will, for another reason */
	else if (error < 0)
		relay_unsendable(session, leg == &session->legs[LEG_FAR], error);
}

void relay_count_key_use(struct session *session, unsigned int from)
{
	uint64_t limit = session->snapshot->config->limits.key_records, received, sent, used;
	uint64_t every = limit / 8 < KEY_USE_EVERY ? limit / 8 : KEY_USE_EVERY;

	if (session->directions[from].frames % every != 0)
		return;
	if (leg_key_use(tls_leg(session), &received, &sent) < 0)
		return; /* the socket is lost; whoever uses it next says so */
	used = received > sent ? received : sent;
	if (used >= limit)
		renew_keys(session, used >= 2 * limit);
}

static bool has_sent(const struct session *session, unsigned int to)
{
	const struct leg *leg = &session->legs[to];

	return (leg->finished || leg_can_send(leg)) && !relay_splice_in_frame(session, !to);
}

/* The client has the answers to all that was asked; of other bytes, all that has come. */
static bool has_answered(const struct session *session)
{
	if (session->protocol == CONFIG_PROTOCOL_MC)
		return session->directions[LEG_NEAR].frames <=
			       session->directions[LEG_FAR].frames &&
		       has_sent(session, LEG_NEAR);
	return buffer_size(&session->legs[LEG_NEAR].input) == 0 &&
	       buffer_size(&session->legs[LEG_FAR].input) == 0 && has_sent(session, LEG_NEAR) &&
	       has_sent(session, LEG_FAR);
}

/* Of requests that overlap only the first one's time is known: the others' begins later. */
void relay_time(struct session *session, unsigned int from)
{
	bool alone =
		session->directions[LEG_NEAR].frames == session->directions[LEG_FAR].frames + 1;
	clock_us now;

	if (session->protocol != CONFIG_PROTOCOL_MC || (from == LEG_NEAR && !alone))
		return;
	now = clock_now();
	if (from == LEG_FAR)
		session->latency = now - session->asked;
	session->asked = now;
}

static void close_at_rest(struct session *session)
{
	bool input = buffer_size(&session->legs[LEG_NEAR].input) > 0 ||
		     buffer_size(&session->legs[LEG_FAR].input) > 0;
	bool asked = session->protocol == CONFIG_PROTOCOL_MC &&
		     session->directions[LEG_NEAR].frames != session->directions[LEG_FAR].frames;

	if (session->close_at_rest == SESSION_REASON_KEY_LIMIT && !input && !asked &&
	    leg_can_send(&session->legs[LEG_NEAR]) && leg_can_send(&session->legs[LEG_FAR]))
		session_close(session, SESSION_REASON_KEY_LIMIT, NULL);
	else if (is_told_to_end(session) && has_answered(session))
		session_close(session, session->close_at_rest, session->rest_detail);
}

void relay_end_at_rest(struct session *session, enum session_reason reason)
{
	session->close_at_rest = reason;
	/* What has come of the next request stays where it is. */
	relay_rest_came(session, LEG_NEAR);
	relay_sent(session, LEG_FAR);
}

static void forward(struct session *session, unsigned int from)
{
	struct leg *source = &session->legs[from], *target = &session->legs[!from];
	struct direction *direction = &session->directions[from];
	size_t size;
	int error;

	while (leg_can_send(target) && buffer_size(&source->input) > 0) {
		size = next_piece(session, from);
		if (size == 0)
			return;
		error = leg_send(target, buffer_bytes(&source->input), size);
		if (error < 0) {
			relay_unsendable(session, !from, error);
			return;
		}
		buffer_consume(&source->input, size);
		direction->bytes += size;
		direction->frames++;
		relay_time(session, from);
		relay_count_key_use(session, from);
		if (session->state == SESSION_CLOSED)
			return;
	}
}

static void forward_spliced(struct session *session, unsigned int from)
{
	enum leg_event event = relay_splice_forward(session, from);

	if (event != LEG_NOTHING)
		relay_received(session, from, event);
	else if (session->state != SESSION_CLOSED && relay_splice_cut_off(session, from))
		session_close(session,
			      by_leg(from, SESSION_REASON_CLIENT_TRUNCATED,
				     SESSION_REASON_TARGET_TRUNCATED),
			      "connection ended inside a frame");
}

/* The source has ended and everything is forwarded: the target is told. */
static void forward_end(struct session *session, unsigned int from)
{
	struct leg *source = &session->legs[from], *target = &session->legs[!from];
	int error;

	/* Requests may still wait for the answers of those before them: not for ever. */
	if (source->ended && from == LEG_NEAR && session->inspection != NULL &&
	    session->state == SESSION_RELAYING)
		session_enter(session, SESSION_DRAINING);
	if (!source->ended || buffer_size(&source->input) > 0 ||
	    relay_splice_in_frame(session, from) || !leg_can_send(target))
		return;
	error = leg_finish(target);
	if (error < 0) {
		relay_unsendable(session, !from, error);
		return;
	}
	if (session->state == SESSION_RELAYING)
		session_enter(session, SESSION_DRAINING);
}

static void steer_receiving(struct session *session, unsigned int from)
{
	struct leg *source = &session->legs[from];
	bool full = buffer_size(&source->input) >= session->snapshot->config->limits.frame;

	/*
	 * A frame that is not whole never fills the input: the splitter bounds its length. A watch
	 * costs nothing while it is not looked at.
	 */
	leg_receive(source, source->watched || !full);
}

static void pump(struct session *session, unsigned int from)
{
	if (!relay_splice_in_frame(session, from))
		forward(session, from);
	if (session->state != SESSION_CLOSED && session->directions[from].spliced &&
	    (relay_splice_in_frame(session, from) || buffer_size(&session->legs[from].input) == 0))
		forward_spliced(session, from);
	if (session->state != SESSION_CLOSED)
		forward_end(session, from);
	if (session->state != SESSION_CLOSED)
		close_at_rest(session);
	if (session->state == SESSION_CLOSED)
		return;
	steer_receiving(session, from);
	if (session->legs[LEG_NEAR].finished && session->legs[LEG_FAR].finished)
		session_close(session, SESSION_REASON_FINISHED, NULL);
	else if (session->state == SESSION_DRAINING)
		session_set_deadline(session,
				     clock_now() + session->snapshot->config->timeouts.drain);
}

/* An answer may let a waiting 1E request go. */
static void pump_both(struct session *session, unsigned int from)
{
	pump(session, from);
	if (session->state != SESSION_CLOSED && buffer_size(&session->legs[!from].input) > 0)
		pump(session, !from);
}

void relay_start(struct session *session)
{
	if (!inspection_begin(session))
		return;
	relay_splice_choose(session);
	session_enter(session, SESSION_RELAYING);
	session->relayed = clock_now();
	if (session->snapshot != session->worker->snapshot)
		session_rebind(session, session->worker->snapshot);
	else
		session_watch_term(session);
	if (session->state != SESSION_CLOSED)
		pump(session, LEG_NEAR);
	if (session->state != SESSION_CLOSED)
		pump(session, LEG_FAR);
}

/*
 * Many TLS programs (nginx, .NET) answer close_notify by closing the connection. Nothing can have
 * been cut off when the other side had ended before and every request has its answer.
 */
static bool nothing_missing(const struct session *session, unsigned int from)
{
	return session->state == SESSION_DRAINING && session->protocol == CONFIG_PROTOCOL_MC &&
	       session->legs[!from].ended && buffer_size(&session->legs[from].input) == 0 &&
	       session->directions[LEG_NEAR].frames == session->directions[LEG_FAR].frames;
}

static void truncated(struct session *session, unsigned int from)
{
	if (nothing_missing(session, from))
		pump(session, from);
	else
		session_close(session,
			      by_leg(from, SESSION_REASON_CLIENT_TRUNCATED,
				     SESSION_REASON_TARGET_TRUNCATED),
			      "connection ended without close_notify");
}

void relay_received(struct session *session, unsigned int from, enum leg_event event)
{
	const struct leg *leg = &session->legs[from];

	switch (event) {
	case LEG_NOTHING:
		break;
	case LEG_READABLE:
		/* While a frame was on its way, perhaps: it is no longer the last. */
		session->directions[from].last = false;
		pump_both(session, from);
		break;
	case LEG_BYTES:
	case LEG_END:
		pump_both(session, from);
		break;
	case LEG_TRUNCATED:
		truncated(session, from);
		break;
	case LEG_FAULT:
		session_close(session,
			      by_leg(from, SESSION_REASON_CLIENT_TLS, SESSION_REASON_TARGET_TLS),
			      leg_reason(leg));
		break;
	case LEG_ERROR:
		relay_unsendable(session, from, leg->error);
		break;
	}
}

void relay_sent(struct session *session, unsigned int to)
{
	pump_both(session, !to);
}

void relay_expired(struct session *session)
{
	session_close(session, SESSION_REASON_DRAIN_TIMEOUT, NULL);
}
