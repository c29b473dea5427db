/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: what is taken, dump and lookups, and that the documentation names what the
 * tables hold. Run from the top of the tree (it reads docs/).
 */
#include "config_fixture.h"

#include "config/config_option.h"

/* --- what is taken --------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
	struct outcome outcome = load_valid(VALID EDGE);
	const struct config *config = outcome.config;

	(void)state;
	assert_string_equal(outcome.report, "");
	assert_string_equal(config->path, "t.conf");
	assert_int_equal(config->log_level, LOG_LEVEL_INFO);
	assert_int_equal(config->workers, 0);
	assert_int_equal(config->engine, CONFIG_ENGINE_AUTO);
	assert_int_equal(config->mark, 0x4d430001);
	assert_string_equal(config->control_socket, "/run/mcseal/control");
	assert_int_equal(config->timeouts.handshake, 3 * CLOCK_SEC);
	assert_int_equal(config->timeouts.proxy_header, CLOCK_SEC);
	assert_int_equal(config->timeouts.dial_gateway, 1500 * CLOCK_MS);
	assert_int_equal(config->timeouts.dial_plc, CLOCK_SEC);
	assert_int_equal(config->timeouts.slot_wait, CLOCK_SEC);
	assert_int_equal(config->timeouts.frame_rest, CLOCK_SEC);
	assert_int_equal(config->timeouts.plc_reopen, 500 * CLOCK_MS);
	assert_int_equal(config->timeouts.drain, 5 * CLOCK_SEC);
	assert_int_equal(config->timeouts.keepalive_idle, 10 * CLOCK_SEC);
	assert_int_equal(config->timeouts.keepalive_interval, 5 * CLOCK_SEC);
	assert_int_equal(config->timeouts.keepalive_count, 3);
	assert_int_equal(config->timeouts.user_timeout, 20 * CLOCK_SEC);
	assert_int_equal(config->limits.sessions, 10000);
	assert_int_equal(config->limits.handshakes, 768);
	assert_int_equal(config->limits.frame, CONFIG_FRAME_MAX_DEFAULT);
	assert_int_equal(config->limits.key_records, 23726566);
	assert_null(config->audit.file);
	assert_false(config->audit.reads || config->audit.values);
	assert_int_equal(config->audit.failure, CONFIG_AUDIT_REFUSE_WRITES);
	assert_int_equal(config->ktls, CONFIG_KTLS_AUTO);
	assert_int_equal(config->gateways[0].ktls, CONFIG_KTLS_DEFAULT);
	assert_int_equal(config->edges[0].ktls, CONFIG_KTLS_DEFAULT);
	assert_int_equal(config->plcs[0].ports[0].connections, 1);
	assert_int_equal(config->plcs[0].ports[0].protocol, CONFIG_PROTOCOL_MC);
	assert_false(config->identities[0].edge);
	assert_null(config->gateways[0].fixed_plc);
	assert_null(config->gateways[0].plc);
	assert_true(config->edges[0].transparent);
	assert_int_equal(config->edges[0].destination.any.sa_family, AF_UNSPEC);
	assert_null(config->edges[0].sources[0].credentials.certificate);
	assert_null(config->edges[0].routes[0].server_name);
	assert_true(config->edges[0].routes[0].proxy_header);
	drop(&outcome);
}

static const char full[] =
	"log_level = debug workers = 3 engine = uring-splice mark = 77 ktls = off\n"
	"timeouts { handshake = 0.25 keepalive_idle = 7 plc_reopen = 0 user_timeout = 1.000001 }\n"
	"limits { sessions = 5 handshakes = 6 frame = 256 key_records = 4294967295 } "
	"audit { file = \"@/audit.jsonl\" reads = yes values = yes failure = continue }\n"
	"control_socket = \"\"\n"
	"plc \"p1\" {\n"
	"  address = fd30::10 sni = { \"a.example\", \"B.example\" }\n"
	"  port \"5007\" { connections = 4 }\n"
	"  port \"5006\" { protocol = opaque identities = { \"works\" } }\n"
	"}\n"
	"plc \"p2\" { address = 10.0.0.2 port \"5007\" { } }\n"
	"identity \"works\" { match = { \"uri:urn:x:\\\"quoted\\\"\", \"spki-sha256:"
	"AA:0000000000000000000000000000000000000000000000000000000000000F\" }"
	" role = edge plcs = { \"p1\", \"p2\" } }\n"
	"identity \"other\" { match = { \"dns:SCADA.example\", \"email:a@b\", \"cn:a b\","
	" \"serial:00:0A:fF@CN=Plant \\\\, CA\", \"role:operator\" } plcs = { \"p2\" } }\n"
	"gateway \"g\" { listen = { 127.0.0.1:8443, \"[::1]:8443\" } " CREDENTIALS
	" plc = p1 plc_port = 5006 ktls = required }\n"
	"edge \"e\" { listen = \"0.0.0.0:15007\" " CREDENTIALS "destination = \"10.0.0.2:5007\"\n"
	"  source \"s\" { addresses = { 10.1.0.0/16, \"fd10::/64\" } users = { \"root\", \"0\" }\n"
	"    cgroups = { \"/a/b.service\" } certificate = \"@/cert.pem\" key = \"@/key.pem\" }\n"
	"  source \"t\" { users = 0 certificate=\"@/cert.pem\" key=\"@/key.pem\" ca=\"@/link.pem\" "
	"}\n"
	"  route \"r\" { destinations = { 10.0.0.0/24:5000-5010, \"[fd30::/64]:5007\" }\n"
	"    gateways = { 10.9.0.1:1, \"[fd20::2]:65535\" } server_name = gw.example"
	" protocol = opaque proxy_header = no } }\n";

static void check_full_plcs(const struct config *config)
{
	const struct config_identity *works = &config->identities[0];
	const struct config_identity *other = &config->identities[1];

	assert_int_equal(config->plc_count, 2);
	assert_string_equal(config->plcs[0].name, "p1");
	assert_int_equal(config->plcs[0].line, 5);
	assert_int_equal(config->plcs[0].port_count, 2);
	assert_int_equal(config->plcs[0].ports[0].number, 5007);
	assert_int_equal(config->plcs[0].ports[0].connections, 4);
	assert_int_equal(config->plcs[0].ports[1].protocol, CONFIG_PROTOCOL_OPAQUE);
	assert_int_equal(config->plcs[0].ports[1].line, 8);
	assert_string_equal(config->plcs[0].ports[1].identities.items[0], "works");
	assert_true(works->edge);
	assert_int_equal(works->match_count, 2);
	assert_int_equal(works->matches[0].kind, CONFIG_MATCH_URI);
	assert_string_equal(works->matches[0].value, "urn:x:\"quoted\"");
	assert_int_equal(works->matches[1].kind, CONFIG_MATCH_SPKI);
	assert_string_equal(works->matches[1].value,
			    "aa0000000000000000000000000000000000000000000000000000000000000f");
	assert_string_equal(other->matches[0].value, "scada.example");
	assert_int_equal(other->matches[1].kind, CONFIG_MATCH_EMAIL);
	assert_string_equal(other->matches[2].value, "a b");
	assert_int_equal(other->matches[3].kind, CONFIG_MATCH_SERIAL);
	assert_string_equal(other->matches[3].value, "aff@CN=Plant \\, CA");
	assert_int_equal(other->matches[4].kind, CONFIG_MATCH_ROLE);
}

static void check_full_edge(const struct config_edge *edge)
{
	const struct config_source *own = &edge->sources[1];
	char text[ADDRESS_TEXT_SIZE];

	assert_false(edge->transparent);
	assert_string_equal(address_print(&edge->destination, text), "10.0.0.2:5007");
	assert_int_equal(edge->source_count, 2);
	assert_int_equal(edge->sources[0].address_count, 2);
	assert_int_equal(edge->sources[0].addresses[0].bits, 16);
	assert_int_equal(edge->sources[0].user_count, 2);
	assert_int_equal(edge->sources[0].users[0], 0);
	assert_string_equal(edge->sources[0].cgroups.items[0], "/a/b.service");
	/* ca and crl of the edge, unless the source has another ca */
	assert_string_equal(edge->sources[0].credentials.ca, edge->credentials.ca);
	assert_string_equal(edge->sources[0].credentials.crl, edge->credentials.crl);
	assert_non_null(strstr(own->credentials.ca, "link.pem"));
	assert_null(own->credentials.crl);
	assert_int_equal(edge->routes[0].destinations[0].first_port, 5000);
	assert_int_equal(edge->routes[0].destinations[0].last_port, 5010);
	assert_int_equal(edge->routes[0].destinations[1].last_port, 5007);
	assert_string_equal(address_print(&edge->routes[0].gateways[1], text), "[fd20::2]:65535");
	assert_string_equal(edge->routes[0].server_name, "gw.example");
	assert_int_equal(edge->routes[0].protocol, CONFIG_PROTOCOL_OPAQUE);
	assert_false(edge->routes[0].proxy_header);
}

