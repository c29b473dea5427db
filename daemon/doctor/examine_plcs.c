/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One read of each PLC: in plain from the machine of its gateway, through the gateway from that of
 * an edge. Frames are tried in the order of what PLCs are mostly set to, each on a connection of
 * its own, because a PLC that got the wrong code waits for the rest of what it took for a frame.
 */
#include "doctor/examination.h"

#include "base/error.h"
#include "doctor/connection.h"
#include "doctor/plc_read.h"
#include "doctor/tls_end.h"
#include "net/proxy_header.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ONE_ANSWER (2 * CLOCK_SEC)

static const struct {
	enum mc_family family;
	enum mc_code code;
} FORMS[] = {
	{MC_FAMILY_3E, MC_CODE_BINARY},
	{MC_FAMILY_3E, MC_CODE_ASCII},
	{MC_FAMILY_1E, MC_CODE_BINARY},
};

/* Where a PLC is asked, and how one gets there. */
struct place {
	struct address plc;
	char about[FINDING_ABOUT_SIZE];
	const struct config_route *route; /* NULL: in plain, from here */
	const struct tls_context *context;
};

/* The first gateway that takes us, told where to go. 0 or -errno with a reason. */
static int go_through(const struct examination *examination, const struct place *place,
		      struct connection *connection)
{
	const struct config_route *route = place->route;
	uint8_t header[PROXY_HEADER_MAX];
	struct address own;
	int error = -EHOSTUNREACH;

	for (size_t i = 0; i < route->gateway_count && error < 0; i++) {
		const struct handshake_server server = {route->gateways[i], route->server_name,
							route->proxy_header};
		clock_us deadline = clock_now() + ONE_ANSWER;

		if (i > 0)
			connection_end(connection);
		error = connection_dial(connection, examination->config, &route->gateways[i],
					deadline);
		if (error == 0)
			error = connection_secure(connection, place->context, &server, deadline);
	}
	if (error < 0 || !route->proxy_header)
		return error;
	error = socket_local(connection->fd, &own);
	return error < 0 ? error
			 : connection_send(connection, header,
					   proxy_header_write(header, &own, &place->plc),
					   clock_now() + ONE_ANSWER);
}

static int try_form(const struct examination *examination, const struct place *place,
		    struct plc_read *read, struct connection *connection)
{
	int error = place->route != NULL
			    ? go_through(examination, place, connection)
			    : connection_dial(connection, examination->config, &place->plc,
					      clock_now() + examination->config->timeouts.dial_plc);

	return error < 0 ? error : plc_read_ask(read, connection, clock_now() + ONE_ANSWER);
}

static const char *state_of(const struct plc_read *read)
{
	static const char *const STATES[] = {"RUN", "STEP-RUN", "STOP", "PAUSE"};
	unsigned int state = read->value & 0xf;

	if (read->family == MC_FAMILY_1E)
		return "";
	return state < ARRAY_SIZE(STATES) ? STATES[state] : "unknown";
}

static void tell_answer(struct examination *examination, const struct place *place,
			const struct plc_read *read)
{
	const char *family = mc_frame_family_name(read->family);
	const char *code = mc_frame_code_name(read->code);
	const char *state = state_of(read);

	if (read->end_code != 0)
		examination_say(examination, FINDING_NOTE, place->about,
				place->route != NULL
					? "there: journalctl -u mcseald | grep request-refused; "
					  "mcseal learn"
					: NULL,
				"answers %s %s frames, here with the end code %04X: %s", family,
				code, read->end_code,
				place->route != NULL ? "the gateway's policy, or the PLC itself, "
						       "refused the read"
						     : "the PLC refused the read (a remote "
						       "password?)");
	else if (*state != '\0')
		examination_say(examination, FINDING_OK, place->about, NULL,
				"answers %s %s frames; its CPU is in %s", family, code, state);
	else
		examination_say(examination, FINDING_OK, place->about, NULL, "answers %s %s frames",
				family, code);
}

static void tell_failure(struct examination *examination, const struct place *place, int error,
			 const char *reason)
{
	if (error == -ECONNRESET && place->route != NULL)
		examination_say(examination, FINDING_FAILED, place->about,
				"there: mcseal doctor --plc; journalctl -u mcseald | grep "
				"session-closed",
				"the gateway takes us, and closes the connection: it does not "
				"reach the PLC, or we may not (%s)",
				reason);
	else if (place->route != NULL)
		examination_say(examination, FINDING_FAILED, place->about,
				"the step gateways says more", "%s", reason);
	else if (error == -ETIMEDOUT && strstr(reason, "dial") == NULL)
		examination_say(examination, FINDING_FAILED, place->about,
				"is it on, with that address? its open settings: TCP, MC "
				"protocol, this port",
				"%s", reason);
	else
		examination_say(examination, FINDING_FAILED, place->about,
				"is it on? its open settings: TCP, MC protocol, this port; mcseal "
				"status: are all its connections in use?",
				"%s", reason);
}

