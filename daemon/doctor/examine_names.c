/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

#include "base/error.h"
#include "doctor/program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NOT_FOUND 2 /* getent(1) */

/*
 * As a program of libc asks for names on this machine (nsswitch.conf(5)); by getent(1), because
 * getaddrinfo(3) knows no limit of time. 0: *result tells; -errno.
 */
static int resolve(struct examination *examination, const char *name, struct program_result *result)
{
	const char *const arguments[] = {"getent", "ahosts", name, NULL};

	return program_run(arguments[0], arguments, examination->deadline, result);
}

static void look_up(struct examination *examination, const char *where, const char *name)
{
	struct program_result result;
	int error = resolve(examination, name, &result);

	if (error < 0)
		examination_say(examination,
				error == -ETIMEDOUT ? FINDING_WARNING : FINDING_NOT_ASKED, where,
				error == -ETIMEDOUT ? "resolvectl status; cat /etc/resolv.conf"
						    : NULL,
				"%s: %s", name,
				error == -ETIMEDOUT ? "the name servers do not answer"
						    : strerrordesc_np(-error));
	else if (result.status == NOT_FOUND)
		examination_say(examination, FINDING_NOTE, where,
				"an entry in the clients' DNS, or in their hosts file",
				"%s is not known on this machine: clients that dial it by this "
				"name need it",
				name);
	else
		examination_say(examination, FINDING_OK, where, NULL, "%s is %.*s", name,
				(int)strcspn(result.output, " \n"), result.output);
	free(result.output);
}

static void tell_routes(struct examination *examination)
{
	const struct config *config = examination->config;

	for (size_t i = 0; i < config->edge_count; i++)
		for (size_t j = 0; j < config->edges[i].route_count; j++) {
			const struct config_route *route = &config->edges[i].routes[j];
			char where[160];

			if (route->server_name == NULL)
				continue;
			snprintf(where, sizeof(where), "edge \"%s\" route \"%s\"",
				 config->edges[i].name, route->name);
			examination_say(examination, FINDING_NOTE, where, NULL,
					"server_name %s is compared with the certificate, never "
					"looked up: gateways are dialled by address",
					route->server_name);
		}
}

void examine_names(struct examination *examination)
{
	const struct config *config = examination->config;
	size_t names = 0;
	char where[160];

	tell_routes(examination);
	for (size_t i = 0; i < config->plc_count; i++) {
		snprintf(where, sizeof(where), "plc \"%s\"", config->plcs[i].name);
		for (size_t j = 0; j < config->plcs[i].sni.count; j++, names++)
			look_up(examination, where, config->plcs[i].sni.items[j]);
	}
	if (names == 0)
		examination_say(examination, FINDING_OK, NULL, NULL,
				"no name is looked up: all addresses are numbers");
}
