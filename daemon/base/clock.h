/* SPDX-License-Identifier: Apache-2.0 */
/* Monotonic time. Deadlines are absolute, in microseconds of CLOCK_MONOTONIC. */
#ifndef MCSEAL_BASE_CLOCK_H
#define MCSEAL_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

typedef int64_t clock_us;

#define CLOCK_NEVER INT64_MAX
#define CLOCK_MS    ((clock_us)1000)
#define CLOCK_SEC   ((clock_us)1000000)

/* Now; never fails on Linux (clock_gettime(2) with a known clock id). */
static inline clock_us clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (clock_us)now.tv_sec * CLOCK_SEC + now.tv_nsec / 1000;
}

#endif
