/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * The guard stands in filter output and forward at + 10, behind NAT and TPROXY: what they have
 * redirected has another destination by then, or a socket here, and what still goes to a PLC is
 * about to leave in plain. So it needs no exception and no connection tracking on an edge.
 *
 * On a gateway the exception is the daemon's own mark; a mark on the connection stands for it where
 * a packet has no socket any more (the last ACK, a reset for a late answer).
 *
 * It looks into no set of ranges: after `flush ruleset` and the guard in one transaction, as a boot
 * configuration is reloaded, the kernel shows new rules some microseconds before the ranges of a
 * new set (net/netfilter/nft_set_pipapo.c publishes them at the end of the commit), and packets
 * passed (measured: a few in ten reloads). Single keys are in place at once, and so is a rule. So
 * what is small is taken apart into single keys, and a network has rules of its own.
 */
#include "plan_part.h"

#include "set_type.h"

#include "base/error.h"

#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <stdlib.h>

enum { FILTER_LATE = NF_IP_PRI_FILTER + 10 };

static const struct hook hook_output = {"filter", NF_INET_LOCAL_OUT, FILTER_LATE, "output",
					"filter + 10"};
static const struct hook hook_forward = {"filter", NF_INET_FORWARD, FILTER_LATE, "forward",
					 "filter + 10"};
static const uint8_t transports[] = {IPPROTO_TCP, IPPROTO_UDP};

/* Where the guard sends what must not leave. */
static void add_refusal(const struct builder *builder, const char *chain, const char *prefix,
			const char *what)
{
	struct rule *rule;

	table_add_chain(builder->ruleset, builder->table, chain, NULL);
	if (builder->plan->observe) {
		rule = builder_rule(builder, chain, "would be redirected, not blocked");
		rule_numbered(rule, STATEMENT_CT_MARK, builder->config->nft.divert_mark);
		rule_counted(rule, STATEMENT_RETURN);
		rule_plain(chain_add_rule(builder->ruleset, builder_chain(builder, chain),
					  PLAN_WOULD_BLOCK ": %s", what),
			   STATEMENT_COUNTER);
		builder_log(builder, chain, "mcseal-would-block: ");
		return;
	}
	builder_log(builder, chain, prefix);
	rule = chain_add_rule(builder->ruleset, builder_chain(builder, chain),
			      "%s: TCP is told at once", what);
	rule_protocol(rule, IPPROTO_TCP);
	rule_counted(rule, STATEMENT_RESET);
	rule_counted(chain_add_rule(builder->ruleset, builder_chain(builder, chain),
				    "%s: UDP and others", what),
		     STATEMENT_DROP);
}

#define SINGLES_MAX 64

static bool is_small(const struct cover_block *block)
{
	return block->first == block->last && block->last_port - block->first_port < SINGLES_MAX;
}

/* gcc 12 loses sight of what is stored in a struct of the caller's. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

/* Room for `count` more. */
static bool make_room(struct plan *plan, size_t count)
{
	struct plan_protected *grown =
		reallocarray(plan->protected, plan->protected_count + count + 1, sizeof(*grown));

	if (grown != NULL)
		plan->protected = grown;
	return grown != NULL;
}

#pragma GCC diagnostic pop

static void protect(struct builder *builder, int family, const struct cover_block *made,
		    size_t count, bool plant)
{
	struct plan *plan = builder->plan;

	if (!make_room(plan, count)) {
		builder->ruleset->failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++)
		plan->protected[plan->protected_count++] =
			(struct plan_protected){family, made[i], plant};
}

/* What is small, in a set of single keys. */
static void add_protected_singles(struct builder *builder, int family, const struct blocks *blocks,
				  const struct cover_block *made, size_t count)
{
	struct set *set = NULL;
	char name[BUILDER_NAME_SIZE];

	builder_name(name, "plc%c", builder_digit(family));
	for (size_t i = 0; i < count; i++) {
		struct cover_block one = made[i];

		if (!is_small(&one))
			continue;
		if (set == NULL)
			set = table_add_set(builder->ruleset, builder->table, name,
					    set_type_for(family, true, false),
					    "PLCs that are reached through mcseald only");
		for (uint32_t port = made[i].first_port; port <= made[i].last_port; port++) {
			one.first_port = one.last_port = (uint16_t)port;
			builder_fill_element(builder, set_add_element(builder->ruleset, set),
					     family, &one, true, blocks_comment(blocks, &made[i]));
		}
	}
	for (size_t i = 0; set != NULL && i < ARRAY_SIZE(transports); i++) {
		struct rule *rule = builder_rule(builder, "protected", "to a protected PLC");

		rule_destination(rule, family, transports[i], builder_set(builder, name));
		builder_counted_to(builder, rule, STATEMENT_GOTO, "refuse_plain");
	}
}

