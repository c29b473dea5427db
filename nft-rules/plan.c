/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * Each packet meets a number of rules that depends on the edges, sources, gateways and networks of
 * the file, never on its PLCs: those are elements of sets.
 *
 * Names say what a set or chain belongs to, as a path: "edge/office/plc4", "source/office/scada/
 * users". Titles of the file have no "/", so that two names never meet.
 *
 * Base chains come first in their table, in this program and in what it prints: then a list of
 * what was put back after an unconfirmed apply reads as before (snapshot.c).
 */
#include "plan.h"

#include "plan_part.h"

#include "base/error.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <stdlib.h>

static const struct hook hook_input = {"filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER + 10, "input",
				       "filter + 10"};
/* nft 1.0.6 does not take "dstnat" in an output chain. */
static const struct hook hook_nat_output = {"nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST, "output",
					    "-100"};
static const struct hook hook_nat_prerouting = {"nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST,
						"prerouting", "dstnat"};
static const struct hook hook_mangle = {"filter", NF_INET_PRE_ROUTING, NF_IP_PRI_MANGLE,
					"prerouting", "mangle"};

struct ways {
	bool output, prerouting, tproxy, input;
};

static struct ways ways_of(const struct config *config)
{
	struct ways ways = {0};

	for (size_t i = 0; i < config->edge_count; i++) {
		const struct config_edge *edge = &config->edges[i];
		bool tproxy = edge->interception == CONFIG_INTERCEPTION_TPROXY;
		bool local = edge->transparent && config_edge_is_local(edge);
		bool routed = edge->transparent && edge->interfaces.count > (local ? 1 : 0);

		ways.input |= edge->transparent;
		ways.output |= local;
		ways.prerouting |= routed && !tproxy;
		ways.tproxy |= routed && tproxy;
	}
	for (size_t i = 0; i < config->gateway_count; i++)
		ways.input |= config->gateways[i].client_count > 0;
	return ways;
}

static void add_managed(struct builder *builder)
{
	const struct config *config = builder->config;
	struct ways ways = ways_of(config);
	const struct {
		bool wanted;
		const char *name;
		const struct hook *hook;
	} chains[] = {
		{ways.output, "nat_output", &hook_nat_output},
		{ways.prerouting, "nat_prerouting", &hook_nat_prerouting},
		{ways.tproxy, "tproxy_prerouting", &hook_mangle},
		{ways.input, "input", &hook_input},
	};

	if (!ways.output && !ways.prerouting && !ways.tproxy && !ways.input)
		return;
	builder->table = ruleset_add_table(builder->ruleset, TABLE_MANAGED,
					   "mcseal: brings MC connections to mcseald");
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		if (chains[i].wanted)
			table_add_chain(builder->ruleset, builder->table, chains[i].name,
					chains[i].hook);
	}
	if (ways.output)
		plan_edge_add_own_mark_rule(builder);
	for (size_t i = 0; i < config->edge_count; i++) {
		if (config->edges[i].transparent)
			plan_edge_add(builder, &config->edges[i]);
	}
	plan_edge_add_listener_rules(builder);
	for (size_t i = 0; i < config->gateway_count; i++)
		plan_gateway_add(builder, &config->gateways[i]);
}

int plan_build(const struct config *config, bool observe, FILE *report, struct plan *plan)
{
	struct builder builder = {.config = config, .plan = plan, .report = report};

	*plan = (struct plan){.observe = observe};
	builder.ruleset = &plan->ruleset;
	plan_guard_add(&builder);
	add_managed(&builder);
	if (plan->ruleset.failed)
		return -ENOMEM;
	return builder.refused ? -EINVAL : 0;
}

void plan_deinit(struct plan *plan)
{
	ruleset_deinit(&plan->ruleset);
	free(plan->protected);
	plan->protected = NULL;
	plan->protected_count = 0;
}
