/* SPDX-License-Identifier: Apache-2.0 */
/* How long things took, counted in buckets as Prometheus does. Any thread; no allocation. */
#ifndef MCSEAL_PLANT_HISTOGRAM_H
#define MCSEAL_PLANT_HISTOGRAM_H

#include "base/clock.h"

#include <stdatomic.h>
#include <stddef.h>

#define HISTOGRAM_BUCKETS 14 /* the last has no upper end */

/* Zero-initialised = empty. */
struct histogram {
	atomic_ullong counts[HISTOGRAM_BUCKETS]; /* each for itself, not summed up */
	atomic_ullong total;                     /* microseconds of all */
};

/* Upper ends in microseconds, inclusive: 500 us, 1 ms, 2 ms, 5 ms ... 5 s. */
extern const clock_us histogram_ends[HISTOGRAM_BUCKETS - 1];

void histogram_add(struct histogram *histogram, clock_us took);

#endif
