/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is counted, for Prometheus. One table holds every metric with its labels; a test holds
 * docs/metrics.md to it.
 */
#ifndef MCSEAL_CONTROL_METRICS_H
#define MCSEAL_CONTROL_METRICS_H

#include "control/control_command.h"
#include "control/exposition.h"

/* The n-th metric, from 0; NULL behind the last one. */
const struct exposition_metric *metrics_at(size_t n);
/* All of them, with what they are now. Counters are read while others count. 0 or -ENOMEM. */
int metrics_print(FILE *file, struct control_context *context);

#endif
