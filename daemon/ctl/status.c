/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/status.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "?";
}

static long long number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void show_head(const json_t *status, FILE *file)
{
	long long seconds = number_of(status, "seconds");

	fprintf(file, "mcseald %s, pid %lld, since %s (%lld d %02lld:%02lld), %s\n",
		text_of(status, "version"), number_of(status, "pid"), text_of(status, "started"),
		seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60,
		text_of(status, "configuration"));
	fprintf(file, "sha256 %s\n", text_of(status, "configuration_sha256"));
	fprintf(file, "%lld sessions, %lld workers, log level %s\n", number_of(status, "sessions"),
		number_of(status, "workers"), text_of(status, "log_level"));
}

static void show_engine(const json_t *status, FILE *file)
{
	const json_t *engine = json_object_get(status, "engine");
	json_t *all = json_object_get(status, "capabilities");

	fprintf(file, "\nengine\n  loop   %s: %s\n  relay  %s: %s\n", text_of(engine, "loop"),
		text_of(engine, "loop_why"), text_of(engine, "relay"),
		text_of(engine, "relay_why"));
	fprintf(file, "\nkernel\n");
	for (void *at = json_object_iter(all); at != NULL; at = json_object_iter_next(all, at)) {
		const char *name = json_object_iter_key(at);
		const json_t *finding = json_object_iter_value(at);

		bool there = json_is_true(json_object_get(finding, "there"));
		bool used = json_is_true(json_object_get(finding, "used"));

		fprintf(file, "  %-18s %s%s: %s\n", name, there ? "yes" : "no",
			used    ? ", used"
			: there ? ", not used"
				: "",
			text_of(finding, "why"));
	}
}

static void show_confinement(const json_t *status, FILE *file)
{
	json_t *all = json_object_get(status, "confinement");

	if (all == NULL) /* an older daemon */
		return;
	fprintf(file, "\nconfinement\n");
	for (void *at = json_object_iter(all); at != NULL; at = json_object_iter_next(all, at)) {
		const json_t *finding = json_object_iter_value(at);

		fprintf(file, "  %-18s %s: %s\n", json_object_iter_key(at),
			json_is_true(json_object_get(finding, "in_force")) ? "yes" : "NO",
			text_of(finding, "what"));
	}
}

static void show_addresses(const json_t *listener, FILE *file)
{
	const json_t *list = json_object_get(listener, "listen");

	for (size_t i = 0; i < json_array_size(list); i++)
		fprintf(file, "%s%s", i > 0 ? ", " : "",
			json_string_value(json_array_get(list, i)));
}

static void show_drain(const json_t *listener, FILE *file)
{
	const json_t *left = json_object_get(listener, "drain_seconds_left");

	if (!json_is_true(json_object_get(listener, "draining")))
		return;
	fprintf(file, "  DRAINING: takes no connections");
	if (json_is_integer(left))
		fprintf(file, "; its sessions may go on for %lld s", json_integer_value(left));
	fprintf(file, "\n");
}

static void show_certificate(const json_t *of, FILE *file)
{
	const json_t *certificate = json_object_get(of, "certificate");
	long long days = number_of(certificate, "days");

	fprintf(file, "%s, until %s (%lld days%s)\n", text_of(certificate, "file"),
		text_of(certificate, "expires"), days, days < 30 ? ", RENEW IT" : "");
}

static void show_tls(const json_t *listener, FILE *file)
{
	const json_t *tls = json_object_get(listener, "tls");

	fprintf(file, "  %s (tls_profile = %s): %s; groups %s; keys of %lld bits of security\n",
		text_of(tls, "versions"), text_of(tls, "profile"), text_of(tls, "suites"),
		text_of(tls, "groups"), number_of(tls, "strength"));
}

static void show_gateway(const json_t *gateway, FILE *file)
{
	bool inspects = json_is_true(json_object_get(gateway, "inspect"));

	fprintf(file, "\ngateway %s at ", text_of(gateway, "name"));
	show_addresses(gateway, file);
	fprintf(file, "%s\n",
		inspects ? "" : " NOT INSPECTED: any holder of a certificate can stop its PLCs");
	show_drain(gateway, file);
	show_tls(gateway, file);
	fprintf(file, "  ");
	show_certificate(gateway, file);
}

static void show_edge(const json_t *edge, FILE *file)
{
	const json_t *sources = json_object_get(edge, "sources");

	fprintf(file, "\nedge %s at ", text_of(edge, "name"));
	show_addresses(edge, file);
	fprintf(file, "\n");
	show_drain(edge, file);
	show_tls(edge, file);
	for (size_t i = 0; i < json_array_size(sources); i++) {
		const json_t *source = json_array_get(sources, i);

		fprintf(file, "  source %s: ", text_of(source, "name"));
		show_certificate(source, file);
	}
}

static void show_port(const json_t *port, FILE *file)
{
	fprintf(file, "  port %lld: %lld of %lld connections\n", number_of(port, "port"),
		number_of(port, "taken"), number_of(port, "connections"));
}

static void show_identity(const json_t *identity, FILE *file)
{
	fprintf(file, "  %s: %lld sessions, %lld requests, %lld refused\n",
		text_of(identity, "identity"), number_of(identity, "sessions"),
		number_of(identity, "requests"), number_of(identity, "refused"));
}

static void show_each(const json_t *of, const char *key, FILE *file,
		      void (*show)(const json_t *one, FILE *file))
{
	const json_t *list = json_object_get(of, key);

	for (size_t i = 0; i < json_array_size(list); i++)
		show(json_array_get(list, i), file);
}

static void show_plc(const json_t *plc, FILE *file)
{
	fprintf(file, "\nplc %s at %s; wrong passwords left: %lld\n", text_of(plc, "name"),
		text_of(plc, "address"), number_of(plc, "password_tries_left"));
	show_each(plc, "ports", file, show_port);
	show_each(plc, "identities", file, show_identity);
}

int status_show(const char *text, size_t size, FILE *file)
{
	json_t *status = json_loadb(text, size, 0, NULL);

	if (!json_is_object(status)) {
		json_decref(status);
		return -EPROTO;
	}
	show_head(status, file);
	show_engine(status, file);
	show_confinement(status, file);
	show_each(status, "gateways", file, show_gateway);
	show_each(status, "edges", file, show_edge);
	show_each(status, "plcs", file, show_plc);
	json_decref(status);
	return 0;
}
