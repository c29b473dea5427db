/* SPDX-License-Identifier: Apache-2.0 */
#include "mcping_latency.h"

#define EXACT      2048u
#define EXACT_BITS 11
#define STEPS      1024u /* buckets for one power of two */

static unsigned bucket_of(uint32_t value)
{
	unsigned shift;

	if (value < EXACT)
		return value;
	shift = 32 - (unsigned)__builtin_clz(value) - EXACT_BITS;
	return EXACT + (shift - 1) * STEPS + ((value >> shift) - STEPS);
}

/* The largest value that falls into the bucket. */
static uint32_t bucket_end(unsigned bucket)
{
	unsigned shift;
	uint64_t start;

	if (bucket < EXACT)
		return bucket;
	shift = (bucket - EXACT) / STEPS + 1;
	start = ((uint64_t)(bucket - EXACT) % STEPS + STEPS) << shift;
	return (uint32_t)(start + (1ull << shift) - 1);
}

void latency_add(struct latency *latency, int64_t microseconds)
{
	uint32_t value = microseconds < 0            ? 0
			 : microseconds > UINT32_MAX ? UINT32_MAX
						     : (uint32_t)microseconds;

	if (latency->count == 0 || value < latency->min)
		latency->min = value;
	if (value > latency->max)
		latency->max = value;
	latency->count++;
	latency->sum += value;
	latency->buckets[bucket_of(value)]++;
}

uint32_t latency_percentile(const struct latency *latency, unsigned permille)
{
	uint64_t wanted = (latency->count * permille + 999) / 1000, seen = 0;

	if (wanted == 0)
		return latency->min;
	for (unsigned bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
		seen += latency->buckets[bucket];
		if (seen >= wanted)
			return bucket_end(bucket) < latency->max ? bucket_end(bucket)
								 : latency->max;
	}
	return latency->max;
}

uint32_t latency_average(const struct latency *latency)
{
	return latency->count ? (uint32_t)(latency->sum / latency->count) : 0;
}
