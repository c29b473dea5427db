/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latencies in microseconds, counted in buckets: fixed memory however long a poll runs. Exact
 * below 2048 us, at most 0.1 % too high above (a bucket reports its upper end).
 */
#ifndef MCPING_LATENCY_H
#define MCPING_LATENCY_H

#include <stdint.h>

/* 2048 exact buckets, then 1024 for each of the 21 powers of two up to 2^32 us (71 minutes). */
#define LATENCY_BUCKETS (2048 + 21 * 1024)

/* Zero-initialised = empty. Only mcping_latency.c writes the fields. */
struct latency {
	uint64_t count, sum;
	uint32_t min, max;
	uint64_t buckets[LATENCY_BUCKETS];
};

/* Longer than 71 minutes, or negative, counts as the nearest value there is. */
void latency_add(struct latency *latency, int64_t microseconds);
/* The smallest value that `permille` of 1000 samples do not exceed; 0 when empty. */
uint32_t latency_percentile(const struct latency *latency, unsigned permille);
uint32_t latency_average(const struct latency *latency);

#endif
