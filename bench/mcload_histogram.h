/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latencies in nanoseconds, counted in buckets (log-linear, as in HdrHistogram): fixed memory
 * however long a run is. Exact below 512 ns, at most 0.4 % too high above: a bucket reports its
 * upper end.
 */
#ifndef BENCH_MCLOAD_HISTOGRAM_H
#define BENCH_MCLOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_EXACT      512u
#define HISTOGRAM_EXACT_BITS 9
#define HISTOGRAM_STEPS      256u /* buckets for one power of two */
#define HISTOGRAM_BITS       40   /* longer than 2^40 ns, 18 minutes, counts as that */
#define HISTOGRAM_BUCKETS                                                                          \
	(HISTOGRAM_EXACT + (HISTOGRAM_BITS - HISTOGRAM_EXACT_BITS) * HISTOGRAM_STEPS)

/* Zero-initialised = empty. Only mcload_histogram.c writes the fields. */
struct mcload_histogram {
	uint64_t count, sum, min, max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* A negative time counts as 0. */
void mcload_histogram_add(struct mcload_histogram *histogram, int64_t nanoseconds);
/* The smallest value that `share` (0 to 1) of the samples do not exceed; 0 when empty. */
uint64_t mcload_histogram_quantile(const struct mcload_histogram *histogram, double share);
double mcload_histogram_mean(const struct mcload_histogram *histogram);
/*
 * For a curve: visits each bucket that holds something, with its upper end and the share of
 * samples up to there.
 */
void mcload_histogram_walk(const struct mcload_histogram *histogram,
			   void (*visit)(void *context, uint64_t nanoseconds, double share),
			   void *context);

#endif
