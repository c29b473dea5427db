/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Requests are read by every engine: a 1E answer's length follows from its request, and what may
 * be refused has to be seen. Answers of MC sessions, and both directions of opaque ones, are
 * spliced when the TLS leg's keys are in the kernel.
 *
 * A frame goes through three steps, each of which may stop for want of something and is taken up
 * again by the event that brings it:
 *
 *   measure  peeks at the head, which tells the length and holds nothing of the PLC's devices. A
 *            plain source then waits, by SO_RCVLOWAT, until the whole frame lies in the socket:
 *            no pipe is held meanwhile. Kernel TLS has no low-water mark; its records are taken
 *            as they come.
 *   fill     splices exactly the frame into a pipe of the worker's pool.
 *   drain    splices it out in one call: one send, one record.
 *
 * `readable` of the source stays true until EAGAIN was seen, because a watch only tells what is
 * new. What a pipe cannot take (too many small segments for its slots, no pipe free) is gathered:
 * this one frame is read into the leg's input and sent from there.
 *
 * From kernel TLS splice returns 0 for an empty record as for the end of the stream, and EINVAL
 * for a record that is no data; EAGAIN may mean a full pipe as well as a part of a record
 * (net/tls/tls_sw.c, tls_sw_splice_read). Each is told apart by a peek.
 *
 * With IORING_OP_SPLICE fill and drain are a linked pair on the kernel's threads: the link breaks
 * when less than the frame came, so that never a part of it leaves.
 */
#include "proxy/relay_splice.h"

#include "base/error.h"
#include "proxy/inspection.h"
#include "proxy/relay.h"
#include "proxy/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* What a step came to. Negative: an enum leg_event of the source, negated. */
enum step {
	STEP_DONE = 0,
	STEP_WAIT = 1, /* an event will take it up again, or the session was closed */
};

static bool splices(const struct session *session, unsigned int from)
{
	bool read = session->protocol == CONFIG_PROTOCOL_MC && from == LEG_NEAR;

	return !read && session_keys_in_kernel(session) &&
	       session->worker->capabilities->relay != RELAY_ENGINE_COPY;
}

void relay_splice_choose(struct session *session)
{
	for (unsigned int from = 0; from < LEGS; from++) {
		struct direction *direction = &session->directions[from];
		struct leg *leg = &session->legs[from];

		direction->spliced = splices(session, from);
		direction->engine = session->worker->capabilities->relay;
		leg->watched = direction->spliced;
		/*
		 * What came before the leg was watched is not told again. But a recv from before
		 * may still take it: then the watch, which begins at its end, tells the rest.
		 */
		leg->readable = direction->spliced && !op_armed(&leg->recv);
	}
}

bool relay_splice_in_frame(const struct session *session, unsigned int from)
{
	return session->directions[from].frame > 0;
}

static int source_event(enum leg_event event)
{
	return event == LEG_NOTHING ? STEP_DONE : -(int)event;
}

static int source_dry(struct leg *source)
{
	source->readable = false;
	return STEP_WAIT;
}

/* One call's result when it was no bytes. */
static int interrupted(struct leg *source, ssize_t result)
{
	if (result < 0 && errno == EINTR)
		return STEP_DONE;
	if (result < 0 && errno == EAGAIN)
		return source_dry(source);
	return source_event(leg_interrupted(source, result < 0 ? -errno : 0));
}

/* A plain source wakes us when `bytes` are there; 1 is as usual. */
static void wait_for_bytes(struct direction *direction, const struct leg *source, size_t bytes)
{
	int mark = (int)bytes;

	if (source->kernel != NULL || (bytes == 1 && !direction->lowat_set))
		return;
	/* Without it we are only woken more often. */
	direction->lowat_set =
		setsockopt(source->fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)) == 0 &&
		bytes > 1;
}

/* Of a plain source. */
static size_t bytes_there(const struct leg *source)
{
	int waiting = 0;

	return ioctl(source->fd, FIONREAD, &waiting) < 0 ? 0 : (size_t)waiting;
}

/* A frame has begun, and `need` bytes of it have to come first. */
static int await_rest(struct session *session, unsigned int from, size_t need)
{
	struct direction *direction = &session->directions[from];
	struct leg *source = &session->legs[from];

	if (source->hung_up) {
		direction->frame = direction->missing = (uint32_t)need;
		return source_event(leg_hung_up(source));
	}
	relay_rest_awaited(session, from);
	wait_for_bytes(direction, source, need);
	return source_dry(source);
}

