/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * Each packet meets a number of rules that depends on the edges, sources and gateways of the file,
 * never on its PLCs: those are elements of sets.
 *
 * Names say what a set or chain belongs to, as a path: "edge/office/plc4", "source/office/scada/
 * users". Titles of the file have no "/", so that two names never meet.
 *
 * The redirect comes before the guard: nat (-100) and TPROXY (-150) give a packet another
 * destination or a socket here, and what still goes to a PLC at filter + 10 is about to leave in
 * plain. So the guard needs no exception and no connection tracking on an edge. On a gateway the
 * exception is the daemon's own mark; a mark on the connection stands for it where a packet has no
 * socket any more (the last ACK, a reset for a late answer).
 */
#include "plan.h"

#include "cover.h"
#include "set_type.h"

#include "base/error.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CGROUP_ROOT     "/sys/fs/cgroup"
#define LOGS_PER_MINUTE 6
#define NAME_SIZE       256 /* NFT_NAME_MAXLEN, linux/netfilter/nf_tables.h */

enum { FILTER_LATE = NF_IP_PRI_FILTER + 10 };

static const struct hook hook_output = {"filter", NF_INET_LOCAL_OUT, FILTER_LATE, "output",
					"filter + 10"};
static const struct hook hook_forward = {"filter", NF_INET_FORWARD, FILTER_LATE, "forward",
					 "filter + 10"};
static const struct hook hook_input = {"filter", NF_INET_LOCAL_IN, FILTER_LATE, "input",
				       "filter + 10"};
/* nft 1.0.6 does not take "dstnat" in an output chain. */
static const struct hook hook_nat_output = {"nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST, "output",
					    "-100"};
static const struct hook hook_nat_prerouting = {"nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST,
						"prerouting", "dstnat"};
static const struct hook hook_mangle = {"filter", NF_INET_PRE_ROUTING, NF_IP_PRI_MANGLE,
					"prerouting", "mangle"};

static const int families[] = {AF_INET, AF_INET6};

struct builder {
	const struct config *config;
	struct plan *plan;
	struct ruleset *ruleset;
	struct table *table; /* being built */
	FILE *report;
	bool refused;
};

static char digit(int family)
{
	return family == AF_INET ? '4' : '6';
}

static void __attribute__((format(printf, 3, 4)))
refuse(struct builder *builder, int line, const char *format, ...)
{
	va_list arguments;

	fprintf(builder->report, "%s:%d: error: ", builder->config->path, line);
	va_start(arguments, format);
	vfprintf(builder->report, format, arguments);
	va_end(arguments);
	putc('\n', builder->report);
	builder->refused = true;
}

static void __attribute__((format(printf, 2, 3)))
make_name(char name[NAME_SIZE], const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(name, NAME_SIZE, format, arguments);
	va_end(arguments);
}

static struct chain *chain_named(const struct builder *builder, const char *name)
{
	return builder->table ? (struct chain *)table_find_chain(builder->table, name) : NULL;
}

/* The set's own copy of its name, which lives as long as the rules that use it. */
static const char *set_named(const struct builder *builder, const char *name)
{
	const struct set *set = builder->table ? table_find_set(builder->table, name) : NULL;

	return set ? set->name : NULL;
}

/* --- statements, so that rules below read as they will be listed ------------------------ */

static void destination(struct rule *rule, int family, uint8_t protocol, const char *set)
{
	rule_add(rule, (struct statement){.kind = STATEMENT_DESTINATION,
					  .family = family,
					  .protocol = protocol,
					  .name = set});
}

static void address(struct rule *rule, int family, bool source, const char *set)
{
	rule_add(rule, (struct statement){.kind = STATEMENT_ADDRESS,
					  .family = family,
					  .source = source,
					  .name = set});
}

static void protocol(struct rule *rule, uint8_t protocol)
{
	rule_add(rule, (struct statement){.kind = STATEMENT_PROTOCOL, .protocol = protocol});
}

