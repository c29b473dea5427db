/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "apply.h"

#include "object.h"

#include "base/error.h"

#include <errno.h>
#include <libnftnl/expr.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#define ATTEMPTS 20

static const char *const names[STATE_TABLES] = {TABLE_GUARD, TABLE_MANAGED};

struct divert divert_of(const struct config *config, int family)
{
	return (struct divert){.family = family == 0 ? AF_INET : AF_INET6,
			       .mark = config->nft.divert_mark,
			       .table = config->nft.route_table};
}

static const struct divert_there both = {true, true}, neither = {false, false};

static bool wants_divert(const struct plan *plan, int family)
{
	return plan != NULL && (family == 0 ? plan->divert4 : plan->divert6);
}

/* --- reading ---------------------------------------------------------------------------- */

static int read_tables(struct netlink *netlink, struct state *state)
{
	uint32_t generation = 0;
	int error = live_table_read(netlink, names[0], &state->live[0], &state->generation);

	if (error == 0)
		error = live_table_read(netlink, names[1], &state->live[1], &generation);
	return error == 0 && generation != state->generation ? -EAGAIN : error;
}

static int read_diverts(const struct plan *plan, const struct config *config, struct state *state)
{
	struct netlink route;
	int error = netlink_open(&route, NETLINK_ROUTE);

	for (int i = 0; i < 2 && error == 0; i++) {
		struct divert divert = divert_of(config, i);
		struct divert_there there = {false, false};
		bool wanted = wants_divert(plan, i);

		error = divert_read(&route, &divert, &there);
		/* A kernel without IPv6 has no rules for it either. */
		if (error == -EAFNOSUPPORT || error == -EOPNOTSUPP)
			error = 0;
		state->divert_differs[i] = there.rule != wanted || there.route != wanted;
		state->lines += state->divert_differs[i];
	}
	netlink_close(&route);
	return error;
}

int state_read(struct netlink *netlink, const struct plan *plan, const struct config *config,
	       bool keep_guard, struct state *state)
{
	int error = -EAGAIN;

	for (int i = 0; i < ATTEMPTS && error == -EAGAIN; i++) {
		*state = (struct state){0};
		error = read_tables(netlink, state);
		if (error < 0)
			state_deinit(state);
	}
	for (int i = 0; i < STATE_TABLES && error == 0; i++) {
		if (i == STATE_GUARD && keep_guard)
			continue;
		error = difference_find(names[i],
					plan ? ruleset_find_table(&plan->ruleset, names[i]) : NULL,
					&state->live[i], &state->differences[i]);
		state->lines += state->differences[i].line_count;
	}
	return error == 0 ? read_diverts(plan, config, state) : error;
}

void state_deinit(struct state *state)
{
	for (int i = 0; i < STATE_TABLES; i++) {
		difference_deinit(&state->differences[i]);
		live_table_deinit(&state->live[i]);
	}
	*state = (struct state){0};
}

/* --- telling ---------------------------------------------------------------------------- */

void state_print(const struct state *state, const struct plan *plan, const struct config *config,
		 FILE *file)
{
	for (int i = 0; i < STATE_TABLES; i++)
		difference_print(&state->differences[i], file);
	for (int i = 0; i < 2; i++) {
		if (state->divert_differs[i])
			fprintf(file,
				"%c ip -%c rule fwmark 0x%08x lookup %u, route local default\n",
				wants_divert(plan, i) ? '+' : '-', i == 0 ? '4' : '6',
				config->nft.divert_mark, config->nft.route_table);
	}
}

json_t *state_json(const struct state *state, const struct plan *plan, const struct config *config)
{
	json_t *all = json_array();

	for (int i = 0; i < STATE_TABLES; i++) {
		json_t *lines = difference_json(&state->differences[i]);

		json_array_extend(all, lines);
		json_decref(lines);
	}
	for (int i = 0; i < 2; i++) {
		if (state->divert_differs[i])
			json_array_append_new(all,
					      json_pack("{s:s, s:s, s:s, s:i, s:I}", "change",
							wants_divert(plan, i) ? "add" : "remove",
							"what", "ip rule and route", "family",
							i == 0 ? "ipv4" : "ipv6", "table",
							(int)config->nft.route_table, "mark",
							(json_int_t)config->nft.divert_mark));
	}
	return all;
}