/* The head told the length: is the frame to be taken now? */
static int begin_frame(struct session *session, unsigned int from, const uint8_t *head, size_t size,
		       const struct mc_frame *frame)
{
	struct direction *direction = &session->directions[from];
	struct leg *source = &session->legs[from];
	size_t there = source->kernel == NULL ? bytes_there(source) : SIZE_MAX;

	if (there < frame->length)
		return await_rest(session, from, frame->length);
	wait_for_bytes(direction, source, 1);
	if (session->inspection != NULL && !inspection_answered(session, head, size, frame->length))
		return STEP_WAIT;
	mc_stream_passed(&session->stream, MC_ANSWER, head, frame);
	direction->frame = direction->missing = (uint32_t)frame->length;
	/* What comes from now on is told by an event of its own. */
	direction->last = there == frame->length && !source->hung_up;
	return STEP_DONE;
}

static int measure_frame(struct session *session, unsigned int from)
{
	struct leg *source = &session->legs[from];
	uint8_t head[MC_ANSWER_HEAD_MAX];
	struct mc_frame frame;
	enum mc_split split;
	/* Up to the end code at most: nothing of what the PLC's devices hold. */
	ssize_t size = recv(source->fd, head,
			    session->inspection != NULL ? inspection_answer_head(session)
							: mc_stream_answer_head(&session->stream),
			    MSG_PEEK | MSG_DONTWAIT);

	if (size <= 0)
		return interrupted(source, size);
	if (inspection_unasked(session))
		return STEP_WAIT;
	split = mc_stream_split(&session->stream, MC_ANSWER, head, (size_t)size,
				session->snapshot->config->limits.frame, &frame);
	if (split == MC_SPLIT_BAD) {
		session_close(session, SESSION_REASON_BAD_ANSWER, NULL);
		return STEP_WAIT;
	}
	if (frame.length > 0)
		return begin_frame(session, from, head, (size_t)size, &frame);
	return await_rest(session, from, frame.need);
}

static int measure(struct session *session, unsigned int from)
{
	struct direction *direction = &session->directions[from];

	if (!leg_can_send(&session->legs[!from]) || !session->legs[from].readable)
		return STEP_WAIT;
	if (session->protocol == CONFIG_PROTOCOL_MC)
		return measure_frame(session, from);
	/* As much as one record holds; what comes decides. */
	direction->frame = direction->missing = RECORD_MAX;
	return STEP_DONE;
}

/* --- gathering ---------------------------------------------------------------------------------
 */

static void give_pipe_back(struct session *session, struct direction *direction)
{
	if (direction->pipe != NULL)
		pipe_pool_give(session->worker->pipes, direction->pipe, direction->piped == 0);
	direction->pipe = NULL;
}

static void frame_done(struct session *session, unsigned int from, size_t bytes)
{
	struct direction *direction = &session->directions[from];

	give_pipe_back(session, direction);
	direction->bytes += bytes;
	direction->frames++;
	direction->frame = direction->missing = direction->piped = 0;
	direction->gathered = false;
	if (direction->last)
		session->legs[from].readable = false;
	direction->last = false;
	relay_time(session, from);
	relay_count_key_use(session, from);
}

/* `bytes` of the frame have left the source. */
static void took(struct session *session, unsigned int from, size_t bytes)
{
	struct direction *direction = &session->directions[from];

	direction->missing -= (uint32_t)bytes;
	/* An opaque piece is what there is; a frame is whole. */
	if (session->protocol != CONFIG_PROTOCOL_MC) {
		direction->frame -= direction->missing;
		direction->missing = 0;
	}
	if (direction->missing == 0)
		relay_rest_came(session, from);
}

/* From here on this frame is read. What is in the pipe comes first. */
static int begin_gathering(struct session *session, unsigned int from)
{
	struct direction *direction = &session->directions[from];
	struct leg *source = &session->legs[from];
	uint8_t *room = buffer_reserve(&source->input, direction->frame);
	ssize_t size = 0;

	if (room == NULL) {
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
		return STEP_WAIT;
	}
	if (direction->piped > 0)
		size = read(direction->pipe->ends[0], room, direction->piped);
	if (size != (ssize_t)direction->piped) {
		session_close(session, SESSION_REASON_INTERNAL, "a pipe lost bytes");
		return STEP_WAIT;
	}
	buffer_filled(&source->input, (size_t)size);
	direction->piped = 0;
	direction->gathered = true;
	give_pipe_back(session, direction);
	return STEP_DONE;
}

