/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statements as nft writes them: in its language and in its JSON (libnftables-json(5)). */
#ifndef MCSEAL_NFT_STATEMENT_H
#define MCSEAL_NFT_STATEMENT_H

#include "ruleset.h"

#include <jansson.h>
#include <stdio.h>

/* The rule on one line, without its comment. Marks in hexadecimal, counters without values. */
void rule_print(const struct rule *rule, FILE *file);
/* A new array for "expr" of a rule. NULL: no memory. */
json_t *rule_json(const struct rule *rule);

#endif
