/* SPDX-License-Identifier: Apache-2.0 */
/* One run of mcload, from the first connection to the result. */
#ifndef BENCH_MCLOAD_RUN_H
#define BENCH_MCLOAD_RUN_H

#include "mcload_options.h"

/* Blocks until it is over (SIGINT and SIGTERM end it early), prints; an enum mcload_exit. */
int mcload_run(const struct mcload_options *options);

#endif
