/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Monotonic time: deadlines are absolute, in microseconds of CLOCK_MONOTONIC. And how the time of
 * day is written.
 */
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

enum clock_precision {
	CLOCK_PRECISION_MS,
	CLOCK_PRECISION_US,
};

#define CLOCK_TEXT_SIZE 40

/*
 * A time of CLOCK_REALTIME as RFC 3339 has it, in UTC: "2026-01-31T23:59:59.999Z". `text` holds
 * CLOCK_TEXT_SIZE bytes; returns it.
 */
const char *clock_print(const struct timespec *time, enum clock_precision precision, char *text);

#endif
