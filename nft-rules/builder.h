/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of a plan are built with: names, sets of covered blocks, and statements in the
 * words in which the rules will be listed. Only plan*.c use it.
 *
 * Nothing here fails half-way: ruleset.failed is set where memory ran out (ruleset.h), and rules
 * and sets that are NULL are let be.
 */
#ifndef MCSEAL_NFT_BUILDER_H
#define MCSEAL_NFT_BUILDER_H

#include "plan.h"

#include "cover.h"
#include "ruleset.h"

#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BUILDER_NAME_SIZE       256 /* NFT_NAME_MAXLEN, linux/netfilter/nf_tables.h */
#define BUILDER_LOGS_PER_MINUTE 6
#define BUILDER_FAMILIES        2

extern const int builder_families[BUILDER_FAMILIES]; /* AF_INET, AF_INET6 */

struct builder {
	const struct config *config;
	struct plan *plan;
	struct ruleset *ruleset; /* the plan's */
	struct table *table;     /* being built; NULL: no memory */
	FILE *report;
	bool refused; /* an error was reported */
};

/* Of one family, and whose they are: comments[i] belongs to items[i], may be NULL, not owned. */
struct blocks {
	struct cover_block *items;
	const char **comments;
	size_t count;
};

/* 0 or -ENOMEM. */
int blocks_add(struct blocks *blocks, const struct address_prefix *prefix, uint16_t first_port,
	       uint16_t last_port, const char *comment);
/* Whose a block is that cover() made of them. */
const char *blocks_comment(const struct blocks *blocks, const struct cover_block *made);
void blocks_deinit(struct blocks *blocks);

/* An error of the configuration, with its line. */
void builder_refuse(struct builder *builder, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void builder_name(char name[BUILDER_NAME_SIZE], const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* '4' or '6'. */
char builder_digit(int family);

/* In the table being built; NULL: there is none of this name. */
struct chain *builder_chain(const struct builder *builder, const char *name);
/* The set's own copy of its name, which lives as long as the rules that use it; NULL likewise. */
const char *builder_set(const struct builder *builder, const char *name);

/* A set of ranges that `blocks` cover; with ports as address . port, without as addresses. */
void builder_cover_set(struct builder *builder, const char *name, int family,
		       const struct blocks *blocks, bool with_port, const char *comment);
void builder_fill_element(struct builder *builder, struct element *element, int family,
			  const struct cover_block *block, bool with_port, const char *comment);
/* Adds a key of `size` bytes to a set of single keys, once; `label` (or NULL) is printed for it. */
void builder_key(struct builder *builder, const char *set_name, const void *key, size_t size,
		 const char *label);
void builder_port_key(struct builder *builder, const char *set_name, const struct address *listen);

/* A rule at the end of a chain. */
struct rule *builder_rule(const struct builder *builder, const char *chain, const char *comment);
/* One that writes to the kernel's log, a few times a minute. */
void builder_log(const struct builder *builder, const char *chain, const char *prefix);
/* A counter, then jump or goto to a chain that is there already. */
void builder_counted_to(const struct builder *builder, struct rule *rule,
			enum statement_kind verdict, const char *chain);

void rule_destination(struct rule *rule, int family, uint8_t protocol, const char *set);
void rule_address(struct rule *rule, int family, bool source, const char *set);
void rule_addresses(struct rule *rule, int family, const struct cover_block *block);
void rule_ports(struct rule *rule, uint8_t protocol, const struct cover_block *block);
void rule_protocol(struct rule *rule, uint8_t protocol);
void rule_plain(struct rule *rule, enum statement_kind kind);
void rule_numbered(struct rule *rule, enum statement_kind kind, uint32_t number);
void rule_named(struct rule *rule, enum statement_kind kind, const char *name);
/* A counter, then the verdict. */
void rule_counted(struct rule *rule, enum statement_kind verdict);

#endif
