/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel lacks of a plan, and has beyond it: to be read, and to be done.
 *
 * The comparison is by meaning: base chains by hook, rules by their expressions and order, sets by
 * type and elements; counters' values and handles do not count.
 */
#ifndef MCSEAL_NFT_DIFFERENCE_H
#define MCSEAL_NFT_DIFFERENCE_H

#include "batch.h"
#include "live.h"
#include "ruleset.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct difference_line {
	char sign;  /* '+' would be added, '-' would be removed */
	char *text; /* "set plc4: 10.30.0.10 . 5007" */
};

struct difference {
	const char *name;           /* of the table */
	const struct table *wanted; /* NULL: the table is not in the plan */
	const struct live_table *live;
	bool *new_rules;    /* by chain of the plan: its rules are written anew */
	bool *new_elements; /* by set of the plan: its elements are */
	bool *stale_chains; /* by live chain: deleted, or deleted and made anew */
	bool *stale_sets;
	struct difference_line *lines;
	size_t line_count;
};

/* What `name` should be and is. 0 or -ENOMEM; difference_deinit() in any case. */
int difference_find(const char *name, const struct table *wanted, const struct live_table *live,
		    struct difference *difference);
void difference_deinit(struct difference *difference);

void difference_print(const struct difference *difference, FILE *file);
/* A new array of {"table", "change": "add" or "remove", "what"}. NULL: no memory. */
json_t *difference_json(const struct difference *difference);

/* Adds to `batch` what makes the kernel's table the wanted one. 0 or -ENOMEM. */
int difference_resolve(const struct difference *difference, struct batch *batch);

#endif
