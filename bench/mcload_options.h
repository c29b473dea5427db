/* SPDX-License-Identifier: Apache-2.0 */
/* mcload's command line. */
#ifndef BENCH_MCLOAD_OPTIONS_H
#define BENCH_MCLOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "loop.h"

#define MCLOAD_TARGETS_MAX 64
/* Words of the PLC from --head on that requests are for. */
#define MCLOAD_AREA        1024u

enum mcload_mode {
	MCLOAD_CLOSED,
	MCLOAD_POLL,
	MCLOAD_CONNECT,
	MCLOAD_IDLE,
	MCLOAD_FILL,
};

enum mcload_exit {
	MCLOAD_DONE = 0,
	MCLOAD_REFUSED = 1, /* answers with an end code */
	MCLOAD_USAGE = 2,
	MCLOAD_LOST = 3,  /* no connection, or one that ended */
	MCLOAD_WRONG = 4, /* an answer that is not what the PLC holds */
};

/* Strings are those of argv. */
struct mcload_options {
	enum mcload_mode mode;
	const char *mode_name;
	struct address targets[MCLOAD_TARGETS_MAX];
	uint32_t target_count;
	uint32_t connections;
	uint32_t head; /* first device number */
	uint16_t words;
	clock_ns interval, duration, warmup, timeout;
	uint64_t answers; /* the measurement ends after so many; 0 = by time */
	bool together;
	bool json, cdf, hold;
	/* TLS: on when `ca` is given. NULL = not given. */
	const char *ca, *certificate, *key, *server_name, *alpn, *cipher;
	bool resume;
	/* Behave as an edge of mcseal: its ALPN, and this destination in a PROXY header. */
	bool is_edge;
	struct address destination;
	/* Control group whose CPU time is told with the result; NULL = none. */
	const char *group;
};

/* Ends the program on a usage error (MCLOAD_USAGE) and after --help. */
void mcload_options_parse(struct mcload_options *options, int argc, char **argv);

#endif