static int send_gathered(struct session *session, unsigned int from)
{
	struct leg *source = &session->legs[from], *target = &session->legs[!from];
	size_t size = buffer_size(&source->input);
	int error;

	if (!leg_can_send(target))
		return STEP_WAIT;
	error = leg_send(target, buffer_bytes(&source->input), size);
	if (error < 0) {
		relay_unsendable(session, !from, error);
		return STEP_WAIT;
	}
	buffer_consume(&source->input, size);
	frame_done(session, from, size);
	return STEP_DONE;
}

static int gather(struct session *session, unsigned int from)
{
	struct direction *direction = &session->directions[from];
	struct leg *source = &session->legs[from];
	uint8_t *room;
	ssize_t size;

	if (direction->missing == 0)
		return send_gathered(session, from);
	room = buffer_reserve(&source->input, direction->missing);
	if (room == NULL) {
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
		return STEP_WAIT;
	}
	size = recv(source->fd, room, direction->missing, MSG_DONTWAIT);
	if (size <= 0) {
		if (size < 0 && errno == EAGAIN)
			relay_rest_awaited(session, from);
		return interrupted(source, size);
	}
	buffer_filled(&source->input, (size_t)size);
	took(session, from, (size_t)size);
	return STEP_DONE;
}

/* --- through a pipe -----------------------------------------------------------------------------
 */

static void write_record(const struct direction *direction)
{
	struct pipe_record *record = direction->pipe->record;

	record->frame = direction->frame;
	record->missing = direction->missing;
	record->left = direction->piped;
}

