/* SPDX-License-Identifier: Apache-2.0 */
/* mcping's command line as one struct, checked as a whole. */
#ifndef MCPING_OPTIONS_H
#define MCPING_OPTIONS_H

#include "mcping_connection.h"
#include "mcping_request.h"

/* Exit status; the manual page's table. */
enum options_exit {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1, /* the PLC answered with an end code */
	EXIT_USAGE = 2,
	EXIT_LOST = 3,  /* no connection, TLS refused, no answer */
	EXIT_WRONG = 4, /* an answer that is not what --expect, --verify or --one-recv wanted */
};

struct options {
	const char *command; /* as typed */
	bool poll;           /* the command is poll: latencies instead of values */
	char host[256];
	char port[8];
	struct connection_target target;
	struct tls_options tls;
	struct request_style style;
	struct request request; /* what to ask; UNLOCK and LOCK get their text later */
	uint16_t *values;       /* owned: of a write */
	char *expected_text;    /* --expect, taken apart when the points are known */
	uint16_t *expected;     /* owned: `request.points` values, NULL without --expect */
	bool verify;
	bool word_units, bit_units;
	bool unlock_first;
	const char *password_file;
	clock_us timeout, interval;
	uint64_t count; /* 0 = until stopped */
	unsigned pipeline;
	bool one_recv, reconnect, json, hexadecimal, verbose;
};

/* Ends the program with EXIT_USAGE and a message when the command line is wrong. */
void options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

#endif