static void check_full_audit(const struct config_audit *audit)
{
	assert_string_equal(strrchr(audit->file, '/'), "/audit.jsonl");
	assert_true(audit->reads && audit->values);
	assert_int_equal(audit->failure, CONFIG_AUDIT_CONTINUE);
}

static void test_everything_set(void **state)
{
	struct outcome outcome = load_valid(full);
	const struct config *config = outcome.config;

	(void)state;
	assert_int_equal(config->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(config->workers, 3);
	assert_int_equal(config->engine, CONFIG_ENGINE_URING_SPLICE);
	assert_int_equal(config->ktls, CONFIG_KTLS_OFF);
	assert_int_equal(config->gateways[0].ktls, CONFIG_KTLS_REQUIRED);
	assert_int_equal(config->mark, 77);
	assert_string_equal(config->control_socket, "");
	assert_int_equal(config->timeouts.handshake, 250 * CLOCK_MS);
	assert_int_equal(config->timeouts.plc_reopen, 0);
	assert_int_equal(config->timeouts.user_timeout, CLOCK_SEC + 1);
	assert_int_equal(config->timeouts.drain, 5 * CLOCK_SEC);
	assert_int_equal(config->limits.frame, 256);
	assert_int_equal(config->limits.key_records, UINT32_MAX);
	check_full_audit(&config->audit);
	check_full_plcs(config);
	assert_ptr_equal(config->gateways[0].plc, &config->plcs[0]);
	assert_int_equal(config->gateways[0].fixed_port, 5006);
	assert_int_equal(config->gateways[0].listen_count, 2);
	check_full_edge(&config->edges[0]);
	drop(&outcome);
}

static void test_longest_socket_path(void **state)
{
	char path[108] = "/", text[512];
	struct outcome outcome;

	(void)state;
	memset(path + 1, 'a', sizeof(path) - 2);
	path[sizeof(path) - 1] = '\0';
	snprintf(text, sizeof(text), "control_socket = \"%s\"\n" VALID, path);
	outcome = load_valid(text);
	assert_string_equal(outcome.config->control_socket, path);
	drop(&outcome);
}

static char *dump(const struct config *config)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	config_dump(config, file);
	fclose(file);
	return text;
}

