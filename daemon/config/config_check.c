/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each rule is one function over the whole struct. Values that were refused already are missing
 * here (NULL, AF_UNSPEC, a short list): a rule says nothing about what is not there, so that one
 * mistake gives one message.
 */
#include "config/config_check.h"

#include "base/error.h"
#include "config/config_policy.h"
#include "config/config_value.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static bool same_text(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static const char *shown(const char *name)
{
	return name ? name : "?";
}

static bool is_set(const struct address *address)
{
	return address->any.sa_family != AF_UNSPEC;
}

static void report_twice(struct config_report *report, const char *section, const char *name,
			 int line, int first)
{
	config_report_error(report, line,
			    "%s \"%s\" stands here a second time (first in line %d), expected "
			    "another name",
			    section, name, first);
}

/* --- PLCs ---------------------------------------------------------------------------------- */

static void check_plc_ports(const struct config_plc *plc, struct config_report *report)
{
	if (plc->port_count == 0)
		config_report_error(report, plc->line,
				    "plc \"%s\" has no port, expected port \"5007\" { } or alike",
				    shown(plc->name));
	for (size_t i = 0; i < plc->port_count; i++) {
		const struct config_port *port = &plc->ports[i];
		const struct config_port *first = config_find_port(plc, port->number);

		if (port->number != 0 && first != port)
			config_report_error(report, port->line,
					    "port %u of plc \"%s\" stands here a second time "
					    "(first in line %d), expected once",
					    port->number, shown(plc->name), first->line);
		if (port->protocol == CONFIG_PROTOCOL_OPAQUE && port->identities_line == 0)
			config_report_error(report, port->line,
					    "port %u of plc \"%s\" is opaque for nobody, expected "
					    "identities = { ... }",
					    port->number, shown(plc->name));
		if (port->protocol != CONFIG_PROTOCOL_OPAQUE && port->identities_line != 0)
			config_report_error(report, port->identities_line,
					    "identities: only a port with protocol = opaque has "
					    "them, expected plcs in the identity instead");
	}
}

static void check_plc_password(const struct config_plc *plc, struct config_report *report)
{
	bool held = plc->remote_password == CONFIG_PASSWORD_GATEWAY;

	if (held && plc->password_file_line == 0)
		config_report_error(report, plc->password_line,
				    "plc \"%s\": remote_password = gateway without the password, "
				    "expected remote_password_file = /...",
				    shown(plc->name));
	if (!held && plc->password_file_line != 0)
		config_report_error(report, plc->password_file_line,
				    "plc \"%s\": remote_password_file is for remote_password = "
				    "gateway, expected both or none",
				    shown(plc->name));
}

static const struct config_port *shared_port(const struct config_plc *a, const struct config_plc *b)
{
	for (size_t i = 0; i < a->port_count; i++) {
		if (a->ports[i].number != 0 && config_find_port(b, a->ports[i].number))
			return &a->ports[i];
	}
	return NULL;
}

/* A PROXY header names an address and a port: they must mean one PLC. */
static void check_plc_pair(const struct config_plc *earlier, const struct config_plc *plc,
			   struct config_report *report)
{
	char text[ADDRESS_TEXT_SIZE];
	const struct config_port *port = shared_port(plc, earlier);

	if (same_text(earlier->name, plc->name))
		report_twice(report, "plc", plc->name, plc->line, earlier->line);
	if (port && is_set(&plc->address) && address_same_host(&plc->address, &earlier->address))
		config_report_error(report, port->line,
				    "plc \"%s\" and plc \"%s\" (line %d) are both %s port %u, "
				    "expected one plc for it",
				    shown(plc->name), shown(earlier->name), earlier->line,
				    address_print_host(&plc->address, text), port->number);
}

static bool answers_to(const struct config_plc *plc, const char *name)
{
	const struct config only = {.plcs = (struct config_plc *)plc, .plc_count = 1};

	return config_find_plc_by_sni(&only, name) != NULL;
}

static void check_plc_names(const struct config_plc *earlier, const struct config_plc *plc,
			    struct config_report *report)
{
	bool twice =
		plc->name && answers_to(earlier, plc->name) && !same_text(plc->name, earlier->name);

