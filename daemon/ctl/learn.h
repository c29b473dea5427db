/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies from what was seen: reads audit lines and writes the policy sections that would allow
 * exactly that, for a person to look at. docs/mcseal.md tells what comes out.
 */
#ifndef MCSEAL_CTL_LEARN_H
#define MCSEAL_CTL_LEARN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct learn;

/* `with_refused`: requests that were refused are to be allowed, too. 0 or -ENOMEM. */
int learn_new(bool with_refused, struct learn **learn);
/* Accepts NULL. */
void learn_free(struct learn *learn);
/* Every line of `file`, to its end. 0, -ENOMEM, or -errno of a read. */
int learn_read(struct learn *learn, FILE *file);
/* How many audit lines were understood so far, and how many lines there were in all. */
unsigned long learn_requests(const struct learn *learn, unsigned long *lines);
/* What came of it, as a part of a configuration file. */
void learn_print(struct learn *learn, FILE *file);

#endif
