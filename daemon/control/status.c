/* SPDX-License-Identifier: Apache-2.0 */
#include "control/status.h"

#include "base/error.h"
#include "base/log.h"
#include "control/drains.h"
#include "control/plant_view.h"
#include "tls/digest.h"
#include "tls/tls_profile.h"

#include <errno.h>
#include <jansson.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* All of these give references away; NULL is no memory, and json_pack() then is NULL, too. */

static json_t *time_text(time_t when)
{
	char text[32];
	struct tm utc;

	gmtime_r(&when, &utc);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return json_string(text);
}

static json_t *addresses_of(const struct address *addresses, size_t count)
{
	json_t *list = json_array();
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(address_print(&addresses[i], text)));
	return list;
}

/* --- what it can ---------------------------------------------------------------------------- */

/* Of what is there: does anything use it, and why, or why not? */
struct use {
	bool used;
	const char *why;
};

static struct use use_of_ktls(const struct config *config)
{
	for (size_t i = 0; i < config->edge_count; i++)
		if (config_ktls(config, &config->edges[i], NULL) != CONFIG_KTLS_OFF)
			return (struct use){true, "sessions give their keys to the kernel"};
	for (size_t i = 0; i < config->gateway_count; i++)
		if (config_ktls(config, NULL, &config->gateways[i]) != CONFIG_KTLS_OFF)
			return (struct use){true, "sessions give their keys to the kernel"};
	return (struct use){false, "ktls = off"};
}

static struct use use_of(enum capability capability, const struct capabilities *capabilities,
			 const struct config *config)
{
	const char *relay = capabilities->relay_why;

	switch (capability) {
	case CAPABILITY_URING:
		return (struct use){capabilities->loop == RING_ENGINE_URING,
				    capabilities->loop_why};
	case CAPABILITY_URING_SPLICE:
		return (struct use){capabilities->relay == RELAY_ENGINE_URING_SPLICE,
				    capabilities->relay != RELAY_ENGINE_SPLICE
					    ? relay
					    : "engine = uring-splice asks for it"};
	case CAPABILITY_SAFE_SPLICE:
	case CAPABILITY_PIPES:
		return (struct use){capabilities->relay != RELAY_ENGINE_COPY, relay};
	default: /* kernel TLS and what it is made of */
		if (!capabilities->findings[CAPABILITY_KTLS].there)
			return (struct use){false, "no kernel TLS"};
		return use_of_ktls(config);
	}
}

static json_t *capabilities_of(const struct capabilities *capabilities, const struct config *config)
{
	json_t *all = json_object();

	for (int i = 0; i < CAPABILITIES; i++) {
		const struct capability_finding *finding = &capabilities->findings[i];
		struct use use = use_of((enum capability)i, capabilities, config);

		if (!finding->there)
			use = (struct use){false, finding->why};
		json_object_set_new(all, capability_name((enum capability)i),
				    json_pack("{s:b, s:b, s:s}", "there", finding->there, "used",
					      use.used, "why", use.why));
	}
	return all;
}

static json_t *confinement_of(const struct confinement *confinement)
{
	json_t *all = json_object();

	for (int i = 0; i < CONFINE_LAYERS; i++) {
		const struct confine_finding *finding = &confinement->layers[i];

		json_object_set_new(all, confine_layer_name((enum confine_layer)i),
				    json_pack("{s:b, s:s}", "in_force", finding->in_force, "what",
					      finding->what));
	}
	return all;
}

static json_t *engine_of(const struct capabilities *capabilities)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "loop", ring_engine_name(capabilities->loop),
			 "loop_why", capabilities->loop_why, "relay",
			 relay_engine_name(capabilities->relay), "relay_why",
			 capabilities->relay_why);
}

/* --- whom it serves ------------------------------------------------------------------------- */

static json_t *certificate_of(const char *file, const struct tls_context *context, time_t now)
{
	time_t expires = tls_context_expires(context);

	return json_pack("{s:s, s:o, s:I}", "file", file, "expires", time_text(expires), "days",
			 (json_int_t)((expires - now) / (24 * 3600)));
}

static json_t *tls_of(enum config_tls_profile chosen)
{
	const struct tls_profile *profile = tls_profile_of(chosen);
	bool old = profile->oldest == TLS1_2_VERSION;

	return json_pack("{s:s, s:s, s:s, s:s?, s:s, s:s?, s:i}", "profile", profile->name,
			 "versions", tls_profile_versions(profile), "suites", profile->suites_13,
			 "suites_tls12", old ? profile->suites_12 : NULL, "groups", profile->groups,
			 "signatures", profile->signatures, "strength", profile->strength);
}

/* Takes `listener`, which may be NULL; says whether it takes connections. */
static json_t *with_drain(json_t *listener, const struct drains *drains,
			  const struct config_edge *edge, const struct config_gateway *gateway)
{
	int64_t left;
	bool drained = drains_has(drains, edge, gateway, &left);

	json_object_set_new(listener, "draining", json_boolean(drained));
	json_object_set_new(listener, "drain_seconds_left",
			    left < 0 ? json_null() : json_integer(left));
	return listener;
}

static json_t *gateways_of(const struct snapshot *snapshot, const struct drains *drains, time_t now)
{
	json_t *list = json_array();

	for (size_t i = 0; i < snapshot->config->gateway_count; i++) {
		const struct config_gateway *gateway = &snapshot->config->gateways[i];
		json_t *one =
			json_pack("{s:s, s:o, s:b, s:o, s:o}", "name", gateway->name, "listen",
				  addresses_of(gateway->listen, gateway->listen_count), "inspect",
				  gateway->inspect, "tls", tls_of(gateway->credentials.tls_profile),
				  "certificate",
				  certificate_of(gateway->credentials.certificate,
						 snapshot->gateways[i], now));

		json_array_append_new(list, with_drain(one, drains, NULL, gateway));
	}
	return list;
}

