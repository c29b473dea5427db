/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A ruleset as data: tables with sets, chains and rules, each rule a short row of statements.
 *
 * plan.c makes one from the configuration. It is then printed (print.c), turned into what the
 * kernel takes (expression.c, object.c) and compared with what the kernel has (difference.c): one
 * source for all of them, so that what is printed and what is installed cannot differ.
 *
 * Building cannot fail half-way: where memory ran out, ruleset.failed is set, the functions below
 * go on with NULL, and whoever builds looks once, at the end.
 */
#ifndef MCSEAL_NFT_RULESET_H
#define MCSEAL_NFT_RULESET_H

#include "base/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RULE_STATEMENTS_MAX 8
#define ELEMENT_KEY_MAX     20 /* an IPv6 address and a port, each field padded to 4 bytes */
/* nft takes comments of up to 128 bytes with their end (NFTNL_UDATA_COMMENT_MAXLEN of nftables). */
#define COMMENT_SIZE        128

struct set_type; /* set_type.h */

enum statement_kind {
	/* What a packet must be. */
	STATEMENT_DESTINATION, /* address . port, by `protocol`, in the set `name` */
	STATEMENT_ADDRESS,     /* its destination, or with `source` its source, in `name` */
	STATEMENT_PORT,        /* TCP destination port in `name` */
	STATEMENT_ADDRESSES,   /* destination from `first` to `last`, no set */
	STATEMENT_PORTS,       /* destination port of `protocol` from `number` to `last_number` */
	STATEMENT_FAMILY,
	STATEMENT_PROTOCOL,
	STATEMENT_INTERFACE, /* came in by one of `name` */
	STATEMENT_LOOPBACK,  /* goes to this machine itself */
	STATEMENT_USER,      /* its socket's owner in `name` */
	STATEMENT_CGROUP,    /* its socket's control group, seen at level `number`, in `name` */
	STATEMENT_MARK,      /* packet or socket mark is `number` */
	STATEMENT_CT_MARK,
	STATEMENT_ESTABLISHED,
	STATEMENT_REPLY,       /* runs against the direction of its connection */
	STATEMENT_DNAT,        /* its connection was redirected */
	STATEMENT_TRANSPARENT, /* a transparent socket of this machine holds it; no wildcard */
	/* What is done with it. */
	STATEMENT_COUNTER,
	STATEMENT_LIMIT, /* passes `number` packets a minute, and 5 at once */
	STATEMENT_LOG,   /* to the kernel's log, with the prefix `name` */
	STATEMENT_SET_MARK,
	STATEMENT_SET_CT_MARK,
	STATEMENT_ACCEPT,
	STATEMENT_DROP,
	STATEMENT_RESET, /* TCP only */
	STATEMENT_RETURN,
	STATEMENT_JUMP, /* to the chain `name` */
	STATEMENT_GOTO,
	STATEMENT_REDIRECT, /* to this machine, port `number` */
	STATEMENT_TPROXY,   /* to the listener `address` */
	STATEMENT_KINDS
};

/* Members that a kind does not name are 0. `name` belongs to the set or chain, or is constant. */
struct statement {
	enum statement_kind kind;
	int family; /* AF_INET or AF_INET6 */
	uint8_t protocol;
	bool source;
	uint32_t number, last_number;
	const char *name;
	struct address address;
	uint8_t first[16], last[16]; /* network byte order; of IPv4 the first four */
};

struct rule {
	struct statement statements[RULE_STATEMENTS_MAX];
	size_t count;
	char comment[COMMENT_SIZE];
};

/* Where a base chain hangs; linux/netfilter.h. */
struct hook {
	const char *type; /* "filter" or "nat" */
	uint32_t number;  /* NF_INET_... */
	int32_t priority;
	const char *name, *priority_name; /* as nft lists them */
};

struct chain {
	char *name;
	const struct hook *hook; /* NULL: a chain to jump to */
	struct rule *rules;
	size_t rule_count;
};

/* first..last of each field, both in it; bytes as the kernel has them (set_type.h). */
struct element {
	uint8_t first[ELEMENT_KEY_MAX], last[ELEMENT_KEY_MAX];
	char *label;   /* printed instead of the key: a control group's path; or NULL */
	char *comment; /* or NULL */
};

struct set {
	char *name;
	const struct set_type *type;
	char comment[COMMENT_SIZE];
	struct element *elements; /* ascending, none overlaps another */
	size_t element_count;
};

/* The family is inet. */
struct table {
	const char *name;
	char comment[COMMENT_SIZE];
	struct set *sets;
	size_t set_count;
	struct chain *chains; /* base chains first */
	size_t chain_count;
};

struct ruleset {
	struct table *tables;
	size_t table_count;
	bool failed; /* memory ran out on the way */
};

void ruleset_deinit(struct ruleset *ruleset);
/* NULL when there is none. */
const struct table *ruleset_find_table(const struct ruleset *ruleset, const char *name);
const struct set *table_find_set(const struct table *table, const char *name);
const struct chain *table_find_chain(const struct table *table, const char *name);

/*
 * New ones at the end. What is returned is good until the next one of its kind is added to the
 * same parent. Texts are copied, names of tables are not. Comments are cut to COMMENT_SIZE.
 */
struct table *ruleset_add_table(struct ruleset *ruleset, const char *name, const char *comment);
struct set *table_add_set(struct ruleset *ruleset, struct table *table, const char *name,
			  const struct set_type *type, const char *comment);
struct chain *table_add_chain(struct ruleset *ruleset, struct table *table, const char *name,
			      const struct hook *hook);
struct element *set_add_element(struct ruleset *ruleset, struct set *set);
struct rule *chain_add_rule(struct ruleset *ruleset, struct chain *chain, const char *comment, ...)
	__attribute__((format(printf, 3, 4)));
/* More than RULE_STATEMENTS_MAX is a mistake in the program: abort(3). */
void rule_add(struct rule *rule, struct statement statement);

#endif