static void plain(struct rule *rule, enum statement_kind kind)
{
	rule_add(rule, (struct statement){.kind = kind});
}

static void numbered(struct rule *rule, enum statement_kind kind, uint32_t number)
{
	rule_add(rule, (struct statement){.kind = kind, .number = number});
}

static void named(struct rule *rule, enum statement_kind kind, const char *name)
{
	rule_add(rule, (struct statement){.kind = kind, .name = name});
}

static void counted(struct rule *rule, enum statement_kind verdict)
{
	plain(rule, STATEMENT_COUNTER);
	plain(rule, verdict);
}

/* To a chain of this table, which must be there already. */
static void counted_to(const struct builder *builder, struct rule *rule,
		       enum statement_kind verdict, const char *chain)
{
	const struct chain *to = chain_named(builder, chain);

	plain(rule, STATEMENT_COUNTER);
	named(rule, verdict, to ? to->name : NULL);
}

static struct rule *add_rule(const struct builder *builder, const char *chain, const char *comment)
{
	return chain_add_rule(builder->ruleset, chain_named(builder, chain), "%s", comment);
}

static void add_log(const struct builder *builder, const char *chain, const char *prefix)
{
	struct rule *rule = add_rule(builder, chain, "evidence, rate-limited");

	numbered(rule, STATEMENT_LIMIT, LOGS_PER_MINUTE);
	plain(rule, STATEMENT_COUNTER);
	named(rule, STATEMENT_LOG, prefix);
}

/* --- sets ------------------------------------------------------------------------------- */

struct blocks {
	struct cover_block *items;
	const char **comments;
	size_t count;
};

static void blocks_deinit(struct blocks *blocks)
{
	free(blocks->items);
	free(blocks->comments);
}

static int blocks_add(struct blocks *blocks, const struct address_prefix *prefix, uint16_t first,
		      uint16_t last, const char *comment)
{
	struct cover_block *items = blocks->items;
	const char **comments = blocks->comments;

	if ((blocks->count & (blocks->count - 1)) == 0) {
		size_t room = blocks->count == 0 ? 1 : blocks->count * 2;

		items = reallocarray(items, room, sizeof(*items));
		if (items != NULL)
			blocks->items = items;
		comments = reallocarray(comments, room, sizeof(*comments));
		if (comments != NULL)
			blocks->comments = comments;
		if (items == NULL || comments == NULL)
			return -ENOMEM;
	}
	items[blocks->count] = (struct cover_block){.first_port = first, .last_port = last};
	cover_block_set(&items[blocks->count], prefix);
	comments[blocks->count++] = comment;
	return 0;
}

static void fill_element(struct builder *builder, struct element *element, int family,
			 const struct cover_block *block, bool with_port, const char *comment)
{
	size_t size = family == AF_INET ? 4 : 16;

	if (element == NULL)
		return;
	cover_address(block->first, family, element->first);
	cover_address(block->last, family, element->last);
	if (with_port) {
		element->first[size] = (uint8_t)(block->first_port >> 8);
		element->first[size + 1] = (uint8_t)block->first_port;
		element->last[size] = (uint8_t)(block->last_port >> 8);
		element->last[size + 1] = (uint8_t)block->last_port;
	}
	if (comment != NULL) {
		element->comment = strdup(comment);
		builder->ruleset->failed |= element->comment == NULL;
	}
}

/* A set of what `blocks` cover; with ports as address . port, without as addresses. */
static void add_cover_set(struct builder *builder, const char *name, int family,
			  const struct blocks *blocks, bool with_port, const char *comment)
{
	struct set *set = table_add_set(builder->ruleset, builder->table, name,
					set_type_for(family, with_port), comment);
	struct cover_block *made;
	size_t count;

	if (cover(blocks->items, blocks->count, !with_port, &made, &count) < 0) {
		builder->ruleset->failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++)
		fill_element(builder, set_add_element(builder->ruleset, set), family, &made[i],
			     with_port, blocks->comments[made[i].origin]);
	free(made);
}