static void test_dump_parses_back(void **state)
{
	static const char *const texts[] = {full, VALID EDGE};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct outcome first = load_valid(texts[i]);
		char *text = dump(first.config);
		struct outcome second = load_valid(text);
		char *again = dump(second.config);

		assert_string_equal(text, again);
		/* It is the values that came back, not two equal mistakes. */
		assert_int_equal(second.config->timeouts.handshake,
				 first.config->timeouts.handshake);
		assert_int_equal(second.config->mark, first.config->mark);
		assert_int_equal(second.config->identity_count, first.config->identity_count);
		if (texts[i] == full) {
			assert_int_equal(second.config->timeouts.user_timeout, CLOCK_SEC + 1);
			assert_string_equal(second.config->identities[0].matches[0].value,
					    "urn:x:\"quoted\"");
			check_full_edge(&second.config->edges[0]);
			check_full_audit(&second.config->audit);
			assert_int_equal(second.config->engine, CONFIG_ENGINE_URING_SPLICE);
			assert_int_equal(second.config->ktls, CONFIG_KTLS_OFF);
			assert_int_equal(second.config->gateways[0].ktls, CONFIG_KTLS_REQUIRED);
			assert_int_equal(second.config->limits.key_records, UINT32_MAX);
		}
		free(text);
		free(again);
		drop(&first);
		drop(&second);
	}
}