static int find_refusal(struct nftnl_expr *expr, void *data)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);

	if (strcmp(name, "reject") == 0 ||
	    (strcmp(name, "immediate") == 0 && nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_VERDICT) &&
	     nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_VERDICT) == NF_DROP))
		*(bool *)data = true;
	return 0;
}

bool state_guards(const struct state *state)
{
	const struct live_table *guard = &state->live[STATE_GUARD];
	bool refuses = false;

	for (size_t i = 0; i < guard->rule_count; i++)
		nftnl_expr_foreach(guard->rules[i], find_refusal, &refuses);
	return refuses && (guard->flags & NFT_TABLE_F_DORMANT) == 0;
}

bool state_observes(const struct state *state)
{
	const struct live_table *guard = &state->live[STATE_GUARD];

	for (size_t i = 0; i < guard->rule_count; i++) {
		uint32_t size = 0;
		const void *userdata =
			nftnl_rule_get_data(guard->rules[i], NFTNL_RULE_USERDATA, &size);
		const char *comment = object_comment(userdata, size, NFTNL_UDATA_RULE_COMMENT);

		if (comment != NULL &&
		    strncmp(comment, PLAN_WOULD_BLOCK, strlen(PLAN_WOULD_BLOCK)) == 0)
			return true;
	}
	return false;
}

/* --- doing ------------------------------------------------------------------------------ */

static int change_diverts(const struct state *state, const struct plan *plan,
			  const struct config *config, bool wanted, FILE *report)
{
	struct netlink route;
	int error = netlink_open(&route, NETLINK_ROUTE);

	for (int i = 0; i < 2 && error == 0; i++) {
		struct divert divert = divert_of(config, i);

		if (!state->divert_differs[i] || wants_divert(plan, i) != wanted)
			continue;
		error = divert_set(&route, &divert, wanted ? &both : &neither);
		if (error < 0)
			fprintf(report, "ip rule and route for TPROXY, IPv%c, table %u: %s%s\n",
				i == 0 ? '4' : '6', divert.table, strerrordesc_np(-error),
				error == -ENETDOWN ? " (the interface lo is down)" : "");
	}
	netlink_close(&route);
	return error;
}

/* What was added for a transaction that failed. */
static void take_back_diverts(const struct state *state, const struct plan *plan,
			      const struct config *config)
{
	struct netlink route;

	if (netlink_open(&route, NETLINK_ROUTE) < 0)
		return;
	for (int i = 0; i < 2; i++) {
		struct divert divert = divert_of(config, i);

		if (state->divert_differs[i] && wants_divert(plan, i))
			(void)divert_set(&route, &divert, &neither);
	}
	netlink_close(&route);
}

int state_apply(const struct state *state, struct netlink *netlink, const struct plan *plan,
		const struct config *config, bool try_it, FILE *report)
{
	struct batch *batch = batch_new();
	int error = batch == NULL ? -ENOMEM : 0;

	for (int i = 0; i < STATE_TABLES && error == 0; i++)
		error = difference_resolve(&state->differences[i], batch);
	/* What TPROXY marks must find its way from the first packet on, to the last. */
	if (error == 0 && !try_it)
		error = change_diverts(state, plan, config, true, report);
	if (error == 0)
		error = batch_send(batch, netlink, state->generation, try_it, report);
	if (error < 0 && !try_it)
		take_back_diverts(state, plan, config);
	else if (!try_it)
		error = change_diverts(state, plan, config, false, report);
	batch_free(batch);
	return error;
}

int apply_plan(struct netlink *netlink, const struct plan *plan, const struct config *config,
	       bool keep_guard, FILE *report, struct state *state)
{
	int error = -ERESTART;

	for (int i = 0; i < ATTEMPTS && error == -ERESTART; i++) {
		if (i > 0)
			state_deinit(state);
		error = state_read(netlink, plan, config, keep_guard, state);
		if (error == 0 && state->lines > 0)
			error = state_apply(state, netlink, plan, config, false, report);
	}
	return error;
}