static void add_protected_blocks(struct builder *builder, int family, const struct blocks *blocks,
				 const struct cover_block *made, size_t count)
{
	for (size_t i = 0; i < count * ARRAY_SIZE(transports); i++) {
		const struct cover_block *block = &made[i / ARRAY_SIZE(transports)];
		struct rule *rule;

		if (is_small(block))
			continue;
		rule = chain_add_rule(builder->ruleset, builder_chain(builder, "protected"),
				      "to protected PLCs: route %s", blocks_comment(blocks, block));
		rule_addresses(rule, family, block);
		rule_ports(rule, transports[i % ARRAY_SIZE(transports)], block);
		builder_counted_to(builder, rule, STATEMENT_GOTO, "refuse_plain");
	}
}

/* What edges protect: destinations of their routes, redirected or not, over TCP and UDP. */
static void add_protected_plcs(struct builder *builder)
{
	static const char *const hooks[] = {"output", "forward"};

	const struct chain *protected;

	add_refusal(builder, "refuse_plain", "mcseal-plain-blocked: ", "plain MC");
	protected = table_add_chain(builder->ruleset, builder->table, "protected", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++)
		/* Not counted: every packet of this machine comes by here. */
		rule_named(builder_rule(builder, hooks[i], "is it for a protected PLC?"),
			   STATEMENT_JUMP, protected ? protected->name : NULL);
	for (size_t i = 0; i < BUILDER_FAMILIES; i++) {
		struct blocks blocks = {0};
		struct cover_block *made = NULL;
		size_t count = 0;
		int error = 0;

		for (size_t j = 0; j < builder->config->edge_count && error == 0; j++)
			error = plan_edge_blocks(&builder->config->edges[j], builder_families[i],
						 &blocks);
		if (error == 0)
			error = cover(blocks.items, blocks.count, false, &made, &count);
		builder->ruleset->failed |= error < 0;
		protect(builder, builder_families[i], made, count, false);
		add_protected_singles(builder, builder_families[i], &blocks, made, count);
		add_protected_blocks(builder, builder_families[i], &blocks, made, count);
		free(made);
		blocks_deinit(&blocks);
	}
}

static int plant_blocks(const struct config *config, int family, struct blocks *blocks)
{
	const struct config_nft *nft = &config->nft;
	int error = 0;

	for (size_t i = 0; i < nft->plc_network_count && error == 0; i++) {
		if (nft->plc_networks[i].base.any.sa_family == family)
			error = blocks_add(blocks, &nft->plc_networks[i], 0, 0, NULL);
	}
	for (size_t i = 0; nft->plc_network_count == 0 && i < config->plc_count && error == 0;
	     i++) {
		const struct config_plc *plc = &config->plcs[i];
		struct address_prefix prefix = {.base = plc->address,
						.bits = family == AF_INET ? 32 : 128};

		if (plc->address.any.sa_family == family)
			error = blocks_add(blocks, &prefix, 0, 0, plc->name);
	}
	return error;
}

/* Neighbour discovery and ping must go on working; answers to a PLC's own questions, too. */
static void add_plant_exceptions(const struct builder *builder, const char *chain)
{
	struct rule *rule = builder_rule(builder, chain, "ping");

	rule_protocol(rule, IPPROTO_ICMP);
	rule_counted(rule, STATEMENT_ACCEPT);
	rule = builder_rule(builder, chain, "ping and neighbour discovery");
	rule_protocol(rule, IPPROTO_ICMPV6);
	rule_counted(rule, STATEMENT_ACCEPT);
	rule = builder_rule(builder, chain, "answers to what a PLC asked");
	rule_plain(rule, STATEMENT_ESTABLISHED);
	rule_plain(rule, STATEMENT_REPLY);
	rule_counted(rule, STATEMENT_ACCEPT);
}

