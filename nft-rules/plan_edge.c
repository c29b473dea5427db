/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Edges: which destinations are brought to them, from whom, and by which way. */
#include "plan_part.h"

#include "set_type.h"

#include "base/error.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

/* --- edges: which destinations ---------------------------------------------------------- */

int plan_edge_blocks(const struct config_edge *edge, int family, struct blocks *blocks)
{
	int error = 0;

	for (size_t i = 0; i < edge->route_count && error == 0; i++) {
		const struct config_route *route = &edge->routes[i];

		for (size_t j = 0; j < route->destination_count && error == 0; j++) {
			const struct config_destination *to = &route->destinations[j];

			if (to->addresses.base.any.sa_family == family)
				error = blocks_add(blocks, &to->addresses, to->first_port,
						   to->last_port, route->name);
		}
	}
	return error;
}

static const struct address *listen_of(const struct config_edge *edge, int family)
{
	for (size_t i = 0; i < edge->listen_count; i++) {
		if (edge->listen[i].any.sa_family == family)
			return &edge->listen[i];
	}
	return NULL;
}

/* The edge's set of PLCs of one family, if it carries any: then the set's name is in `name`. */
static bool add_edge_plcs(struct builder *builder, const struct config_edge *edge, int family,
			  char name[BUILDER_NAME_SIZE])
{
	struct blocks blocks = {0};
	bool any;

	builder->ruleset->failed |= plan_edge_blocks(edge, family, &blocks) < 0;
	any = blocks.count > 0;
	builder_name(name, "edge/%s/plc%c", edge->name, builder_digit(family));
	if (any && listen_of(edge, family) == NULL)
		builder_refuse(
			builder, edge->listen_line,
			"listen: edge \"%s\" carries IPv%c destinations, but listens on no IPv%c "
			"address, expected one to redirect them to",
			edge->name, builder_digit(family), builder_digit(family));
	else if (any)
		builder_cover_set(builder, name, family, &blocks, true,
				  "PLCs whose connections this edge carries");
	blocks_deinit(&blocks);
	return any;
}

/* --- edges: whose connections ----------------------------------------------------------- */

static unsigned int cgroup_level(const char *path)
{
	unsigned int level = 0;

	for (; *path != '\0'; path++)
		level += *path == '/';
	return level;
}

/* The kernel stores a group's number, not its path: one that is not there has none. */
static bool cgroup_id(const char *path, uint64_t *id)
{
	char full[4096];
	struct stat status;

	if ((size_t)snprintf(full, sizeof(full), CGROUP_ROOT "%s", path) >= sizeof(full) ||
	    stat(full, &status) < 0)
		return false;
	*id = status.st_ino;
	return true;
}

static void add_source_addresses(struct builder *builder, const struct config_edge *edge,
				 const struct config_source *source, int family)
{
	struct blocks blocks = {0};
	char name[BUILDER_NAME_SIZE];

	for (size_t i = 0; i < source->address_count; i++) {
		if (source->addresses[i].base.any.sa_family == family)
			builder->ruleset->failed |=
				blocks_add(&blocks, &source->addresses[i], 0, 0, NULL) < 0;
	}
	builder_name(name, "source/%s/%s/ipv%c", edge->name, source->name, builder_digit(family));
	if (blocks.count > 0)
		builder_cover_set(builder, name, family, &blocks, false, "clients of this source");
	blocks_deinit(&blocks);
}

static void add_source_users(struct builder *builder, const struct config_edge *edge,
			     const struct config_source *source)
{
	char name[BUILDER_NAME_SIZE];

	if (source->user_count == 0)
		return;
	builder_name(name, "source/%s/%s/users", edge->name, source->name);
	table_add_set(builder->ruleset, builder->table, name, &set_type_user,
		      "users of this machine");
	for (size_t i = 0; i < source->user_count; i++) {
		uint32_t user = source->users[i];

		builder_key(builder, name, &user, sizeof(user), NULL);
	}
}

/* Groups are looked up at their depth: a set for each depth. */
static void add_source_cgroups(struct builder *builder, const struct config_edge *edge,
			       const struct config_source *source)
{
	char name[BUILDER_NAME_SIZE];
	uint64_t id;

	for (size_t i = 0; i < source->cgroups.count; i++) {
		const char *path = source->cgroups.items[i];

		builder_name(name, "source/%s/%s/cgroups%u", edge->name, source->name,
			     cgroup_level(path));
		if (builder_set(builder, name) == NULL)
			table_add_set(builder->ruleset, builder->table, name, &set_type_cgroup,
				      "control groups of this machine");
		if (cgroup_id(path, &id))
			builder_key(builder, name, &id, sizeof(id), path + 1);
		else
			fprintf(builder->report,
				"%s:%d: warning: cgroups: " CGROUP_ROOT
				"%s does not exist now, and rules cannot name what is not there: "
				"its members are refused until the rules are applied again\n",
				builder->config->path, source->line, path);
	}
}