static void try_place(struct examination *examination, const struct place *place)
{
	struct connection connection = {.fd = -1};
	char reason[HANDSHAKE_REASON_SIZE] = "";
	struct plc_read read = {.family = MC_FAMILY_NONE};
	int error = -ETIMEDOUT, first = 0;

	for (size_t i = 0; i < ARRAY_SIZE(FORMS) && error < 0; i++) {
		if (clock_now() >= examination->deadline)
			break;
		read = (struct plc_read){.family = FORMS[i].family, .code = FORMS[i].code};
		error = try_form(examination, place, &read, &connection);
		if (i == 0 && error < 0) {
			first = error;
			snprintf(reason, sizeof(reason), "%s", connection.reason);
		}
		connection_end(&connection);
		/* Only what may be a matter of its code is worth another try. */
		if (error < 0 && error != -ETIMEDOUT && error != -ECONNRESET && error != -EPROTO)
			break;
	}
	if (error == 0)
		tell_answer(examination, place, &read);
	else if (first == 0)
		examination_say(examination, FINDING_NOT_ASKED, place->about, NULL,
				"the others took all the time");
	else
		tell_failure(examination, place, first, reason);
}

static bool is_wanted(const struct examination *examination, const char *name,
		      const struct address *address)
{
	const char *wanted = examination->request->plc;
	char text[ADDRESS_TEXT_SIZE];

	return wanted == NULL || (name != NULL && strcmp(wanted, name) == 0) ||
	       strcmp(wanted, address_print(address, text)) == 0;
}

/* In plain, from here: those of the gateways. Returns how many. */
static size_t try_own(struct examination *examination)
{
	const struct config *config = examination->config;
	size_t tried = 0;

	for (size_t i = 0; i < config->plc_count; i++)
		for (size_t j = 0; j < config->plcs[i].port_count; j++) {
			const struct config_plc *plc = &config->plcs[i];
			struct place place = {.plc = plc->address};

			address_set_port(&place.plc, plc->ports[j].number);
			if (plc->ports[j].protocol != CONFIG_PROTOCOL_MC ||
			    !is_wanted(examination, plc->name, &place.plc))
				continue;
			snprintf(place.about, sizeof(place.about), "plc \"%s\" port %u", plc->name,
				 plc->ports[j].number);
			tried++;
			if (config->mark != 0 && socket_probe_mark(config->mark) < 0)
				examination_say(examination, FINDING_NOT_ASKED, place.about,
						"as root: mcseal doctor --plc",
						"the guard lets marked connections through alone, "
						"and this user may not mark one");
			else
				try_place(examination, &place);
		}
	return tried;
}

/* The one address and port that a destination is; false: it is a range. */
static bool is_single(const struct config_destination *range, struct address *address)
{
	*address = range->addresses.base;
	address_set_port(address, range->first_port);
	return range->first_port == range->last_port &&
	       range->addresses.bits ==
		       (range->addresses.base.any.sa_family == AF_INET6 ? 128 : 32);
}

/* Through the gateways of a route. */
static size_t try_route(struct examination *examination, const struct tls_end *end,
			const struct tls_context *context, const struct config_route *route)
{
	size_t tried = 0;

	for (size_t i = 0; i < route->destination_count; i++) {
		struct place place = {.route = route, .context = context};
		char text[ADDRESS_TEXT_SIZE];

		if (!is_single(&route->destinations[i], &place.plc) ||
		    !is_wanted(examination, NULL, &place.plc))
			continue;
		snprintf(place.about, sizeof(place.about), "%s route \"%s\" to %s", end->where,
			 route->name, address_print(&place.plc, text));
		tried++;
		try_place(examination, &place);
	}
	return tried;
}

static size_t try_end(struct examination *examination, const struct tls_end *end)
{
	struct tls_context *context = NULL;
	FILE *nowhere = fopen("/dev/null", "we");
	size_t tried = 0;

	if (nowhere != NULL && tls_context_new(examination->config, end->credentials, TLS_ROLE_EDGE,
					       end->where, nowhere, &context) == 0)
		for (size_t i = 0; i < end->edge->route_count; i++)
			if (end->edge->routes[i].protocol == CONFIG_PROTOCOL_MC)
				tried +=
					try_route(examination, end, context, &end->edge->routes[i]);
	if (nowhere != NULL)
		fclose(nowhere);
	tls_context_free(context);
	return tried;
}

static size_t try_edges(struct examination *examination)
{
	struct tls_end *ends = NULL;
	size_t count, tried = 0;

	if (tls_ends_of(examination->config, &ends, &count) < 0)
		count = 0;
	for (size_t i = 0; i < count; i++)
		if (ends[i].role == TLS_ROLE_EDGE)
			tried += try_end(examination, &ends[i]);
	free(ends);
	return tried;
}

void examine_plcs(struct examination *examination)
{
	const char *wanted = examination->request->plc;
	size_t tried;

	if (!examination->request->plcs) {
		examination_say(examination, FINDING_NOT_ASKED, NULL, "mcseal doctor --plc",
				"a read would take one of each PLC's connections for a moment");
		return;
	}
	tried = try_own(examination) + try_edges(examination);
	if (tried > 0)
		return;
	if (wanted != NULL)
		examination_say(examination, FINDING_FAILED, NULL, NULL,
				"%s is no PLC here: give the name of a `plc` section, or "
				"ADDRESS:PORT of a route's destination",
				wanted);
	else
		examination_say(examination, FINDING_NOTE, NULL, NULL,
				"there is no PLC with a single address and port here");
}