static void add_plant_chains(const struct builder *builder)
{
	const struct config *config = builder->config;
	struct rule *rule;

	table_add_chain(builder->ruleset, builder->table, "local_to_plc", NULL);
	rule = builder_rule(builder, "local_to_plc", "to this machine itself");
	rule_plain(rule, STATEMENT_LOOPBACK);
	rule_counted(rule, STATEMENT_ACCEPT);
	add_plant_exceptions(builder, "local_to_plc");
	rule = builder_rule(builder, "local_to_plc", "mcseald's connection, known");
	rule_plain(rule, STATEMENT_ESTABLISHED);
	rule_numbered(rule, STATEMENT_CT_MARK, config->nft.flow_mark);
	rule_counted(rule, STATEMENT_ACCEPT);
	rule = builder_rule(builder, "local_to_plc", "mcseald's packet: marks its connection");
	rule_numbered(rule, STATEMENT_MARK, config->mark);
	rule_numbered(rule, STATEMENT_SET_CT_MARK, config->nft.flow_mark);
	rule_counted(rule, STATEMENT_ACCEPT);
	builder_counted_to(builder, builder_rule(builder, "local_to_plc", "everything else"),
			   STATEMENT_GOTO, "refuse_plc");
	table_add_chain(builder->ruleset, builder->table, "through_to_plc", NULL);
	add_plant_exceptions(builder, "through_to_plc");
	builder_counted_to(builder, builder_rule(builder, "through_to_plc", "everything else"),
			   STATEMENT_GOTO, "refuse_plc");
}

static const char *const plant_hooks[][2] = {{"output", "local_to_plc"},
					     {"forward", "through_to_plc"}};

/* PLCs alone, in a set of single keys. */
static void add_plant_singles(struct builder *builder, int family, const struct blocks *blocks,
			      const struct cover_block *made, size_t count)
{
	struct set *set = NULL;
	char name[BUILDER_NAME_SIZE];

	builder_name(name, "plant%c", builder_digit(family));
	for (size_t i = 0; i < count; i++) {
		if (made[i].first != made[i].last)
			continue;
		if (set == NULL)
			set = table_add_set(builder->ruleset, builder->table, name,
					    set_type_for(family, false, false),
					    "PLCs of this machine's gateways");
		builder_fill_element(builder, set_add_element(builder->ruleset, set), family,
				     &made[i], false, blocks_comment(blocks, &made[i]));
	}
	for (size_t i = 0; set != NULL && i < ARRAY_SIZE(plant_hooks); i++) {
		struct rule *rule = builder_rule(builder, plant_hooks[i][0], "to the PLCs");

		rule_address(rule, family, false, builder_set(builder, name));
		builder_counted_to(builder, rule, STATEMENT_GOTO, plant_hooks[i][1]);
	}
}

static void add_plant_networks(struct builder *builder, int family, const struct cover_block *made,
			       size_t count)
{
	for (size_t i = 0; i < count * ARRAY_SIZE(plant_hooks); i++) {
		const struct cover_block *block = &made[i / ARRAY_SIZE(plant_hooks)];
		const char *const *hook = plant_hooks[i % ARRAY_SIZE(plant_hooks)];
		struct rule *rule;

		if (block->first == block->last)
			continue;
		rule = builder_rule(builder, hook[0], "to the PLCs' network");
		rule_addresses(rule, family, block);
		builder_counted_to(builder, rule, STATEMENT_GOTO, hook[1]);
	}
}

/* What gateways protect: the PLCs' networks, every port, from this machine and through it. */
static void add_plant(struct builder *builder)
{
	bool networks = builder->config->nft.plc_network_count > 0;

	add_refusal(builder, "refuse_plc", "mcseal-plc-blocked: ", "to a PLC, not from mcseald");
	add_plant_chains(builder);
	for (size_t i = 0; i < BUILDER_FAMILIES; i++) {
		struct blocks blocks = {0};
		struct cover_block *made = NULL;
		size_t count = 0;
		int error = plant_blocks(builder->config, builder_families[i], &blocks);

		/* Networks that touch become one; PLCs keep their names. */
		if (error == 0)
			error = cover(blocks.items, blocks.count, networks, &made, &count);
		builder->ruleset->failed |= error < 0;
		protect(builder, builder_families[i], made, count, true);
		add_plant_singles(builder, builder_families[i], &blocks, made, count);
		add_plant_networks(builder, builder_families[i], made, count);
		free(made);
		blocks_deinit(&blocks);
	}
}

/*
 * On a machine that is both, the gateway's part comes first: the daemon itself may reach what the
 * edge's part keeps from everybody.
 */
void plan_guard_add(struct builder *builder)
{
	const struct config *config = builder->config;

	builder->table = ruleset_add_table(builder->ruleset, TABLE_GUARD,
					   "mcseal guard: no plain MC leaves this machine");
	table_add_chain(builder->ruleset, builder->table, "output", &hook_output);
	table_add_chain(builder->ruleset, builder->table, "forward", &hook_forward);
	if (config->gateway_count > 0 && config->mark == 0)
		builder_refuse(
			builder, config->gateways[0].line,
			"gateway \"%s\": the rules know mcseald's connections to PLCs by their "
			"mark, expected mark = ... at the top level, not 0",
			config->gateways[0].name);
	if (config->gateway_count > 0)
		add_plant(builder);
	if (config->edge_count > 0)
		add_protected_plcs(builder);
}