/* Comments anywhere, also where libconfuse itself would refuse them or miscount lines. */
static void test_syntax(void **state)
{
	static const char text[] = "# one\n/* two\n three */ // four\n"
				   "workers /* a */ = # b\n 2\r\n"
				   "plc \"p\" {\n"
				   "  sni = { a, # first\n    b /* \"}\" */ }\n"
				   "  address = \"10.0.0.1\"//c\n"
				   "  port \"5007\" { } }\n" IDENTITY GATEWAY "# no line end";
	struct outcome outcome = load_valid(text);

	(void)state;
	assert_int_equal(outcome.config->workers, 2);
	assert_int_equal(outcome.config->plcs[0].line, 6);
	assert_int_equal(outcome.config->plcs[0].sni.count, 2);
	assert_int_equal(outcome.config->plcs[0].ports[0].line, 10);
	assert_int_equal(outcome.config->gateways[0].line, 12);
	assert_int_equal(outcome.config->gateways[0].listen_line, 12);
	drop(&outcome);
}

/* --- files --------------------------------------------------------------------------------------
 */

static int load_path(const char *path, char **report, struct config **config)
{
	size_t size;
	FILE *file = open_memstream(report, &size);
	int result = config_load(path, file, config);

	fclose(file);
	return result;
}

static void test_file(void **state)
{
	char *text = fill(VALID);
	struct config *config = NULL;
	char *report;
	char path[256];

	(void)state;
	write_file("file.conf", text, 0644);
	snprintf(path, sizeof(path), "%s/file.conf", folder);
	assert_int_equal(load_path(path, &report, &config), 0);
	assert_string_equal(report, "");
	assert_string_equal(config->path, path);
	assert_int_equal(config->gateway_count, 1);
	config_free(config);
	free(report);
	free(text);
}

static void test_unreadable_file(void **state)
{
	struct config *config = NULL;
	char *report;

	(void)state;
	assert_int_equal(load_path("/no/such/file", &report, &config), -ENOENT);
	assert_string_equal(report, "/no/such/file: error: cannot read the file (No such file or "
				    "directory)\n");
	free(report);
	assert_int_equal(load_path(folder, &report, &config), -EISDIR);
	free(report);
	assert_int_equal(load_path("/dev/zero", &report, &config), -EFBIG);
	assert_non_null(strstr(report, "expected a text of less than 1 MiB"));
	free(report);
	assert_null(config);
}

static void test_nul_in_file(void **state)
{
	struct config *config = NULL;
	char path[256];
	char *report;
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/file.conf", folder);
	file = fopen(path, "w");
	assert_non_null(file);
	fwrite("workers = 1\n\nlog_level\0= info\n", 1, 30, file);
	fclose(file);
	assert_int_equal(load_path(path, &report, &config), -EINVAL);
	assert_non_null(strstr(report, "file.conf:3: error: unexpected byte 0x00"));
	free(report);
}