	for (size_t i = 0; i < plc->sni.count && !twice; i++)
		twice = answers_to(earlier, plc->sni.items[i]);
	if (twice)
		config_report_error(report, plc->line,
				    "plc \"%s\" and plc \"%s\" (line %d) answer to the same SNI "
				    "name, expected names of its own (capitals do not count)",
				    shown(plc->name), shown(earlier->name), earlier->line);
}

static void check_plcs(const struct config *config, struct config_report *report)
{
	for (size_t i = 0; i < config->plc_count; i++) {
		check_plc_ports(&config->plcs[i], report);
		check_plc_password(&config->plcs[i], report);
		for (size_t j = 0; j < i; j++) {
			check_plc_pair(&config->plcs[j], &config->plcs[i], report);
			check_plc_names(&config->plcs[j], &config->plcs[i], report);
		}
	}
}

/* --- identities ----------------------------------------------------------------------------- */

static const struct config_identity *find_identity(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->identity_count; i++) {
		if (same_text(config->identities[i].name, name))
			return &config->identities[i];
	}
	return NULL;
}

static void check_identity_plcs(const struct config *config, const struct config_identity *identity,
				struct config_report *report)
{
	for (size_t i = 0; i < identity->plcs.count; i++) {
		const char *name = identity->plcs.items[i];

		if (strcmp(name, "*") != 0 && !config_find_plc(config, name))
			config_report_error(report, identity->plcs_line,
					    "plcs: there is no plc \"%s\", expected the name of "
					    "a plc section or \"*\"",
					    name);
	}
}

/* The first match of the file wins, so the same entry further down never counts. */
static void check_identity_pair(const struct config_identity *earlier,
				const struct config_identity *identity,
				struct config_report *report)
{
	if (same_text(earlier->name, identity->name))
		report_twice(report, "identity", identity->name, identity->line, earlier->line);
	for (size_t i = 0; i < identity->match_count * earlier->match_count; i++) {
		const struct config_match *match = &identity->matches[i / earlier->match_count];
		const struct config_match *taken = &earlier->matches[i % earlier->match_count];

		if (match->kind == taken->kind && strcmp(match->value, taken->value) == 0)
			config_report_error(report, identity->line,
					    "identity \"%s\" matches '%s' as identity \"%s\" "
					    "(line %d) does, expected it in one identity only",
					    shown(identity->name), match->value,
					    shown(earlier->name), earlier->line);
	}
}

static void check_identities(const struct config *config, struct config_report *report)
{
	for (size_t i = 0; i < config->identity_count; i++) {
		check_identity_plcs(config, &config->identities[i], report);
		for (size_t j = 0; j < i; j++)
			check_identity_pair(&config->identities[j], &config->identities[i], report);
	}
}

static void check_port_identities(const struct config *config, const struct config_port *port,
				  struct config_report *report)
{
	for (size_t i = 0; i < port->identities.count; i++) {
		const char *name = port->identities.items[i];

		if (!find_identity(config, name))
			config_report_error(report, port->identities_line,
					    "identities: there is no identity \"%s\", expected "
					    "the name of an identity section",
					    name);
	}
}

static void check_opaque(const struct config *config, struct config_report *report)
{
	for (size_t i = 0; i < config->plc_count; i++) {
		for (size_t j = 0; j < config->plcs[i].port_count; j++)
			check_port_identities(config, &config->plcs[i].ports[j], report);
	}
}

/* --- what the rules keep together ----------------------------------------------------------- */

static bool in_networks(const struct config_nft *nft, const struct address *address)
{
	for (size_t i = 0; i < nft->plc_network_count; i++) {
		if (address_in_prefix(address, &nft->plc_networks[i]))
			return true;
	}
	return nft->plc_network_count == 0;
}

/* The rules tell flows apart by these marks: each must mean one thing. */
static void check_marks(const struct config *config, struct config_report *report)
{
	const struct config_nft *nft = &config->nft;

	if (nft->flow_mark == 0)
		config_report_error(report, nft->flow_mark_line,
				    "flow_mark: 0 is the mark of every connection, expected "
				    "another");
	if (nft->divert_mark == 0 || nft->divert_mark == config->mark)
		config_report_error(report, nft->divert_mark_line,
				    "divert_mark: it is that of other packets, too, expected "
				    "neither 0 nor the mark of the top level");
}

