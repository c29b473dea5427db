/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>

const char *clock_print(const struct timespec *time, enum clock_precision precision, char *text)
{
	int decimals = precision == CLOCK_PRECISION_MS ? 3 : 6;
	long fraction = time->tv_nsec / (precision == CLOCK_PRECISION_MS ? 1000000 : 1000);
	struct tm utc;
	size_t used;

	gmtime_r(&time->tv_sec, &utc);
	used = strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + used, CLOCK_TEXT_SIZE - used, ".%0*ldZ", decimals, fraction);
	return text;
}