/* Nothing of one file may reach the next: the library's scanner has global state. */
static void test_no_state_between_loads(void **state)
{
	static const char *const spoilers[] = {
		"workers = \"", "/* ", "plc \"p\" { ", "workers", "plc \"", "workers = { 1, ", "}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(spoilers); i++) {
		struct outcome bad = load(spoilers[i]);
		struct outcome good = load_valid(VALID);

		assert_int_equal(bad.result, -EINVAL);
		assert_int_equal(good.config->gateways[0].line, 3);
		drop(&bad);
		drop(&good);
	}
}

/* --- lookups ------------------------------------------------------------------------------------
 */

static struct address parse(const char *text)
{
	struct address address;

	assert_int_equal(address_parse(text, &address), 0);
	return address;
}

static void test_find_plc(void **state)
{
	struct outcome outcome = load_valid(full);
	const struct config *config = outcome.config;
	const struct config_plc *p1 = &config->plcs[0];
	const struct config_port *port = NULL;
	struct address known = parse("[fd30::10]:5006");
	struct address wrong_port = parse("[fd30::10]:5005");
	struct address wrong_host = parse("[fd30::11]:5006");

	(void)state;
	assert_ptr_equal(config_find_plc(config, "p1"), p1);
	assert_null(config_find_plc(config, "P1"));
	assert_null(config_find_plc(config, "p3"));
	assert_ptr_equal(config_find_plc_by_sni(config, "P1"), p1);
	assert_ptr_equal(config_find_plc_by_sni(config, "b.EXAMPLE"), p1);
	assert_null(config_find_plc_by_sni(config, "c.example"));
	assert_ptr_equal(config_find_plc_by_address(config, &known, &port), p1);
	assert_ptr_equal(port, &p1->ports[1]);
	assert_null(config_find_plc_by_address(config, &wrong_port, &port));
	assert_null(config_find_plc_by_address(config, &wrong_host, &port));
	address_set_port(&known, 0);
	assert_null(config_find_plc_by_address(config, &known, &port));
	assert_ptr_equal(config_find_port(p1, 0), &p1->ports[0]);
	assert_ptr_equal(config_find_port(p1, 5006), &p1->ports[1]);
	assert_null(config_find_port(p1, 1));
	drop(&outcome);
}

static void test_find_route(void **state)
{
	static const struct {
		const char *destination;
		int route; /* -1: none */
	} cases[] = {
		{"10.0.0.1:5000", 0},  {"10.0.0.255:5010", 0}, {"10.0.0.1:4999", -1},
		{"10.0.0.1:5011", 1},  {"10.0.1.1:5000", 1},   {"10.1.0.1:5000", -1},
		{"[fd30::1]:5007", 0}, {"[fd30::1]:5008", -1}, {"[fd31::1]:5007", -1},
	};
	struct outcome outcome = load_valid(
		"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE
		"route \"a\" { destinations = { 10.0.0.0/24:5000-5010, \"[fd30::/64]:5007\" } "
		"gateways = "
		"10.2.0.1:8443 } route \"b\" { destinations = 10.0.0.0/16:5000-5100 gateways = "
		"10.2.0.1:8443 } }");
	const struct config_edge *edge = &outcome.config->edges[0];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address destination = parse(cases[i].destination);
		const struct config_route *expected =
			cases[i].route < 0 ? NULL : &edge->routes[cases[i].route];

		if (config_find_route(edge, &destination) != expected)
			fail_msg("%s", cases[i].destination);
	}
	drop(&outcome);
}

