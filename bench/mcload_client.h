/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One MC client: a connection with one request outstanding, whose answer is compared byte by byte
 * with what the PLC holds, as it arrives and without a copy.
 */
#ifndef BENCH_MCLOAD_CLIENT_H
#define BENCH_MCLOAD_CLIENT_H

#include "mcload_options.h"
#include "pattern.h"
#include "stream.h"

struct mcload_client;

enum mcload_answer {
	MCLOAD_ANSWER_RIGHT,
	MCLOAD_ANSWER_REFUSED, /* whole, with an end code: client->end_code */
};

struct mcload_client_events {
	void (*opened)(struct mcload_client *client);
	void (*answered)(struct mcload_client *client, enum mcload_answer answer);
	/* It is gone. NULL = by mcload_client_close(); client->wrong: because of a wrong answer. */
	void (*closed)(struct mcload_client *client, const char *problem);
};

/* Zeroed, with `index` set, before mcload_client_open(). Callers read, and own what stands below.
 */
struct mcload_client {
	struct stream stream;
	const struct mcload_client_events *events;
	const struct mcload_options *options;
	const struct pattern *pattern;
	uint32_t index;
	bool waiting; /* for an answer */
	bool wrong;
	bool resumed;
	uint16_t end_code;
	uint16_t words;    /* asked for; 0 = a write */
	uint32_t number;   /* from this D */
	uint32_t requests; /* sent so far: the next one is for another place */
	uint32_t got;      /* bytes of the answer so far */
	uint32_t size;     /* of the whole answer, as far as that is known */
	uint32_t pieces;   /* receives (TLS: records) that the answer took */
	clock_ns since;    /* when the connection or the request began */
	SSL_SESSION *ticket;
	uint8_t head[PATTERN_HEAD_SIZE];

	/* The owner's. */
	void *owner;
	bool there;           /* opened, and not yet gone */
	clock_ns due;         /* when the request should have been sent */
	uint64_t due_rounds;  /* requests that should have been sent */
	uint64_t done_rounds; /* and those that were answered */
	uint64_t answered;    /* while it was measured */
};

/* `tls`: NULL = plain. Which of the targets is told by the index. */
void mcload_client_open(struct mcload_client *client, struct loop *loop, SSL_CTX *tls,
			const struct mcload_options *options, const struct pattern *pattern,
			const struct mcload_client_events *events, clock_ns now);
/* Open, and not waiting. */
void mcload_client_read(struct mcload_client *client, clock_ns now);
void mcload_client_write(struct mcload_client *client, uint32_t number, uint16_t words,
			 clock_ns now);
void mcload_client_close(struct mcload_client *client, const char *problem);

#endif
