/* SPDX-License-Identifier: Apache-2.0 */
/* The poll command: the same read at an interval until a count or a signal, then figures. */
#ifndef MCPING_POLL_H
#define MCPING_POLL_H

#include "mcping_options.h"

/* Returns the exit status. SIGINT and SIGTERM end it with its summary. */
int poll_run(const struct options *options);
/*
 * What is wrong with the answer to options->request: NULL if nothing, else words in `text` of
 * `size` bytes. `values` receives its points.
 */
const char *poll_check(const struct options *options, const struct mc_answer *answer,
		       uint16_t *values, char *text, size_t size);

#endif