static void check_nft(const struct config *config, struct config_report *report)
{
	const struct config_nft *nft = &config->nft;
	char text[ADDRESS_TEXT_SIZE];

	check_marks(config, report);
	for (size_t i = 0; i < config->plc_count; i++) {
		const struct config_plc *plc = &config->plcs[i];

		if (is_set(&plc->address) && !in_networks(nft, &plc->address))
			config_report_error(report, nft->plc_networks_line,
					    "plc_networks: %s of plc \"%s\" (line %d) is in none "
					    "of them, expected the networks of all PLCs",
					    address_print_host(&plc->address, text),
					    shown(plc->name), plc->line);
	}
}

/* --- gateways ------------------------------------------------------------------------------- */

static void warn_crl(const struct config_credentials *credentials, const char *section,
		     const char *name, int line, struct config_report *report)
{
	if (credentials->certificate && !credentials->crl)
		config_report_warning(report, line,
				      "%s \"%s\" has no crl: a revoked certificate passes until it "
				      "expires",
				      section, shown(name));
}

static void check_fixed_plc(const struct config *config, struct config_gateway *gateway,
			    struct config_report *report)
{
	if (!gateway->fixed_plc) {
		if (gateway->plc_port_line != 0)
			config_report_error(report, gateway->plc_port_line,
					    "plc_port: this gateway has no plc, expected "
					    "plc = NAME with it");
		return;
	}
	gateway->plc = config_find_plc(config, gateway->fixed_plc);
	if (!gateway->plc)
		config_report_error(report, gateway->plc_line,
				    "plc: there is no plc \"%s\", expected the name of a plc "
				    "section",
				    gateway->fixed_plc);
	else if (gateway->fixed_port != 0 && !config_find_port(gateway->plc, gateway->fixed_port))
		config_report_error(report, gateway->plc_port_line,
				    "plc_port: plc \"%s\" has no port %u, expected one of its "
				    "ports",
				    gateway->fixed_plc, gateway->fixed_port);
}

static void check_gateway(const struct config *config, struct config_gateway *gateway,
			  struct config_report *report)
{
	check_fixed_plc(config, gateway, report);
	warn_crl(&gateway->credentials, "gateway", gateway->name, gateway->line, report);
	if (config->plc_count == 0 && !gateway->fixed_plc)
		config_report_error(report, gateway->line,
				    "gateway \"%s\" leads nowhere: there is no plc, expected "
				    "plc \"NAME\" { ... } in the file",
				    shown(gateway->name));
	if (config->identity_count == 0)
		config_report_error(report, gateway->line,
				    "gateway \"%s\" lets nobody in: there is no identity, expected "
				    "identity \"NAME\" { ... } in the file",
				    shown(gateway->name));
}

static void check_gateways(struct config *config, struct config_report *report)
{
	for (size_t i = 0; i < config->gateway_count; i++) {
		const struct config_gateway *gateway = &config->gateways[i];

		check_gateway(config, &config->gateways[i], report);
		for (size_t j = 0; j < i; j++) {
			if (same_text(config->gateways[j].name, gateway->name))
				report_twice(report, "gateway", gateway->name, gateway->line,
					     config->gateways[j].line);
		}
	}
}

/* --- edges ---------------------------------------------------------------------------------- */

/* Redirected unless there is a fixed destination; both or neither is a contradiction. */
static void check_target(struct config_edge *edge, struct config_report *report)
{
	char text[ADDRESS_TEXT_SIZE];

	if (edge->transparent_line == 0)
		edge->transparent = edge->destination_line == 0;
	if (edge->transparent && edge->destination_line != 0)
		config_report_error(report, edge->destination_line,
				    "destination: a transparent edge takes the one the client "
				    "dialled, expected either destination or transparent = yes");
	if (!edge->transparent && edge->destination_line == 0)
		config_report_error(report, edge->line,
				    "edge \"%s\" has no target, expected destination = "
				    "\"ADDRESS:PORT\" or transparent = yes",
				    shown(edge->name));
	if (is_set(&edge->destination) && edge->route_count > 0 &&
	    !config_find_route(edge, &edge->destination))
		config_report_error(report, edge->destination_line,
				    "destination: %s is in no route of this edge, expected it in "
				    "the destinations of one",
				    address_print(&edge->destination, text));
}

