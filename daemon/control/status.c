/* SPDX-License-Identifier: Apache-2.0 */
#include "control/status.h"

#include "base/error.h"
#include "control/plant_view.h"

#include <errno.h>
#include <jansson.h>
#include <stdatomic.h>
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

static json_t *capabilities_of(const struct capabilities *capabilities)
{
	json_t *all = json_object();

	for (int i = 0; i < CAPABILITIES; i++) {
		const struct capability_finding *finding = &capabilities->findings[i];

		json_object_set_new(all, capability_name((enum capability)i),
				    finding->there ? json_pack("{s:b}", "there", true)
						   : json_pack("{s:b, s:s}", "there", false, "why",
							       finding->why));
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

static json_t *gateways_of(const struct snapshot *snapshot, time_t now)
{
	json_t *list = json_array();

	for (size_t i = 0; i < snapshot->config->gateway_count; i++) {
		const struct config_gateway *gateway = &snapshot->config->gateways[i];

		json_array_append_new(
			list, json_pack("{s:s, s:o, s:b, s:o}", "name", gateway->name, "listen",
					addresses_of(gateway->listen, gateway->listen_count),
					"inspect", gateway->inspect, "certificate",
					certificate_of(gateway->credentials.certificate,
						       snapshot->gateways[i], now)));
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

static json_t *edges_of(const struct snapshot *snapshot, time_t now)
{
	json_t *list = json_array();

	for (size_t i = 0; i < snapshot->config->edge_count; i++) {
		const struct config_edge *edge = &snapshot->config->edges[i];

		json_array_append_new(list,
				      json_pack("{s:s, s:o, s:o}", "name", edge->name, "listen",
						addresses_of(edge->listen, edge->listen_count),
						"sources", sources_of(snapshot, edge, now)));
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
		"{s:s, s:i, s:o, s:I, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o}", "version",
		MCSEAL_VERSION, "pid", (int)getpid(), "started", time_text(context->started),
		"seconds", (json_int_t)(now - context->started), "configuration",
		context->running->path, "workers", (int)context->running->worker_count, "sessions",
		(int)atomic_load(&context->counters->sessions), "engine",
		engine_of(context->capabilities), "capabilities",
		capabilities_of(context->capabilities), "gateways", gateways_of(snapshot, now),
		"edges", edges_of(snapshot, now), "plcs", plcs_of(snapshot, &view));
	plant_view_drop(&view);
	if (status == NULL || json_dumpf(status, body, JSON_INDENT(2)) < 0)
		error = -ENOMEM;
	fputc('\n', body);
	json_decref(status);
	return error;
}
