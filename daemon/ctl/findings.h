/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a configuration, for programs: the lines that people read - `FILE:LINE: error:
 * what` - as one JSON object {"ok", "findings": [{"file", "line", "option", "severity",
 * "message"}]}.
 */
#ifndef MCSEAL_CTL_FINDINGS_H
#define MCSEAL_CTL_FINDINGS_H

#include <stdbool.h>
#include <stdio.h>

/*
 * `text` has a line for each; one without severity is an error when `ok` is false, and passed over
 * otherwise. An option is told where the line names one. 0 or -errno.
 */
int findings_print(const char *text, bool ok, FILE *file);

#endif
