/* SPDX-License-Identifier: Apache-2.0 */
#include "mcload_histogram.h"

#define LARGEST ((1ull << HISTOGRAM_BITS) - 1)

static unsigned bucket_of(uint64_t value)
{
	unsigned shift;

	if (value < HISTOGRAM_EXACT)
		return (unsigned)value;
	shift = 64 - (unsigned)__builtin_clzll(value) - HISTOGRAM_EXACT_BITS;
	return HISTOGRAM_EXACT + (shift - 1) * HISTOGRAM_STEPS +
	       (unsigned)((value >> shift) - HISTOGRAM_STEPS);
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_end(unsigned bucket)
{
	unsigned shift;
	uint64_t step;

	if (bucket < HISTOGRAM_EXACT)
		return bucket;
	shift = (bucket - HISTOGRAM_EXACT) / HISTOGRAM_STEPS + 1;
	step = (bucket - HISTOGRAM_EXACT) % HISTOGRAM_STEPS + HISTOGRAM_STEPS;
	return ((step + 1) << shift) - 1;
}

void mcload_histogram_add(struct mcload_histogram *histogram, int64_t nanoseconds)
{
	uint64_t value = nanoseconds < 0 ? 0 : (uint64_t)nanoseconds;

	if (value > LARGEST)
		value = LARGEST;
	if (histogram->count == 0 || value < histogram->min)
		histogram->min = value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->count++;
	histogram->sum += value;
	histogram->buckets[bucket_of(value)]++;
}

static uint64_t up_to(const struct mcload_histogram *histogram, unsigned bucket)
{
	uint64_t end = bucket_end(bucket);

	return end < histogram->max ? end : histogram->max;
}

uint64_t mcload_histogram_quantile(const struct mcload_histogram *histogram, double share)
{
	double exact = share * (double)histogram->count;
	uint64_t wanted = (uint64_t)exact, seen = 0;

	if ((double)wanted < exact)
		wanted++;
	if (wanted == 0)
		return histogram->min;
	for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
		seen += histogram->buckets[bucket];
		if (seen >= wanted)
			return up_to(histogram, bucket);
	}
	return histogram->max;
}

double mcload_histogram_mean(const struct mcload_histogram *histogram)
{
	return histogram->count ? (double)histogram->sum / (double)histogram->count : 0;
}

void mcload_histogram_walk(const struct mcload_histogram *histogram,
			   void (*visit)(void *context, uint64_t nanoseconds, double share),
			   void *context)
{
	uint64_t seen = 0;

	for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
		if (histogram->buckets[bucket] == 0)
			continue;
		seen += histogram->buckets[bucket];
		visit(context, up_to(histogram, bucket), (double)seen / (double)histogram->count);
	}
}