static json_t *sources_of(const struct snapshot *snapshot, const struct config_edge *edge,
			  time_t now)
{
	json_t *list = json_array();

	for (size_t i = 0; i < edge->source_count; i++) {
		const struct config_source *source = &edge->sources[i];
		const char *own = source->credentials.certificate;

		json_array_append_new(
			list,
			json_pack("{s:s, s:o}", "name", source->name, "certificate",
				  certificate_of(own != NULL ? own : edge->credentials.certificate,
						 snapshot_source_context(snapshot, edge, source),
						 now)));
	}
	return list;
}

static json_t *edges_of(const struct snapshot *snapshot, const struct drains *drains, time_t now)
{
	json_t *list = json_array();

	for (size_t i = 0; i < snapshot->config->edge_count; i++) {
		const struct config_edge *edge = &snapshot->config->edges[i];
		json_t *one = json_pack("{s:s, s:o, s:o, s:o}", "name", edge->name, "listen",
					addresses_of(edge->listen, edge->listen_count), "tls",
					tls_of(edge->credentials.tls_profile), "sources",
					sources_of(snapshot, edge, now));

		json_array_append_new(list, with_drain(one, drains, edge, NULL));
	}
	return list;
}

/* --- and which PLCs ------------------------------------------------------------------------- */

static unsigned long long sum(atomic_ullong *counters, size_t count)
{
	unsigned long long all = 0;

	for (size_t i = 0; i < count; i++)
		all += atomic_load_explicit(&counters[i], memory_order_relaxed);
	return all;
}

static json_t *ports_of(const struct plant_view *view, const struct plant_plc *plc)
{
	json_t *list = json_array();

	for (size_t i = 0; i < view->port_count; i++) {
		unsigned int taken, count;

		if (view->ports[i].plc != plc)
			continue;
		plc_slots_count(view->ports[i].port->slots, &taken, &count);
		json_array_append_new(list, json_pack("{s:i, s:i, s:i}", "port",
						      (int)view->ports[i].port->number, "taken",
						      (int)taken, "connections", (int)count));
	}
	return list;
}

static json_t *identities_of(const struct plant_view *view, const struct plant_plc *plc)
{
	json_t *list = json_array();

	for (size_t i = 0; i < view->account_count; i++) {
		struct account *account = view->accounts[i].account;

		if (view->accounts[i].plc != plc)
			continue;
		json_array_append_new(
			list,
			json_pack("{s:s, s:i, s:I, s:I}", "identity", account->identity, "sessions",
				  (int)atomic_load(&account->sessions_open), "requests",
				  (json_int_t)sum(account->requests, MC_CLASSES), "refused",
				  (json_int_t)sum(account->refused, POLICY_RULES)));
	}
	return list;
}

static json_t *plc_of(const struct config_plc *plc, struct plant_plc *known,
		      const struct plant_view *view)
{
	char text[ADDRESS_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:o, s:i, s:o}", "name", plc->name, "address",
			 address_print_host(&plc->address, text), "ports", ports_of(view, known),
			 "password_tries_left",
			 (int)password_tries_left(&known->tries, clock_now()), "identities",
			 identities_of(view, known));
}

static json_t *plcs_of(const struct snapshot *snapshot, const struct plant_view *view)
{
	json_t *list = json_array();

	for (size_t i = 0; i < snapshot->config->plc_count; i++) {
		const struct config_plc *plc = &snapshot->config->plcs[i];

		json_array_append_new(list, plc_of(plc, plant_find(snapshot->plant, plc), view));
	}
	return list;
}

static json_t *configuration_of(const struct reload *running)
{
	const char *text = running->snapshot->config->text;
	char digest[DIGEST_TEXT_SIZE];

	return digest_print(text, strlen(text), digest) == 0 ? json_string(digest) : NULL;
}

int status_print(FILE *body, const struct control_context *context)
{
	const struct snapshot *snapshot = context->running->snapshot;
	struct plant_view view;
	json_t *status;
	time_t now = time(NULL);
	int error = plant_view_take(snapshot->plant, &view);

	if (error < 0)
		return error;
	status = json_pack(
		"{s:s, s:i, s:o, s:I, s:s, s:o, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}",
		"version", MCSEAL_VERSION, "pid", (int)getpid(), "started",
		time_text(context->started), "seconds", (json_int_t)(now - context->started),
		"configuration", context->running->path, "configuration_sha256",
		configuration_of(context->running), "log_level", log_level_name(log_get_level()),
		"workers", (int)context->running->worker_count, "sessions",
		(int)atomic_load(&context->counters->sessions), "engine",
		engine_of(context->capabilities), "capabilities",
		capabilities_of(context->capabilities, snapshot->config), "confinement",
		confinement_of(context->confinement), "gateways",
		gateways_of(snapshot, context->drains, now), "edges",
		edges_of(snapshot, context->drains, now), "plcs", plcs_of(snapshot, &view));
	plant_view_drop(&view);
	if (status == NULL || json_dumpf(status, body, JSON_INDENT(2)) < 0)
		error = -ENOMEM;
	fputc('\n', body);
	json_decref(status);
	return error;
}
