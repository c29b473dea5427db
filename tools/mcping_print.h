/* SPDX-License-Identifier: Apache-2.0 */
/* What mcping says: answers and failures, for people or as JSON (one object a line). */
#ifndef MCPING_PRINT_H
#define MCPING_PRINT_H

#include "mcping_latency.h"
#include "mcping_options.h"

/* What became of the requests of a poll. */
struct print_tally {
	uint64_t sent, answered, refused, wrong, lost;
	double seconds;
};

/* `values` of a READ, NULL for other commands; `wrong` = what is wrong with them, or NULL. */
void print_answer(const struct options *options, const struct mc_answer *answer,
		  const uint16_t *values, const char *wrong, int64_t microseconds);
void print_refusal(const struct options *options, const struct mc_answer *answer);
void print_failure(const struct options *options, const char *problem);
/* --verbose: what the TLS handshake agreed on. */
void print_connection(const struct connection *connection);
/* One line on stderr that the next one overwrites. */
void print_progress(const struct print_tally *tally, const struct latency *latency);
void print_summary(const struct options *options, const struct print_tally *tally,
		   const struct latency *latency);

#endif
