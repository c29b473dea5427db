/* SPDX-License-Identifier: Apache-2.0 */
/* What mcload tells: for people, or as JSON lines. */
#ifndef BENCH_MCLOAD_REPORT_H
#define BENCH_MCLOAD_REPORT_H

#include "mcload_histogram.h"
#include "mcload_options.h"

/* Of the measurement, or as far as it has come. */
struct mcload_tally {
	uint64_t answered;           /* right and refused ones */
	uint64_t refused;            /* with an end code */
	uint64_t wrong;              /* not what the PLC holds; each ended its connection */
	uint64_t lost;               /* connections that ended by themselves */
	uint64_t failed;             /* connections that were never made */
	uint64_t late;               /* poll: due, and not answered when the measurement ended */
	uint64_t split;              /* answers that came in more than one piece */
	uint64_t connected, resumed; /* connect: connections made, and by resumption of those */
	uint16_t end_code;           /* of the first refusal */
	double seconds;
	double cpu_seconds;     /* this program's */
	uint64_t switches;      /* its context switches */
	int64_t group_us;       /* CPU time of --group; -1 = not asked for */
	uint64_t fewest, most;  /* answers of one connection */
	const char *problem;    /* the first, NULL = none */
	uint32_t still_open;    /* connections at the end */
	double opening_seconds; /* until all connections were there */
};

/* A step of the run, for whoever reads JSON lines: "ready", "measuring", "silent". */
void mcload_report_event(const struct mcload_options *options, const char *event,
			 const struct mcload_tally *tally);
/* On a terminal, over the line before. */
void mcload_report_progress(const struct mcload_tally *tally,
			    const struct mcload_histogram *latency);
void mcload_report_progress_end(void);
void mcload_report_result(const struct mcload_options *options, const struct mcload_tally *tally,
			  const struct mcload_histogram *latency);

#endif
