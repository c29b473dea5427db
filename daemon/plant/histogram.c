/* SPDX-License-Identifier: Apache-2.0 */
#include "plant/histogram.h"

const clock_us histogram_ends[HISTOGRAM_BUCKETS - 1] = {
	500,           1 * CLOCK_MS,  2 * CLOCK_MS,   5 * CLOCK_MS,   10 * CLOCK_MS,
	20 * CLOCK_MS, 50 * CLOCK_MS, 100 * CLOCK_MS, 200 * CLOCK_MS, 500 * CLOCK_MS,
	1 * CLOCK_SEC, 2 * CLOCK_SEC, 5 * CLOCK_SEC,
};

void histogram_add(struct histogram *histogram, clock_us took)
{
	size_t bucket = 0;

	while (bucket < HISTOGRAM_BUCKETS - 1 && took > histogram_ends[bucket])
		bucket++;
	atomic_fetch_add_explicit(&histogram->counts[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->total, took > 0 ? (unsigned long long)took : 0,
				  memory_order_relaxed);
}
