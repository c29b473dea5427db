/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_compare.h"

#include <stdio.h>
#include <string.h>

static bool same_addresses(const struct address *now, size_t now_count, const struct address *then,
			   size_t then_count)
{
	bool same = now_count == then_count;

	for (size_t i = 0; i < now_count && same; i++)
		same = address_equal(&now[i], &then[i]);
	return same;
}

/* What differs between two edges of one name, or NULL. */
static const char *edge_difference(const struct config_edge *now, const struct config_edge *then)
{
	if (!same_addresses(now->listen, now->listen_count, then->listen, then->listen_count))
		return "listen";
	if (now->transparent != then->transparent)
		return "transparent";
	return now->interception != then->interception ? "interception" : NULL;
}

static bool tell(char *text, size_t size, const char *kind, const char *name, const char *what)
{
	snprintf(text, size, "%s \"%s\": %s", kind, name, what);
	return false;
}

static bool same_edges(const struct config *now, const struct config *then, char *text, size_t size)
{
	for (size_t i = 0; i < now->edge_count; i++) {
		const struct config_edge *edge = &now->edges[i], *other = &then->edges[i];
		const char *difference;

		if (i >= then->edge_count || strcmp(edge->name, other->name) != 0)
			return tell(text, size, "edge", edge->name, "is no more, or elsewhere");
		difference = edge_difference(edge, other);
		if (difference != NULL)
			return tell(text, size, "edge", edge->name, difference);
	}
	if (then->edge_count > now->edge_count)
		return tell(text, size, "edge", then->edges[now->edge_count].name, "is new");
	return true;
}

static bool same_gateways(const struct config *now, const struct config *then, char *text,
			  size_t size)
{
	for (size_t i = 0; i < now->gateway_count; i++) {
		const struct config_gateway *gateway = &now->gateways[i];
		const struct config_gateway *other = &then->gateways[i];

		if (i >= then->gateway_count || strcmp(gateway->name, other->name) != 0)
			return tell(text, size, "gateway", gateway->name,
				    "is no more, or elsewhere");
		if (!same_addresses(gateway->listen, gateway->listen_count, other->listen,
				    other->listen_count))
			return tell(text, size, "gateway", gateway->name, "listen");
	}
	if (then->gateway_count > now->gateway_count)
		return tell(text, size, "gateway", then->gateways[now->gateway_count].name,
			    "is new");
	return true;
}

bool config_compare_listeners(const struct config *now, const struct config *then, char *text,
			      size_t size)
{
	return same_edges(now, then, text, size) && same_gateways(now, then, text, size);
}

static bool same_strings(const struct config_strings *now, const struct config_strings *then)
{
	bool same = now->count == then->count;

	for (size_t i = 0; i < now->count && same; i++)
		same = strcmp(now->items[i], then->items[i]) == 0;
	return same;
}

const char *config_compare_start(const struct config *now, const struct config *then)
{
	if (now->workers != then->workers)
		return "workers";
	if (now->engine != then->engine)
		return "engine";
	if (now->ktls != then->ktls)
		return "ktls";
	if (now->confine != then->confine)
		return "confine";
	if (!same_strings(&now->confine_folders, &then->confine_folders))
		return "confine_folders";
	return now->limits.handshakes != then->limits.handshakes ? "limits.handshakes" : NULL;
}
