/* SPDX-License-Identifier: Apache-2.0 */
/* What a command of mcseal says at its end: the answer on stdout, or on stderr why there is none.
 */
#ifndef MCSEAL_CTL_OUTPUT_H
#define MCSEAL_CTL_OUTPUT_H

#include "ctl/call.h"

#include <stdio.h>

/* All of them return an exit status. */

/* "mcseal: what: why"; `why` may be NULL. */
int output_fail(const char *what, const char *why);
/* call_daemon() has left only a message. */
int output_unanswered(const struct call_answer *answer);
/* Writes the body; `path` is for the message where that fails. */
int output_body(const char *path, FILE *file, const struct call_answer *answer);
/* What was printed to stdout has arrived. */
int output_end(void);
/* The answer is not what this program understands. */
int output_not_understood(void);

#endif