static void test_identity_may(void **state)
{
	struct outcome outcome = load_valid(full);
	const struct config *config = outcome.config;
	const struct config_identity *works = &config->identities[0];
	const struct config_identity *other = &config->identities[1];
	const struct config_plc *p1 = &config->plcs[0];
	const struct config_plc *p2 = &config->plcs[1];
	struct outcome any = load_valid(
		"plc \"p\" { address = 10.0.0.1 port \"1\" { } port \"2\" { protocol = opaque "
		"identities = j } }\n" IDENTITY
		"identity \"j\" { match = cn:j plcs = p }\n" GATEWAY);
	const struct config_plc *p = &any.config->plcs[0];

	(void)state;
	assert_true(config_identity_may(works, p1, &p1->ports[0]));
	assert_true(config_identity_may(works, p1, &p1->ports[1]));
	assert_true(config_identity_may(works, p2, &p2->ports[0]));
	assert_false(config_identity_may(other, p1, &p1->ports[0]));
	assert_false(config_identity_may(other, p1, &p1->ports[1]));
	assert_true(config_identity_may(other, p2, &p2->ports[0]));
	/* "*" is every PLC, but no opaque port. */
	assert_true(config_identity_may(&any.config->identities[0], p, &p->ports[0]));
	assert_false(config_identity_may(&any.config->identities[0], p, &p->ports[1]));
	assert_true(config_identity_may(&any.config->identities[1], p, &p->ports[1]));
	drop(&outcome);
	drop(&any);
}

/* --- the documentation ---------------------------------------------------------------------------
 */

static char *read_doc(const char *path)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = fopen(path, "r");

	if (!file)
		fail_msg("cannot read %s: run from the top of the tree", path);
	assert_true(getdelim(&text, &size, '\0', file) > 0);
	fclose(file);
	return text;
}

/* The start of the section's part: its heading; the top level's is "Top level". */
static const char *find_heading(const char *manual, const struct config_section *section)
{
	char heading[64];
	const char *found;

	snprintf(heading, sizeof(heading), "\n## %s\n",
		 section == &config_root ? "Top level" : section->name);
	found = strstr(manual, heading);
	if (!found) {
		snprintf(heading, sizeof(heading), "# %s \"N", section->name);
		found = strstr(manual, heading);
	}
	if (!found)
		fail_msg("the manual has no part about %s", section->name);
	return found + 1;
}

/* A row per option, in the table's order, with its default. */
static void check_options(const char *manual, const struct config_section *section)
{
	const char *at = find_heading(manual, section);
	const char *end = strstr(strchr(at, '\n'), "\n#");
	char row[128];

	for (size_t i = 0; i < section->option_count; i++) {
		const struct config_option *option = &section->options[i];

		if (option->fallback)
			snprintf(row, sizeof(row), "\n| `%s` | `%s` |", option->name,
				 option->fallback);
		else if (option->required)
			snprintf(row, sizeof(row), "\n| `%s` | required |", option->name);
		else
			snprintf(row, sizeof(row), "\n| `%s` |", option->name);
		at = strstr(at, row);
		if (!at || at > end) {
			fail_msg("%s: expected (in the table's order) %s", section->name, row + 1);
			return;
		}
	}
	for (size_t i = 0; i < section->section_count; i++)
		check_options(manual, &section->sections[i]);
}

/* A listener's own word counts, else the top level's. */
static void test_ktls_of_listeners(void **state)
{
	static const enum config_ktls words[] = {CONFIG_KTLS_DEFAULT, CONFIG_KTLS_AUTO,
						 CONFIG_KTLS_REQUIRED, CONFIG_KTLS_OFF};
	struct outcome outcome = load_valid(VALID EDGE);
	struct config *config = outcome.config;

	(void)state;
	for (size_t top = 1; top < ARRAY_SIZE(words); top++) {
		for (size_t own = 0; own < ARRAY_SIZE(words); own++) {
			enum config_ktls expected = own == 0 ? words[top] : words[own];

			config->ktls = words[top];
			config->gateways[0].ktls = words[own];
			config->edges[0].ktls = words[ARRAY_SIZE(words) - 1 - own];
			assert_int_equal(config_ktls(config, NULL, &config->gateways[0]), expected);
			expected = words[ARRAY_SIZE(words) - 1 - own];
			if (expected == CONFIG_KTLS_DEFAULT)
				expected = words[top];
			assert_int_equal(config_ktls(config, &config->edges[0], NULL), expected);
		}
	}
	drop(&outcome);
}