static void add_key(struct builder *builder, const char *set_name, const void *key, size_t size,
		    const char *label)
{
	struct set *set = (struct set *)table_find_set(builder->table, set_name);
	struct element *element;

	for (size_t i = 0; set != NULL && i < set->element_count; i++) {
		if (memcmp(set->elements[i].first, key, size) == 0)
			return;
	}
	element = set_add_element(builder->ruleset, set);
	if (element == NULL)
		return;
	memcpy(element->first, key, size);
	memcpy(element->last, key, size);
	if (label != NULL) {
		element->label = strdup(label);
		builder->ruleset->failed |= element->label == NULL;
	}
}

static void add_port_key(struct builder *builder, const char *set_name,
			 const struct address *listen)
{
	uint16_t port = htons(address_port(listen));

	add_key(builder, set_name, &port, sizeof(port), NULL);
}

/* --- edges: which destinations ---------------------------------------------------------- */

static int edge_blocks(const struct config_edge *edge, int family, struct blocks *blocks)
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
			  char name[NAME_SIZE])
{
	struct blocks blocks = {0};
	bool any;

	builder->ruleset->failed |= edge_blocks(edge, family, &blocks) < 0;
	any = blocks.count > 0;
	make_name(name, "edge/%s/plc%c", edge->name, digit(family));
	if (any && listen_of(edge, family) == NULL)
		refuse(builder, edge->listen_line,
		       "listen: edge \"%s\" carries IPv%c destinations, but listens on no IPv%c "
		       "address, expected one to redirect them to",
		       edge->name, digit(family), digit(family));
	else if (any)
		add_cover_set(builder, name, family, &blocks, true,
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
	char name[NAME_SIZE];

	for (size_t i = 0; i < source->address_count; i++) {
		if (source->addresses[i].base.any.sa_family == family)
			builder->ruleset->failed |=
				blocks_add(&blocks, &source->addresses[i], 0, 0, NULL) < 0;
	}
	make_name(name, "source/%s/%s/ipv%c", edge->name, source->name, digit(family));
	if (blocks.count > 0)
		add_cover_set(builder, name, family, &blocks, false, "clients of this source");
	blocks_deinit(&blocks);
}

static void add_source_users(struct builder *builder, const struct config_edge *edge,
			     const struct config_source *source)
{
	char name[NAME_SIZE];

	if (source->user_count == 0)
		return;
	make_name(name, "source/%s/%s/users", edge->name, source->name);
	table_add_set(builder->ruleset, builder->table, name, &set_type_user,
		      "users of this machine");
	for (size_t i = 0; i < source->user_count; i++) {
		uint32_t user = source->users[i];

		add_key(builder, name, &user, sizeof(user), NULL);
	}
}

/* Groups are looked up at their depth: a set for each depth. */
static void add_source_cgroups(struct builder *builder, const struct config_edge *edge,
			       const struct config_source *source)
{
	char name[NAME_SIZE];
	uint64_t id;

	for (size_t i = 0; i < source->cgroups.count; i++) {
		const char *path = source->cgroups.items[i];

		make_name(name, "source/%s/%s/cgroups%u", edge->name, source->name,
			  cgroup_level(path));
		if (set_named(builder, name) == NULL)
			table_add_set(builder->ruleset, builder->table, name, &set_type_cgroup,
				      "control groups of this machine");
		if (cgroup_id(path, &id))
			add_key(builder, name, &id, sizeof(id), path + 1);
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

	protocol(rule, IPPROTO_TCP);
	if (builder->plan->observe) {
		plain(rule, STATEMENT_COUNTER);
		numbered(rule, STATEMENT_SET_CT_MARK, nft->divert_mark);
		numbered(rule, STATEMENT_LIMIT, LOGS_PER_MINUTE);
		named(rule, STATEMENT_LOG, "mcseal-would-redirect: ");
	} else if (edge->interception == CONFIG_INTERCEPTION_REDIRECT) {
		plain(rule, STATEMENT_COUNTER);
		numbered(rule, STATEMENT_REDIRECT, address_port(listen));
	} else {
		tproxy.address = *listen;
		rule_add(rule, tproxy);
		numbered(rule, STATEMENT_SET_MARK, nft->divert_mark);
		counted(rule, STATEMENT_ACCEPT);
	}
}

/* All kinds that are given must match: one rule has them in a row. */
static void add_source_rule(const struct builder *builder, const struct config_edge *edge,
			    const struct config_source *source, int family, unsigned int level)
{
	char chain[NAME_SIZE], name[NAME_SIZE];
	struct rule *rule;

	make_name(chain, "edge/%s", edge->name);
	make_name(name, "source/%s/%s/ipv%c", edge->name, source->name, digit(family));
	if (source->address_count > 0 && set_named(builder, name) == NULL)
		return; /* none of this family */
	rule = chain_add_rule(builder->ruleset, chain_named(builder, chain), "source %s, IPv%c",
			      source->name, digit(family));
	if (source->address_count > 0)
		address(rule, family, true, set_named(builder, name));
	else
		rule_add(rule, (struct statement){.kind = STATEMENT_FAMILY, .family = family});
	if (source->user_count > 0) {
		make_name(name, "source/%s/%s/users", edge->name, source->name);
		named(rule, STATEMENT_USER, set_named(builder, name));
	}
	if (level > 0) {
		make_name(name, "source/%s/%s/cgroups%u", edge->name, source->name, level);
		rule_add(rule, (struct statement){.kind = STATEMENT_CGROUP,
						  .number = level,
						  .name = set_named(builder, name)});
	}
	take_connection(builder, edge, family, rule);
}

/* A rule for each family, and each depth of control groups if there are any. */
static void add_source_rules(const struct builder *builder, const struct config_edge *edge,
			     const struct config_source *source, const bool carries[2])
{
	char name[NAME_SIZE];
	unsigned int deepest = 0;

	for (size_t i = 0; i < source->cgroups.count; i++) {
		unsigned int level = cgroup_level(source->cgroups.items[i]);

		deepest = level > deepest ? level : deepest;
	}
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (!carries[i])
			continue;
		if (deepest == 0)
			add_source_rule(builder, edge, source, families[i], 0);
		for (unsigned int level = 1; level <= deepest; level++) {
			make_name(name, "source/%s/%s/cgroups%u", edge->name, source->name, level);
			if (set_named(builder, name) != NULL)
				add_source_rule(builder, edge, source, families[i], level);
		}
	}
}

/* --- edges: the ways to them ------------------------------------------------------------ */

/* What TPROXY has given to the daemon before stays with it, whatever the sources say now. */
static void add_divert_rule(const struct builder *builder, const char *chain)
{
	struct rule *rule = add_rule(builder, chain, "connection that mcseald holds");

	protocol(rule, IPPROTO_TCP);
	plain(rule, STATEMENT_TRANSPARENT);
	numbered(rule, STATEMENT_SET_MARK, builder->config->nft.divert_mark);
	counted(rule, STATEMENT_ACCEPT);
}

static void add_edge_interfaces(struct builder *builder, const struct config_edge *edge,
				char name[NAME_SIZE])
{
	bool any = false;

	make_name(name, "edge/%s/interfaces", edge->name);
	for (size_t i = 0; i < edge->interfaces.count; i++) {
		char key[16] = "";

		if (strcmp(edge->interfaces.items[i], CONFIG_LOCAL) == 0)
			continue;
		if (!any)
			table_add_set(builder->ruleset, builder->table, name, &set_type_interface,
				      "where this edge's clients are");
		any = true;
		strncpy(key, edge->interfaces.items[i], sizeof(key) - 1);
		add_key(builder, name, key, sizeof(key), NULL);
	}
	if (!any)
		name[0] = '\0';
}

static void add_way(const struct builder *builder, const struct config_edge *edge,
		    const char *hook_chain, const char *interfaces, int family, const char *plcs)
{
	char chain[NAME_SIZE];
	struct rule *rule = chain_add_rule(builder->ruleset, chain_named(builder, hook_chain),
					   "edge %s, IPv%c", edge->name, digit(family));

	make_name(chain, "edge/%s", edge->name);
	if (interfaces != NULL)
		named(rule, STATEMENT_INTERFACE, set_named(builder, interfaces));
	destination(rule, family, IPPROTO_TCP, set_named(builder, plcs));
	counted_to(builder, rule, STATEMENT_JUMP, chain);
}

/* Who dials the listener itself would make the daemon ask where to, and get its own address. */
static void add_listeners(struct builder *builder, const struct config_edge *edge)
{
	const char *name = edge->interception == CONFIG_INTERCEPTION_TPROXY ? "tproxy_listeners"
									    : "redirect_listeners";

	if (set_named(builder, name) == NULL)
		table_add_set(builder->ruleset, builder->table, name, &set_type_port,
			      "ports of edges that nobody dials directly");
	for (size_t i = 0; i < edge->listen_count; i++)
		add_port_key(builder, name, &edge->listen[i]);
}

static void add_edge(struct builder *builder, const struct config_edge *edge)
{
	bool tproxy = edge->interception == CONFIG_INTERCEPTION_TPROXY;
	char interfaces[NAME_SIZE], plcs[2][NAME_SIZE], chain[NAME_SIZE];
	bool carries[2];

	make_name(chain, "edge/%s", edge->name);
	table_add_chain(builder->ruleset, builder->table, chain, NULL);
	add_edge_interfaces(builder, edge, interfaces);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		carries[i] = add_edge_plcs(builder, edge, families[i], plcs[i]);
	add_listeners(builder, edge);
	if (builder->refused || builder->ruleset->failed)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (carries[i] && config_edge_is_local(edge))
			add_way(builder, edge, "nat_output", NULL, families[i], plcs[i]);
		if (carries[i] && interfaces[0] != '\0')
			add_way(builder, edge, tproxy ? "tproxy_prerouting" : "nat_prerouting",
				interfaces, families[i], plcs[i]);
	}
	if (tproxy && !builder->plan->observe) {
		builder->plan->divert4 |= carries[0];
		builder->plan->divert6 |= carries[1];
		add_divert_rule(builder, chain);
	}
	for (size_t i = 0; i < edge->source_count; i++) {
		const struct config_source *source = &edge->sources[i];

		for (size_t j = 0; j < ARRAY_SIZE(families); j++)
			add_source_addresses(builder, edge, source, families[j]);
		add_source_users(builder, edge, source);
		add_source_cgroups(builder, edge, source);
		add_source_rules(builder, edge, source, carries);
	}
}