/* splice() came back without bytes: is the source dry, or the pipe full? */
static int filled_nothing(struct session *session, unsigned int from, ssize_t result)
{
	struct leg *source = &session->legs[from];
	int error = errno;
	char byte;
	ssize_t waiting;

	if (result < 0 && error != EAGAIN) {
		errno = error;
		return interrupted(source, result);
	}
	waiting = recv(source->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	if (waiting <= 0) {
		if (waiting < 0 && errno == EAGAIN && session->protocol == CONFIG_PROTOCOL_MC)
			relay_rest_awaited(session, from);
		return interrupted(source, waiting);
	}
	return result < 0 ? begin_gathering(session, from) : STEP_DONE;
}

static int splice_in(struct session *session, unsigned int from)
{
	struct direction *direction = &session->directions[from];
	ssize_t moved;

	write_record(direction);
	moved = splice(session->legs[from].fd, NULL, direction->pipe->ends[1], NULL,
		       direction->missing, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	if (moved <= 0)
		return filled_nothing(session, from, moved);
	direction->piped += (uint32_t)moved;
	took(session, from, (size_t)moved);
	return STEP_DONE;
}

/* Both halves on the kernel's threads. An opaque piece has no length that a link could hold to. */
static int splice_both(struct session *session, unsigned int from)
{
	struct direction *direction = &session->directions[from];

	write_record(direction);
	session->legs[!from].busy = true;
	ring_splice(session_ring(session), &direction->into, &direction->out,
		    session->legs[from].fd, direction->pipe->ends, session->legs[!from].fd,
		    direction->missing);
	return STEP_WAIT;
}

static int fill(struct session *session, unsigned int from)
{
	struct direction *direction = &session->directions[from];

	if (!session->legs[from].readable)
		return STEP_WAIT;
	if (direction->pipe == NULL)
		direction->pipe = pipe_pool_take(session->worker->pipes, session->id, from);
	if (direction->pipe == NULL)
		return begin_gathering(session, from);
	if (direction->engine == RELAY_ENGINE_URING_SPLICE && direction->piped == 0 &&
	    session->protocol == CONFIG_PROTOCOL_MC)
		return splice_both(session, from);
	return splice_in(session, from);
}

static int drained(struct session *session, unsigned int from, ssize_t moved)
{
	struct direction *direction = &session->directions[from];

	direction->piped -= (uint32_t)moved;
	if (direction->piped == 0)
		frame_done(session, from, direction->frame);
	return STEP_DONE;
}

static int drain(struct session *session, unsigned int from)
{
	struct direction *direction = &session->directions[from];
	struct leg *target = &session->legs[!from];
	ssize_t moved;

	if (!leg_can_send(target))
		return STEP_WAIT;
	write_record(direction);
	/* No SPLICE_F_MORE: it would keep the record open for ever (net/tls/tls_sw.c, 6.6 on). */
	moved = splice(direction->pipe->ends[0], NULL, target->fd, NULL, direction->piped,
		       SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	if (moved > 0)
		return drained(session, from, moved);
	if (moved < 0 && errno == EINTR)
		return STEP_DONE;
	if (moved < 0 && errno == EAGAIN)
		leg_wait_writable(target);
	else
		relay_unsendable(session, !from, moved < 0 ? -errno : -EPIPE);
	return STEP_WAIT;
}

static int next_step(struct session *session, unsigned int from)
{
	struct direction *direction = &session->directions[from];

	if (op_armed(&direction->into) || op_armed(&direction->out))
		return STEP_WAIT;
	if (direction->frame == 0)
		return measure(session, from);
	if (direction->gathered)
		return gather(session, from);
	if (direction->missing > 0)
		return fill(session, from);
	return drain(session, from);
}

/* An opaque piece for which nothing had come is no frame. */
static void forget_empty_piece(struct session *session, unsigned int from)
{
	struct direction *direction = &session->directions[from];

	if (session->protocol == CONFIG_PROTOCOL_MC || direction->missing == 0)
		return;
	give_pipe_back(session, direction);
	buffer_deinit(&session->legs[from].input);
	direction->frame = direction->missing = 0;
	direction->gathered = false;
}

enum leg_event relay_splice_forward(struct session *session, unsigned int from)
{
	int step = STEP_DONE;

	/* After the end only what has left the source goes on. */
	while (step == STEP_DONE && session->state != SESSION_CLOSED &&
	       !(session->legs[from].ended &&
		 session->directions[from].frame == session->directions[from].missing))
		step = next_step(session, from);
	if (session->state != SESSION_CLOSED)
		forget_empty_piece(session, from);
	return step < 0 ? (enum leg_event) - step : LEG_NOTHING;
}

bool relay_splice_cut_off(const struct session *session, unsigned int from)
{
	return session->legs[from].ended && session->directions[from].missing > 0;
}

/* --- IORING_OP_SPLICE
 * ----------------------------------------------------------------------------- */

/* The second half: 0, or -errno when the target is lost. */
static int out_ended(struct session *session, unsigned int from, int res)
{
	int error = leg_set_busy(&session->legs[!from], false);

	if (error < 0)
		return error;
	if (res > 0)
		(void)drained(session, from, res);
	else if (res == -EAGAIN)
		leg_wait_writable(&session->legs[!from]);
	else if (res != -ECANCELED && res != -EINTR)
		return res < 0 ? res : -EPIPE;
	return 0;
}

/* Both halves have ended. */
static void both_ended(struct session *session, unsigned int from, int out_res)
{
	int into_res = session->directions[from].into_res;
	int error, step = STEP_DONE;

	if (into_res > 0) {
		session->directions[from].piped += (uint32_t)into_res;
		took(session, from, (size_t)into_res);
	}
	error = out_ended(session, from, out_res);
	if (error < 0) {
		relay_unsendable(session, !from, error);
		return;
	}
	if (into_res <= 0) {
		errno = -into_res;
		step = filled_nothing(session, from, into_res < 0 ? -1 : 0);
	}
	if (step < 0)
		relay_received(session, from, (enum leg_event) - step);
	else if (session->state != SESSION_CLOSED)
		relay_sent(session, !from);
}

void relay_splice_completed(struct session *session, unsigned int from, const struct op *op,
			    const struct op_result *result)
{
	struct direction *direction = &session->directions[from];

	/* Linked: they end in this order. */
	if (op == &direction->into)
		direction->into_res = result->res;
	else if (session->state != SESSION_CLOSED)
		both_ended(session, from, result->res);
}

void relay_splice_cancel(struct session *session, unsigned int from)
{
	struct direction *direction = &session->directions[from];

	ring_cancel(session_ring(session), &direction->into);
	ring_cancel(session_ring(session), &direction->out);
}