/* Only what is redirected comes by an interface; see docs/nft.md. */
static void check_interception(const struct config_edge *edge, struct config_report *report)
{
	if (!edge->transparent) {
		if (edge->interception != CONFIG_INTERCEPTION_REDIRECT)
			config_report_error(report, edge->interception_line,
					    "interception: nothing is redirected to an edge with a "
					    "destination, expected it with transparent = yes only");
		if (edge->interfaces_line != 0)
			config_report_error(report, edge->interfaces_line,
					    "interfaces: nothing is redirected to an edge with a "
					    "destination, expected them with transparent = yes "
					    "only");
		return;
	}
	if (edge->interception == CONFIG_INTERCEPTION_TPROXY && config_edge_is_local(edge))
		config_report_error(report,
				    edge->interfaces_line ? edge->interfaces_line
							  : edge->interception_line,
				    "interception: tproxy cannot take the connections of this "
				    "machine's own programs, expected interfaces = { ... } without "
				    "\"" CONFIG_LOCAL "\", or another edge with redirect for them");
}

static int copy_if_missing(char **to, const char *from)
{
	if (*to || !from)
		return 0;
	return config_value_copy(from, to);
}

static int check_source(const struct config_edge *edge, struct config_source *source,
			struct config_report *report)
{
	struct config_credentials *own = &source->credentials;

	if (source->address_count + source->user_count + source->cgroups.count == 0)
		config_report_error(report, source->line,
				    "source \"%s\" names nobody, expected addresses, users or "
				    "cgroups",
				    shown(source->name));
	if (!own->certificate != !own->key)
		config_report_error(report, source->line,
				    "source \"%s\" has only one of certificate and key, expected "
				    "both or none",
				    shown(source->name));
	if (!own->certificate) {
		if (own->ca || own->crl)
			config_report_error(report, source->line,
					    "source \"%s\" has a ca or crl but no certificate, "
					    "expected its own certificate and key, too",
					    shown(source->name));
		return 0;
	}
	/* A crl belongs to its ca: the edge's is not for another ca. */
	if (!own->ca && copy_if_missing(&own->crl, edge->credentials.crl) < 0)
		return -ENOMEM;
	return copy_if_missing(&own->ca, edge->credentials.ca);
}

static int check_sources(struct config_edge *edge, struct config_report *report)
{
	int error = 0;

	if (edge->source_count == 0)
		config_report_error(report, edge->line,
				    "edge \"%s\" has no source: any neighbour would act under its "
				    "certificate, expected source \"NAME\" { ... }",
				    shown(edge->name));
	for (size_t i = 0; i < edge->source_count && error == 0; i++) {
		const struct config_source *source = &edge->sources[i];

		error = check_source(edge, &edge->sources[i], report);
		for (size_t j = 0; j < i; j++) {
			if (same_text(edge->sources[j].name, source->name))
				report_twice(report, "source", source->name, source->line,
					     edge->sources[j].line);
		}
	}
	return error;
}

static bool ranges_overlap(const struct config_destination *a, const struct config_destination *b)
{
	return a->first_port <= b->last_port && b->first_port <= a->last_port &&
	       (address_in_prefix(&a->addresses.base, &b->addresses) ||
		address_in_prefix(&b->addresses.base, &a->addresses));
}

static void check_route_pair(const struct config_route *earlier, const struct config_route *route,
			     struct config_report *report)
{
	bool overlap = false;

	if (same_text(earlier->name, route->name))
		report_twice(report, "route", route->name, route->line, earlier->line);
	for (size_t i = 0; i < route->destination_count; i++) {
		for (size_t j = 0; j < earlier->destination_count; j++)
			overlap |=
				ranges_overlap(&route->destinations[i], &earlier->destinations[j]);
	}
	if (overlap)
		config_report_warning(report, route->destinations_line,
				      "route \"%s\" and route \"%s\" (line %d) share destinations: "
				      "the first one carries them",
				      shown(route->name), shown(earlier->name), earlier->line);
}

/* What the edge sends to its gateway would be redirected to the edge again. */
static void check_loop(const struct config_edge *edge, const struct config_route *route,
		       struct config_report *report)
{
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < route->gateway_count; i++) {
		const struct config_route *loop = config_find_route(edge, &route->gateways[i]);

		if (loop)
			config_report_error(report, route->gateways_line,
					    "gateways: %s is among the destinations of route "
					    "\"%s\" (line %d), a loop, expected destinations "
					    "without the gateways",
					    address_print(&route->gateways[i], text),
					    shown(loop->name), loop->line);
	}
}