/* --- gateways: who may dial them -------------------------------------------------------- */

/* Addresses and ports it listens on; 0.0.0.0 and [::] mean all. */
static void add_gateway_listeners(struct builder *builder, const struct config_gateway *gateway,
				  int family, const char *name)
{
	struct blocks blocks = {0};

	for (size_t i = 0; i < gateway->listen_count; i++) {
		const struct address *listen = &gateway->listen[i];
		bool v4 = family == AF_INET;
		bool any = v4 ? listen->v4.sin_addr.s_addr == htonl(INADDR_ANY)
			      : IN6_IS_ADDR_UNSPECIFIED(&listen->v6.sin6_addr);
		struct address_prefix prefix = {.base = *listen, .bits = any ? 0 : (v4 ? 32 : 128)};

		if (listen->any.sa_family == family)
			builder->ruleset->failed |=
				blocks_add(&blocks, &prefix, address_port(listen),
					   address_port(listen), NULL) < 0;
	}
	if (blocks.count > 0)
		add_cover_set(builder, name, family, &blocks, true, "where this gateway listens");
	blocks_deinit(&blocks);
}

static void add_gateway_clients(struct builder *builder, const struct config_gateway *gateway,
				int family, const char *name)
{
	struct blocks blocks = {0};

	for (size_t i = 0; i < gateway->client_count; i++) {
		if (gateway->clients[i].base.any.sa_family == family)
			builder->ruleset->failed |=
				blocks_add(&blocks, &gateway->clients[i], 0, 0, NULL) < 0;
	}
	if (blocks.count > 0)
		add_cover_set(builder, name, family, &blocks, false, "edges and clients");
	blocks_deinit(&blocks);
}