/* What becomes of a connection that a source covers. */
static void take_connection(const struct builder *builder, const struct config_edge *edge,
			    int family, struct rule *rule)
{
	const struct address *listen = listen_of(edge, family);
	const struct config_nft *nft = &builder->config->nft;
	struct statement tproxy = {.kind = STATEMENT_TPROXY};

	if (listen == NULL)
		return; /* builder_refuse() was called for it */
	rule_protocol(rule, IPPROTO_TCP);
	if (builder->plan->observe) {
		rule_plain(rule, STATEMENT_COUNTER);
		rule_numbered(rule, STATEMENT_SET_CT_MARK, nft->divert_mark);
		rule_numbered(rule, STATEMENT_LIMIT, BUILDER_LOGS_PER_MINUTE);
		rule_named(rule, STATEMENT_LOG, "mcseal-would-redirect: ");
	} else if (edge->interception == CONFIG_INTERCEPTION_REDIRECT) {
		rule_plain(rule, STATEMENT_COUNTER);
		rule_numbered(rule, STATEMENT_REDIRECT, address_port(listen));
	} else {
		tproxy.address = *listen;
		rule_add(rule, tproxy);
		rule_numbered(rule, STATEMENT_SET_MARK, nft->divert_mark);
		rule_counted(rule, STATEMENT_ACCEPT);
	}
}

/* All kinds that are given must match: one rule has them in a row. */
static void add_source_rule(const struct builder *builder, const struct config_edge *edge,
			    const struct config_source *source, int family, unsigned int level)
{
	char chain[BUILDER_NAME_SIZE], name[BUILDER_NAME_SIZE];
	struct rule *rule;

	builder_name(chain, "edge/%s", edge->name);
	builder_name(name, "source/%s/%s/ipv%c", edge->name, source->name, builder_digit(family));
	if (source->address_count > 0 && builder_set(builder, name) == NULL)
		return; /* none of this family */
	rule = chain_add_rule(builder->ruleset, builder_chain(builder, chain), "source %s, IPv%c",
			      source->name, builder_digit(family));
	if (source->address_count > 0)
		rule_address(rule, family, true, builder_set(builder, name));
	else
		rule_add(rule, (struct statement){.kind = STATEMENT_FAMILY, .family = family});
	if (source->user_count > 0) {
		builder_name(name, "source/%s/%s/users", edge->name, source->name);
		rule_named(rule, STATEMENT_USER, builder_set(builder, name));
	}
	if (level > 0) {
		builder_name(name, "source/%s/%s/cgroups%u", edge->name, source->name, level);
		rule_add(rule, (struct statement){.kind = STATEMENT_CGROUP,
						  .number = level,
						  .name = builder_set(builder, name)});
	}
	take_connection(builder, edge, family, rule);
}

/* A rule for each family, and each depth of control groups if there are any. */
static void add_source_rules(const struct builder *builder, const struct config_edge *edge,
			     const struct config_source *source, const bool carries[2])
{
	char name[BUILDER_NAME_SIZE];
	unsigned int deepest = 0;

	for (size_t i = 0; i < source->cgroups.count; i++) {
		unsigned int level = cgroup_level(source->cgroups.items[i]);

		deepest = level > deepest ? level : deepest;
	}
	for (size_t i = 0; i < BUILDER_FAMILIES; i++) {
		if (!carries[i])
			continue;
		if (deepest == 0)
			add_source_rule(builder, edge, source, builder_families[i], 0);
		for (unsigned int level = 1; level <= deepest; level++) {
			builder_name(name, "source/%s/%s/cgroups%u", edge->name, source->name,
				     level);
			if (builder_set(builder, name) != NULL)
				add_source_rule(builder, edge, source, builder_families[i], level);
		}
	}
}

/* --- edges: the ways to them ------------------------------------------------------------ */

/* What TPROXY has given to the daemon before stays with it, whatever the sources say now. */
static void add_divert_rule(const struct builder *builder, const char *chain)
{
	struct rule *rule = builder_rule(builder, chain, "connection that mcseald holds");

	rule_protocol(rule, IPPROTO_TCP);
	rule_plain(rule, STATEMENT_TRANSPARENT);
	rule_numbered(rule, STATEMENT_SET_MARK, builder->config->nft.divert_mark);
	rule_counted(rule, STATEMENT_ACCEPT);
}

static void add_edge_interfaces(struct builder *builder, const struct config_edge *edge,
				char name[BUILDER_NAME_SIZE])
{
	bool any = false;

	builder_name(name, "edge/%s/interfaces", edge->name);
	for (size_t i = 0; i < edge->interfaces.count; i++) {
		char key[16] = "";

		if (strcmp(edge->interfaces.items[i], CONFIG_LOCAL) == 0)
			continue;
		if (!any)
			table_add_set(builder->ruleset, builder->table, name, &set_type_interface,
				      "where this edge's clients are");
		any = true;
		strncpy(key, edge->interfaces.items[i], sizeof(key) - 1);
		builder_key(builder, name, key, sizeof(key), NULL);
	}
	if (!any)
		name[0] = '\0';
}