static void check_routes(const struct config_edge *edge, struct config_report *report)
{
	if (edge->route_count == 0)
		config_report_error(report, edge->line,
				    "edge \"%s\" has no route, expected route \"NAME\" { ... }",
				    shown(edge->name));
	for (size_t i = 0; i < edge->route_count; i++) {
		check_loop(edge, &edge->routes[i], report);
		for (size_t j = 0; j < i; j++)
			check_route_pair(&edge->routes[j], &edge->routes[i], report);
	}
}

static int check_edges(struct config *config, struct config_report *report)
{
	int error = 0;

	for (size_t i = 0; i < config->edge_count && error == 0; i++) {
		struct config_edge *edge = &config->edges[i];

		for (size_t j = 0; j < i; j++) {
			if (same_text(config->edges[j].name, edge->name))
				report_twice(report, "edge", edge->name, edge->line,
					     config->edges[j].line);
		}
		check_target(edge, report);
		check_interception(edge, report);
		check_routes(edge, report);
		warn_crl(&edge->credentials, "edge", edge->name, edge->line, report);
		error = check_sources(edge, report);
	}
	return error;
}

/* --- listeners ------------------------------------------------------------------------------ */

struct listener {
	const struct address *address;
	const char *section;
	const char *name;
	int line;
};

static bool is_any(const struct address *address)
{
	if (address->any.sa_family == AF_INET)
		return address->v4.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr);
}

/* Listeners are IPV6_V6ONLY: the families never meet. */
static bool listeners_overlap(const struct address *a, const struct address *b)
{
	return a->any.sa_family == b->any.sa_family && address_port(a) == address_port(b) &&
	       (is_any(a) || is_any(b) || address_same_host(a, b));
}

/* The n-th listener of the file, gateways first; false behind the last. */
static bool listener_at(const struct config *config, size_t n, struct listener *listener)
{
	for (size_t i = 0; i < config->gateway_count; i++) {
		const struct config_gateway *gateway = &config->gateways[i];

		if (n < gateway->listen_count) {
			*listener = (struct listener){&gateway->listen[n], "gateway", gateway->name,
						      gateway->listen_line};
			return true;
		}
		n -= gateway->listen_count;
	}
	for (size_t i = 0; i < config->edge_count; i++) {
		const struct config_edge *edge = &config->edges[i];

		if (n < edge->listen_count) {
			*listener = (struct listener){&edge->listen[n], "edge", edge->name,
						      edge->listen_line};
			return true;
		}
		n -= edge->listen_count;
	}
	return false;
}

static void check_listeners(const struct config *config, struct config_report *report)
{
	char text[ADDRESS_TEXT_SIZE];
	struct listener earlier;
	struct listener listener;

	for (size_t i = 0; listener_at(config, i, &listener); i++) {
		for (size_t j = 0; j < i && listener_at(config, j, &earlier); j++) {
			if (!listeners_overlap(listener.address, earlier.address))
				continue;
			config_report_error(report, listener.line,
					    "listen: %s of %s \"%s\" is taken by %s \"%s\" (line "
					    "%d), expected another address or port",
					    address_print(listener.address, text), listener.section,
					    shown(listener.name), earlier.section,
					    shown(earlier.name), earlier.line);
		}
	}
}

static void settle_profile(struct config_credentials *credentials, enum config_tls_profile general)
{
	if (credentials->tls_profile == CONFIG_TLS_DEFAULT)
		credentials->tls_profile = general;
}

static void settle_profiles(struct config *config)
{
	for (size_t i = 0; i < config->gateway_count; i++)
		settle_profile(&config->gateways[i].credentials, config->tls_profile);
	for (size_t i = 0; i < config->edge_count; i++) {
		struct config_edge *edge = &config->edges[i];

		settle_profile(&edge->credentials, config->tls_profile);
		for (size_t j = 0; j < edge->source_count; j++)
			edge->sources[j].credentials.tls_profile = edge->credentials.tls_profile;
	}
}

int config_check(struct config *config, struct config_report *report)
{
	if (config->edge_count == 0 && config->gateway_count == 0)
		config_report_error(report, 0,
				    "there is neither an edge nor a gateway, expected at least "
				    "one of them");
	settle_profiles(config);
	check_plcs(config, report);
	check_identities(config, report);
	config_policy_check(config, report);
	check_opaque(config, report);
	check_nft(config, report);
	check_gateways(config, report);
	check_listeners(config, report);
	return check_edges(config, report);
}
