/* SPDX-License-Identifier: Apache-2.0 */
/* Requests out and answers in over one connection: frames, pairing, clients that recv once. */
#ifndef MCPING_EXCHANGE_H
#define MCPING_EXCHANGE_H

#include "mc/mc_frame.h"
#include "mcping_connection.h"

#define EXCHANGE_BUFFER (26 + 65535)

enum exchange_outcome {
	EXCHANGE_ANSWER = 0,
	EXCHANGE_LOST = CONNECTION_FAILED, /* connection.problem says why */
	EXCHANGE_STOPPED = CONNECTION_STOPPED,
	EXCHANGE_SHORT =
		3, /* one_recv: the recv brought less or more than one answer; the rest was read */
};

/* Embedded where it lives long: the buffer is large. Only mcping_exchange.c writes the fields. */
struct exchange {
	struct connection connection;
	struct mc_stream stream;
	bool one_recv;
	uint8_t code; /* enum mc_code of the requests */
	size_t filled, taken;
	uint8_t bytes[EXCHANGE_BUFFER];
};

void exchange_init(struct exchange *exchange, int stop_fd, bool one_recv);
/* Sends one whole request frame. */
int exchange_send(struct exchange *exchange, const uint8_t *request, size_t size,
		  clock_us deadline);
/*
 * The next answer; it points into the exchange and holds until the next call. With EXCHANGE_SHORT
 * there is no answer to look at.
 */
int exchange_receive(struct exchange *exchange, struct mc_answer *answer, clock_us deadline);

#endif