static void add_admission(struct builder *builder, const struct config_gateway *gateway, int family,
			  const char *chain)
{
	char name[NAME_SIZE];
	struct rule *rule;

	make_name(name, "gateway/%s/clients%c", gateway->name, digit(family));
	add_gateway_clients(builder, gateway, family, name);
	if (set_named(builder, name) != NULL) {
		rule = add_rule(builder, chain,
				family == AF_INET ? "listed client, IPv4" : "listed client, IPv6");
		address(rule, family, true, set_named(builder, name));
		counted(rule, STATEMENT_ACCEPT);
	}
	make_name(name, "gateway/%s/listen%c", gateway->name, digit(family));
	add_gateway_listeners(builder, gateway, family, name);
	if (set_named(builder, name) != NULL) {
		rule = chain_add_rule(builder->ruleset, chain_named(builder, "input"),
				      "gateway %s, IPv%c", gateway->name, digit(family));
		destination(rule, family, IPPROTO_TCP, set_named(builder, name));
		counted_to(builder, rule, STATEMENT_JUMP, chain);
	}
}

static void add_gateway(struct builder *builder, const struct config_gateway *gateway)
{
	char chain[NAME_SIZE];
	struct rule *rule;

	if (gateway->client_count == 0)
		return;
	make_name(chain, "gateway/%s", gateway->name);
	table_add_chain(builder->ruleset, builder->table, chain, NULL);
	rule = add_rule(builder, chain, "connections that stand");
	plain(rule, STATEMENT_ESTABLISHED);
	counted(rule, STATEMENT_ACCEPT);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		add_admission(builder, gateway, families[i], chain);
	if (builder->plan->observe) {
		plain(add_rule(builder, chain, "would be dropped: not listed"), STATEMENT_COUNTER);
		add_log(builder, chain, "mcseal-would-deny: ");
		return;
	}
	add_log(builder, chain, "mcseal-tls-denied: ");
	counted(add_rule(builder, chain, "not listed"), STATEMENT_DROP);
}

