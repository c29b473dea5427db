/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gateways: who may dial them. */
#include "plan_part.h"

#include <netinet/in.h>

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
		builder_cover_set(builder, name, family, &blocks, true,
				  "where this gateway listens");
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
		builder_cover_set(builder, name, family, &blocks, false, "edges and clients");
	blocks_deinit(&blocks);
}

static void add_admission(struct builder *builder, const struct config_gateway *gateway, int family,
			  const char *chain)
{
	char name[BUILDER_NAME_SIZE];
	struct rule *rule;

	builder_name(name, "gateway/%s/clients%c", gateway->name, builder_digit(family));
	add_gateway_clients(builder, gateway, family, name);
	if (builder_set(builder, name) != NULL) {
		rule = builder_rule(builder, chain,
				    family == AF_INET ? "listed client, IPv4"
						      : "listed client, IPv6");
		rule_address(rule, family, true, builder_set(builder, name));
		rule_counted(rule, STATEMENT_ACCEPT);
	}
	builder_name(name, "gateway/%s/listen%c", gateway->name, builder_digit(family));
	add_gateway_listeners(builder, gateway, family, name);
	if (builder_set(builder, name) != NULL) {
		rule = chain_add_rule(builder->ruleset, builder_chain(builder, "input"),
				      "gateway %s, IPv%c", gateway->name, builder_digit(family));
		rule_destination(rule, family, IPPROTO_TCP, builder_set(builder, name));
		builder_counted_to(builder, rule, STATEMENT_JUMP, chain);
	}
}

void plan_gateway_add(struct builder *builder, const struct config_gateway *gateway)
{
	char chain[BUILDER_NAME_SIZE];
	struct rule *rule;

	if (gateway->client_count == 0)
		return;
	builder_name(chain, "gateway/%s", gateway->name);
	table_add_chain(builder->ruleset, builder->table, chain, NULL);
	rule = builder_rule(builder, chain, "connections that stand");
	rule_plain(rule, STATEMENT_ESTABLISHED);
	rule_counted(rule, STATEMENT_ACCEPT);
	for (size_t i = 0; i < BUILDER_FAMILIES; i++)
		add_admission(builder, gateway, builder_families[i], chain);
	if (builder->plan->observe) {
		rule_plain(builder_rule(builder, chain, "would be dropped: not listed"),
			   STATEMENT_COUNTER);
		builder_log(builder, chain, "mcseal-would-deny: ");
		return;
	}
	builder_log(builder, chain, "mcseal-tls-denied: ");
	rule_counted(builder_rule(builder, chain, "not listed"), STATEMENT_DROP);
}