static void add_way(const struct builder *builder, const struct config_edge *edge,
		    const char *hook_chain, const char *interfaces, int family, const char *plcs)
{
	char chain[BUILDER_NAME_SIZE];
	struct rule *rule = chain_add_rule(builder->ruleset, builder_chain(builder, hook_chain),
					   "edge %s, IPv%c", edge->name, builder_digit(family));

	builder_name(chain, "edge/%s", edge->name);
	if (interfaces != NULL)
		rule_named(rule, STATEMENT_INTERFACE, builder_set(builder, interfaces));
	rule_destination(rule, family, IPPROTO_TCP, builder_set(builder, plcs));
	builder_counted_to(builder, rule, STATEMENT_JUMP, chain);
}

/* Who dials the listener itself would make the daemon ask where to, and get its own address. */
static void add_listeners(struct builder *builder, const struct config_edge *edge)
{
	const char *name = edge->interception == CONFIG_INTERCEPTION_TPROXY ? "tproxy_listeners"
									    : "redirect_listeners";

	if (builder_set(builder, name) == NULL)
		table_add_set(builder->ruleset, builder->table, name, &set_type_port,
			      "ports of edges that nobody dials directly");
	for (size_t i = 0; i < edge->listen_count; i++)
		builder_port_key(builder, name, &edge->listen[i]);
}

void plan_edge_add(struct builder *builder, const struct config_edge *edge)
{
	bool tproxy = edge->interception == CONFIG_INTERCEPTION_TPROXY;
	char interfaces[BUILDER_NAME_SIZE], plcs[2][BUILDER_NAME_SIZE], chain[BUILDER_NAME_SIZE];
	bool carries[2];

	builder_name(chain, "edge/%s", edge->name);
	table_add_chain(builder->ruleset, builder->table, chain, NULL);
	add_edge_interfaces(builder, edge, interfaces);
	for (size_t i = 0; i < BUILDER_FAMILIES; i++)
		carries[i] = add_edge_plcs(builder, edge, builder_families[i], plcs[i]);
	add_listeners(builder, edge);
	if (builder->refused || builder->ruleset->failed)
		return;
	for (size_t i = 0; i < BUILDER_FAMILIES; i++) {
		if (carries[i] && config_edge_is_local(edge))
			add_way(builder, edge, "nat_output", NULL, builder_families[i], plcs[i]);
		if (carries[i] && interfaces[0] != '\0')
			add_way(builder, edge, tproxy ? "tproxy_prerouting" : "nat_prerouting",
				interfaces, builder_families[i], plcs[i]);
	}
	if (tproxy && !builder->plan->observe) {
		builder->plan->divert4 |= carries[0];
		builder->plan->divert6 |= carries[1];
		add_divert_rule(builder, chain);
	}
	for (size_t i = 0; i < edge->source_count; i++) {
		const struct config_source *source = &edge->sources[i];

		for (size_t j = 0; j < BUILDER_FAMILIES; j++)
			add_source_addresses(builder, edge, source, builder_families[j]);
		add_source_users(builder, edge, source);
		add_source_cgroups(builder, edge, source);
		add_source_rules(builder, edge, source, carries);
	}
}

/* --- what all edges share -------------------------------------------------------------------- */

void plan_edge_add_listener_rules(const struct builder *builder)
{
	const char *redirected = builder_set(builder, "redirect_listeners");
	const char *tproxied = builder_set(builder, "tproxy_listeners");
	struct rule *rule;

	if (builder->plan->observe)
		return;
	if (redirected != NULL) {
		rule = builder_rule(builder, "input", "redirected to mcseald");
		rule_named(rule, STATEMENT_PORT, redirected);
		rule_plain(rule, STATEMENT_DNAT);
		rule_counted(rule, STATEMENT_ACCEPT);
		rule = builder_rule(builder, "input", "dialled mcseald directly");
		rule_named(rule, STATEMENT_PORT, redirected);
		rule_counted(rule, STATEMENT_RESET);
	}
	if (tproxied != NULL) {
		/* A PLC may have the listener's port, too. */
		rule = builder_rule(builder, "input", "given to mcseald by TPROXY");
		rule_named(rule, STATEMENT_PORT, tproxied);
		rule_numbered(rule, STATEMENT_MARK, builder->config->nft.divert_mark);
		rule_counted(rule, STATEMENT_ACCEPT);
		rule = builder_rule(builder, "input", "dialled mcseald directly");
		rule_named(rule, STATEMENT_PORT, tproxied);
		rule_counted(rule, STATEMENT_RESET);
	}
}

void plan_edge_add_own_mark_rule(const struct builder *builder)
{
	struct rule *rule;

	if (builder->config->mark == 0)
		return;
	rule = builder_rule(builder, "nat_output", "mcseald's own connections: no loop");
	rule_numbered(rule, STATEMENT_MARK, builder->config->mark);
	rule_counted(rule, STATEMENT_RETURN);
}