/* --- the managed table ------------------------------------------------------------------ */

static void add_listener_rules(const struct builder *builder)
{
	const char *redirected = set_named(builder, "redirect_listeners");
	const char *tproxied = set_named(builder, "tproxy_listeners");
	struct rule *rule;

	if (builder->plan->observe)
		return;
	if (redirected != NULL) {
		rule = add_rule(builder, "input", "redirected to mcseald");
		named(rule, STATEMENT_PORT, redirected);
		plain(rule, STATEMENT_DNAT);
		counted(rule, STATEMENT_ACCEPT);
		rule = add_rule(builder, "input", "dialled mcseald directly");
		named(rule, STATEMENT_PORT, redirected);
		counted(rule, STATEMENT_RESET);
	}
	if (tproxied != NULL) {
		/* A PLC may have the listener's port, too. */
		rule = add_rule(builder, "input", "given to mcseald by TPROXY");
		named(rule, STATEMENT_PORT, tproxied);
		numbered(rule, STATEMENT_MARK, builder->config->nft.divert_mark);
		counted(rule, STATEMENT_ACCEPT);
		rule = add_rule(builder, "input", "dialled mcseald directly");
		named(rule, STATEMENT_PORT, tproxied);
		counted(rule, STATEMENT_RESET);
	}
}

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