static void test_manual_names_every_option(void **state)
{
	char *manual = read_doc("docs/mcseald.conf.md");

	(void)state;
	check_options(manual, &config_root);
	free(manual);
}

/* The manual's paths point to the throw-away files; every .key is one only its owner reads. */
static char *with_files(const char *text)
{
	static const char *const files[][2] = {
		{"/etc/mcseal/gateway.pem", "@/cert.pem"}, {"/etc/mcseal/gateway.key", "@/key.pem"},
		{"/etc/mcseal/edge.pem", "@/cert.pem"},    {"/etc/mcseal/edge.key", "@/key.pem"},
		{"/etc/mcseal/panels.pem", "@/cert.pem"},  {"/etc/mcseal/panels.key", "@/key.pem"},
		{"/etc/mcseal/ca.pem", "@/ca.pem"},        {"/etc/mcseal/ca.crl", "@/ca.crl"},
	};
	char *result = strdup(text);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char *next = replace(result, files[i][0], files[i][1]);

		free(result);
		result = next;
	}
	return result;
}

static void expect_clean(const char *text)
{
	char *filled = with_files(text);
	struct outcome outcome = load_valid(filled);

	assert_string_equal(outcome.report, "");
	drop(&outcome);
	free(filled);
}

static void test_manual_examples(void **state)
{
	char *manual = read_doc("docs/mcseald.conf.md");
	unsigned int examples = 0;
	char *at = manual;

	(void)state;
	while ((at = strstr(at, "```conf\n")) != NULL) {
		char *start = at + strlen("```conf\n");
		char *end = strstr(start, "```");

		assert_non_null(end);
		*end = '\0';
		expect_clean(start);
		at = end + 1;
		examples++;
	}
	assert_int_equal(examples, 4);
	free(manual);
}

/* The example file says the defaults: loading it gives what leaving them out gives. */
static void test_example_file(void **state)
{
	char *example = read_doc("docs/mcseald.conf.example");
	char *filled = with_files(example);
	struct outcome outcome = load_valid(filled);
	struct outcome plain = load_valid(VALID);

	(void)state;
	expect_clean(example);
	assert_memory_equal(&outcome.config->timeouts, &plain.config->timeouts,
			    sizeof(plain.config->timeouts));
	assert_memory_equal(&outcome.config->limits, &plain.config->limits,
			    sizeof(plain.config->limits));
	assert_int_equal(outcome.config->mark, plain.config->mark);
	assert_int_equal(outcome.config->engine, plain.config->engine);
	assert_int_equal(outcome.config->ktls, plain.config->ktls);
	assert_int_equal(outcome.config->gateways[0].ktls, CONFIG_KTLS_DEFAULT);
	assert_int_equal(outcome.config->edges[0].ktls, CONFIG_KTLS_DEFAULT);
	drop(&outcome);
	drop(&plain);
	free(filled);
	free(example);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_everything_set),
		cmocka_unit_test(test_longest_socket_path),
		cmocka_unit_test(test_dump_parses_back),
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_unreadable_file),
		cmocka_unit_test(test_nul_in_file),
		cmocka_unit_test(test_no_state_between_loads),
		cmocka_unit_test(test_find_plc),
		cmocka_unit_test(test_find_route),
		cmocka_unit_test(test_identity_may),
		cmocka_unit_test(test_ktls_of_listeners),
		cmocka_unit_test(test_manual_names_every_option),
		cmocka_unit_test(test_manual_examples),
		cmocka_unit_test(test_example_file),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
