/* SPDX-License-Identifier: Apache-2.0 */
#include "mcping_exchange.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void exchange_init(struct exchange *exchange, int stop_fd, bool one_recv)
{
	memset(exchange, 0, offsetof(struct exchange, bytes));
	connection_init(&exchange->connection, stop_fd);
	exchange->one_recv = one_recv;
}

static int lost(struct exchange *exchange, const char *why)
{
	snprintf(exchange->connection.problem, sizeof(exchange->connection.problem), "%s", why);
	return EXCHANGE_LOST;
}

int exchange_send(struct exchange *exchange, const uint8_t *request, size_t size, clock_us deadline)
{
	struct mc_frame frame;
	int outcome;

	/* Our own requests always split; the stream learns from them how long 1E answers are. */
	if (mc_stream_split(&exchange->stream, MC_REQUEST, request, size, size, &frame) !=
	    MC_SPLIT_FRAME)
		return lost(exchange, "not a whole request");
	outcome = connection_send(&exchange->connection, request, size, deadline);
	if (outcome)
		return outcome;
	exchange->code = (uint8_t)frame.code;
	mc_stream_passed(&exchange->stream, MC_REQUEST, request, &frame);
	return EXCHANGE_ANSWER;
}

/* A TLS alert record (RFC 8446, section 5.1) where an MC answer should be. */
static bool looks_like_tls(const struct exchange *exchange)
{
	return exchange->filled >= 2 && exchange->bytes[0] == 0x15 && exchange->bytes[1] == 0x03;
}

/* Reads until a whole frame lies at the start of the buffer; *reads counts the recvs it took. */
static int fill(struct exchange *exchange, struct mc_frame *frame, unsigned *reads,
		clock_us deadline)
{
	for (;;) {
		enum mc_split split = MC_SPLIT_MORE;
		size_t got = 0;
		int outcome;

		if (exchange->filled > 0)
			split = mc_stream_split(&exchange->stream, MC_ANSWER, exchange->bytes,
						exchange->filled, sizeof(exchange->bytes), frame);
		if (split == MC_SPLIT_FRAME)
			return EXCHANGE_ANSWER;
		if (split != MC_SPLIT_MORE)
			return lost(exchange,
				    looks_like_tls(exchange)
					    ? "the other side speaks TLS: give --ca, --cert, --key"
					    : "the other side sent something that is no answer");
		outcome = connection_receive(
			&exchange->connection, exchange->bytes + exchange->filled,
			sizeof(exchange->bytes) - exchange->filled, &got, deadline);
		if (outcome)
			return outcome;
		exchange->filled += got;
		*reads += 1;
	}
}

int exchange_receive(struct exchange *exchange, struct mc_answer *answer, clock_us deadline)
{
	struct mc_frame frame;
	unsigned reads = 0;
	bool alone;
	int outcome;

	exchange->filled -= exchange->taken;
	memmove(exchange->bytes, exchange->bytes + exchange->taken, exchange->filled);
	exchange->taken = 0;
	outcome = fill(exchange, &frame, &reads, deadline);
	if (outcome == EXCHANGE_LOST && clock_now() >= deadline)
		return lost(exchange, exchange->filled ? "time-out in the middle of an answer"
						       : "no answer in time");
	if (outcome)
		return outcome;
	alone = reads == 1 && frame.length == exchange->filled;
	exchange->taken = exchange->one_recv ? exchange->filled : frame.length;
	mc_stream_passed(&exchange->stream, MC_ANSWER, exchange->bytes, &frame);
	if (exchange->one_recv && !alone)
		return EXCHANGE_SHORT;
	if (mc_frame_parse_answer(exchange->bytes, frame.length, exchange->code, answer))
		return lost(exchange, "the other side sent an answer that contradicts itself");
	return EXCHANGE_ANSWER;
}