static void add_own_mark_rule(const struct builder *builder)
{
	struct rule *rule;

	if (builder->config->mark == 0)
		return;
	rule = add_rule(builder, "nat_output", "mcseald's own connections: no loop");
	numbered(rule, STATEMENT_MARK, builder->config->mark);
	counted(rule, STATEMENT_RETURN);
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
		add_own_mark_rule(builder);
	for (size_t i = 0; i < config->edge_count; i++) {
		if (config->edges[i].transparent)
			add_edge(builder, &config->edges[i]);
	}
	add_listener_rules(builder);
	for (size_t i = 0; i < config->gateway_count; i++)
		add_gateway(builder, &config->gateways[i]);
}

/* --- the guard -------------------------------------------------------------------------- */

/* Where the guard sends what must not leave. */
static void add_refusal(const struct builder *builder, const char *chain, const char *prefix,
			const char *what)
{
	struct rule *rule;

	table_add_chain(builder->ruleset, builder->table, chain, NULL);
	if (builder->plan->observe) {
		rule = add_rule(builder, chain, "would be redirected, not blocked");
		numbered(rule, STATEMENT_CT_MARK, builder->config->nft.divert_mark);
		counted(rule, STATEMENT_RETURN);
		plain(chain_add_rule(builder->ruleset, chain_named(builder, chain),
				     PLAN_WOULD_BLOCK ": %s", what),
		      STATEMENT_COUNTER);
		add_log(builder, chain, "mcseal-would-block: ");
		return;
	}
	add_log(builder, chain, prefix);
	rule = chain_add_rule(builder->ruleset, chain_named(builder, chain),
			      "%s: TCP is told at once", what);
	protocol(rule, IPPROTO_TCP);
	counted(rule, STATEMENT_RESET);
	counted(chain_add_rule(builder->ruleset, chain_named(builder, chain), "%s: UDP and others",
			       what),
		STATEMENT_DROP);
}

/* What edges protect: destinations of their routes, redirected or not, over TCP and UDP. */
static void add_protected_plcs(struct builder *builder)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	static const char *const hooks[] = {"output", "forward"};

	add_refusal(builder, "refuse_plain", "mcseal-plain-blocked: ", "plain MC");
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct blocks blocks = {0};
		char name[NAME_SIZE];

		for (size_t j = 0; j < builder->config->edge_count; j++)
			builder->ruleset->failed |=
				edge_blocks(&builder->config->edges[j], families[i], &blocks) < 0;
		make_name(name, "plc%c", digit(families[i]));
		if (blocks.count > 0)
			add_cover_set(builder, name, families[i], &blocks, true,
				      "PLCs that are reached through mcseald only");
		for (size_t j = 0; blocks.count > 0 && j < ARRAY_SIZE(hooks); j++) {
			for (size_t k = 0; k < ARRAY_SIZE(protocols); k++) {
				struct rule *rule =
					add_rule(builder, hooks[j], "to a protected PLC");

				destination(rule, families[i], protocols[k],
					    set_named(builder, name));
				counted_to(builder, rule, STATEMENT_GOTO, "refuse_plain");
			}
		}
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
	struct rule *rule = add_rule(builder, chain, "ping");

	protocol(rule, IPPROTO_ICMP);
	counted(rule, STATEMENT_ACCEPT);
	rule = add_rule(builder, chain, "ping and neighbour discovery");
	protocol(rule, IPPROTO_ICMPV6);
	counted(rule, STATEMENT_ACCEPT);
	rule = add_rule(builder, chain, "answers to what a PLC asked");
	plain(rule, STATEMENT_ESTABLISHED);
	plain(rule, STATEMENT_REPLY);
	counted(rule, STATEMENT_ACCEPT);
}

