/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include "base/error.h"

#include <string.h>
#include <strings.h>

static bool has_string(const struct config_strings *strings, const char *text)
{
	for (size_t i = 0; i < strings->count; i++) {
		if (strcmp(strings->items[i], text) == 0)
			return true;
	}
	return false;
}

const struct config_plc *config_find_plc(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->plc_count; i++) {
		const struct config_plc *plc = &config->plcs[i];

		if (plc->name && strcmp(plc->name, name) == 0)
			return plc;
	}
	return NULL;
}

static bool answers_to(const struct config_plc *plc, const char *name)
{
	if (plc->name && strcasecmp(plc->name, name) == 0)
		return true;
	for (size_t i = 0; i < plc->sni.count; i++) {
		if (strcasecmp(plc->sni.items[i], name) == 0)
			return true;
	}
	return false;
}

const struct config_plc *config_find_plc_by_sni(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->plc_count; i++) {
		if (answers_to(&config->plcs[i], name))
			return &config->plcs[i];
	}
	return NULL;
}

const struct config_plc *config_find_plc_by_address(const struct config *config,
						    const struct address *address,
						    const struct config_port **port)
{
	uint16_t number = address_port(address);

	for (size_t i = 0; i < config->plc_count && number != 0; i++) {
		const struct config_plc *plc = &config->plcs[i];
		const struct config_port *found = config_find_port(plc, number);

		if (found && address_same_host(&plc->address, address)) {
			*port = found;
			return plc;
		}
	}
	return NULL;
}

const struct config_port *config_find_port(const struct config_plc *plc, uint16_t number)
{
	for (size_t i = 0; i < plc->port_count; i++) {
		if (number == 0 || plc->ports[i].number == number)
			return &plc->ports[i];
	}
	return NULL;
}

static bool leads_to(const struct config_route *route, const struct address *destination)
{
	uint16_t port = address_port(destination);

	for (size_t i = 0; i < route->destination_count; i++) {
		const struct config_destination *range = &route->destinations[i];

		if (port >= range->first_port && port <= range->last_port &&
		    address_in_prefix(destination, &range->addresses))
			return true;
	}
	return false;
}

const struct config_route *config_find_route(const struct config_edge *edge,
					     const struct address *destination)
{
	for (size_t i = 0; i < edge->route_count; i++) {
		if (leads_to(&edge->routes[i], destination))
			return &edge->routes[i];
	}
	return NULL;
}

enum config_ktls config_ktls(const struct config *config, const struct config_edge *edge,
			     const struct config_gateway *gateway)
{
	enum config_ktls own = edge ? edge->ktls : gateway->ktls;

	return own == CONFIG_KTLS_DEFAULT ? config->ktls : own;
}

bool config_identity_may(const struct config_identity *identity, const struct config_plc *plc,
			 const struct config_port *port)
{
	if (!has_string(&identity->plcs, "*") && !has_string(&identity->plcs, plc->name))
		return false;
	return port->protocol != CONFIG_PROTOCOL_OPAQUE ||
	       has_string(&port->identities, identity->name);
}

bool config_edge_is_local(const struct config_edge *edge)
{
	return edge->interfaces.count == 0 || has_string(&edge->interfaces, CONFIG_LOCAL);
}