static void add_plant_chains(const struct builder *builder)
{
	const struct config *config = builder->config;
	struct rule *rule;

	table_add_chain(builder->ruleset, builder->table, "local_to_plc", NULL);
	rule = add_rule(builder, "local_to_plc", "to this machine itself");
	plain(rule, STATEMENT_LOOPBACK);
	counted(rule, STATEMENT_ACCEPT);
	add_plant_exceptions(builder, "local_to_plc");
	rule = add_rule(builder, "local_to_plc", "mcseald's connection, known");
	plain(rule, STATEMENT_ESTABLISHED);
	numbered(rule, STATEMENT_CT_MARK, config->nft.flow_mark);
	counted(rule, STATEMENT_ACCEPT);
	rule = add_rule(builder, "local_to_plc", "mcseald's packet: marks its connection");
	numbered(rule, STATEMENT_MARK, config->mark);
	numbered(rule, STATEMENT_SET_CT_MARK, config->nft.flow_mark);
	counted(rule, STATEMENT_ACCEPT);
	counted_to(builder, add_rule(builder, "local_to_plc", "everything else"), STATEMENT_GOTO,
		   "refuse_plc");
	table_add_chain(builder->ruleset, builder->table, "through_to_plc", NULL);
	add_plant_exceptions(builder, "through_to_plc");
	counted_to(builder, add_rule(builder, "through_to_plc", "everything else"), STATEMENT_GOTO,
		   "refuse_plc");
}

/* What gateways protect: the PLCs' networks, every port, from this machine and through it. */
static void add_plant(struct builder *builder)
{
	static const char *const hooks[][2] = {{"output", "local_to_plc"},
					       {"forward", "through_to_plc"}};

	add_refusal(builder, "refuse_plc", "mcseal-plc-blocked: ", "to a PLC, not from mcseald");
	add_plant_chains(builder);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct blocks blocks = {0};
		char name[NAME_SIZE];

		builder->ruleset->failed |= plant_blocks(builder->config, families[i], &blocks) < 0;
		make_name(name, "plant%c", digit(families[i]));
		if (blocks.count > 0)
			add_cover_set(builder, name, families[i], &blocks, false,
				      "where the PLCs of this gateway are");
		for (size_t j = 0; blocks.count > 0 && j < ARRAY_SIZE(hooks); j++) {
			struct rule *rule = add_rule(builder, hooks[j][0], "to the PLCs");

			address(rule, families[i], false, set_named(builder, name));
			counted_to(builder, rule, STATEMENT_GOTO, hooks[j][1]);
		}
		blocks_deinit(&blocks);
	}
}

/*
 * On a machine that is both, the gateway's part comes first: the daemon itself may reach what the
 * edge's part keeps from everybody.
 */
static void add_guard(struct builder *builder)
{
	const struct config *config = builder->config;

	builder->table = ruleset_add_table(builder->ruleset, TABLE_GUARD,
					   "mcseal guard: no plain MC leaves this machine");
	table_add_chain(builder->ruleset, builder->table, "output", &hook_output);
	table_add_chain(builder->ruleset, builder->table, "forward", &hook_forward);
	if (config->gateway_count > 0 && config->mark == 0)
		refuse(builder, config->gateways[0].line,
		       "gateway \"%s\": the rules know mcseald's connections to PLCs by their "
		       "mark, expected mark = ... at the top level, not 0",
		       config->gateways[0].name);
	if (config->gateway_count > 0)
		add_plant(builder);
	if (config->edge_count > 0)
		add_protected_plcs(builder);
}

int plan_build(const struct config *config, bool observe, FILE *report, struct plan *plan)
{
	struct builder builder = {.config = config, .plan = plan, .report = report};

	*plan = (struct plan){.observe = observe};
	builder.ruleset = &plan->ruleset;
	add_guard(&builder);
	add_managed(&builder);
	if (plan->ruleset.failed)
		return -ENOMEM;
	return builder.refused ? -EINVAL : 0;
}

void plan_deinit(struct plan *plan)
{
	ruleset_deinit(&plan->ruleset);
}
