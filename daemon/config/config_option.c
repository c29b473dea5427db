/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_option.h"

#include "base/error.h"
#include "config/config.h"
#include "config/config_value.h"

#define SECONDS(from, to) .minimum = (from), .maximum = (to)*CLOCK_SEC

/* The list members of a struct are a pointer followed by its count, as the tables assume. */
#define IS_LIST(type, items, count)                                                                \
	_Static_assert(offsetof(type, count) == offsetof(type, items) + sizeof(void *),            \
		       #type ": " #count " must follow " #items)
IS_LIST(struct config_strings, items, count);
IS_LIST(struct config, plcs, plc_count);
IS_LIST(struct config, identities, identity_count);
IS_LIST(struct config, gateways, gateway_count);
IS_LIST(struct config, edges, edge_count);
IS_LIST(struct config_plc, ports, port_count);
IS_LIST(struct config_identity, matches, match_count);
IS_LIST(struct config_identity, policies, policy_count);
IS_LIST(struct config, policies, policy_count);
IS_LIST(struct config_policy, allow, allow_count);
IS_LIST(struct config_policy, commands, command_count);
IS_LIST(struct config_policy, read, read_count);
IS_LIST(struct config_policy, write, write_count);
IS_LIST(struct config_policy, routes, route_count);
IS_LIST(struct config_gateway, listen, listen_count);
IS_LIST(struct config_gateway, clients, client_count);
IS_LIST(struct config_edge, listen, listen_count);
IS_LIST(struct config_edge, sources, source_count);
IS_LIST(struct config_edge, routes, route_count);
IS_LIST(struct config_route, destinations, destination_count);
IS_LIST(struct config_route, gateways, gateway_count);
IS_LIST(struct config_source, addresses, address_count);
IS_LIST(struct config_source, users, user_count);
IS_LIST(struct config_nft, plc_networks, plc_network_count);

/* The word type stores an int; enums are as wide with gcc and clang on Linux. */
_Static_assert(sizeof(enum log_level) == sizeof(int), "log_level is an int");
_Static_assert(sizeof(enum config_engine) == sizeof(int), "config_engine is an int");
_Static_assert(sizeof(enum config_ktls) == sizeof(int), "config_ktls is an int");
_Static_assert(sizeof(enum config_interception) == sizeof(int), "config_interception is an int");
_Static_assert(sizeof(enum config_confine) == sizeof(int), "config_confine is an int");
_Static_assert(sizeof(enum config_protocol) == sizeof(int), "config_protocol is an int");
_Static_assert(sizeof(enum config_dial) == sizeof(int), "config_dial is an int");
_Static_assert(sizeof(enum config_password) == sizeof(int), "config_password is an int");
_Static_assert(sizeof(enum config_tls_profile) == sizeof(int), "config_tls_profile is an int");
_Static_assert(sizeof(enum config_at_expiry) == sizeof(int), "config_at_expiry is an int");
_Static_assert(sizeof(enum config_crl_stale) == sizeof(int), "config_crl_stale is an int");
_Static_assert(sizeof(enum config_audit_failure) == sizeof(int), "config_audit_failure is an int");

static const struct config_word log_levels[] = {
	{"error", LOG_LEVEL_ERROR},
	{"warning", LOG_LEVEL_WARNING},
	{"info", LOG_LEVEL_INFO},
	{"debug", LOG_LEVEL_DEBUG},
	{NULL, 0},
};

static const struct config_word engines[] = {
	{"auto", CONFIG_ENGINE_AUTO},
	{"splice", CONFIG_ENGINE_SPLICE},
	{"uring-splice", CONFIG_ENGINE_URING_SPLICE},
	{"copy", CONFIG_ENGINE_COPY},
	{"epoll", CONFIG_ENGINE_EPOLL},
	{NULL, 0},
};

static const struct config_word ktls[] = {
	{"auto", CONFIG_KTLS_AUTO},
	{"required", CONFIG_KTLS_REQUIRED},
	{"off", CONFIG_KTLS_OFF},
	{NULL, 0},
};

static const struct config_word listener_ktls[] = {
	{"default", CONFIG_KTLS_DEFAULT},
	{"auto", CONFIG_KTLS_AUTO},
	{"required", CONFIG_KTLS_REQUIRED},
	{"off", CONFIG_KTLS_OFF},
	{NULL, 0},
};

static const struct config_word confines[] = {
	{"yes", CONFIG_CONFINE_YES},
	{"no", CONFIG_CONFINE_NO},
	{"required", CONFIG_CONFINE_REQUIRED},
	{NULL, 0},
};

static const struct config_word protocols[] = {
	{"mc", CONFIG_PROTOCOL_MC},
	{"opaque", CONFIG_PROTOCOL_OPAQUE},
	{NULL, 0},
};

static const struct config_word dials[] = {
	{"at-once", CONFIG_DIAL_AT_ONCE},
	{"first-request", CONFIG_DIAL_FIRST_REQUEST},
	{NULL, 0},
};

static const struct config_word passwords[] = {
	{"pass", CONFIG_PASSWORD_PASS},
	{"refuse", CONFIG_PASSWORD_REFUSE},
	{"gateway", CONFIG_PASSWORD_GATEWAY},
	{NULL, 0},
};

static const struct config_word audit_failures[] = {
	{"refuse-writes", CONFIG_AUDIT_REFUSE_WRITES},
	{"continue", CONFIG_AUDIT_CONTINUE},
	{NULL, 0},
};

#define TLS_PROFILES                                                                               \
	{"compatible", CONFIG_TLS_COMPATIBLE}, {"nist", CONFIG_TLS_NIST},                          \
		{"bsi-2026", CONFIG_TLS_BSI_2026},                                                 \
	{                                                                                          \
		"ipa-high", CONFIG_TLS_IPA_HIGH                                                    \
	}

static const struct config_word tls_profiles[] = {
	TLS_PROFILES,
	{NULL, 0},
};

static const struct config_word listener_tls_profiles[] = {
	{"default", CONFIG_TLS_DEFAULT},
	TLS_PROFILES,
	{NULL, 0},
};

static const struct config_word at_expiry[] = {
	{"warn", CONFIG_AT_EXPIRY_WARN},
	{"close", CONFIG_AT_EXPIRY_CLOSE},
	{NULL, 0},
};

static const struct config_word crl_stale[] = {
	{"refuse", CONFIG_CRL_STALE_REFUSE},
	{"warn", CONFIG_CRL_STALE_WARN},
	{NULL, 0},
};

static const struct config_word interceptions[] = {
	{"redirect", CONFIG_INTERCEPTION_REDIRECT},
	{"tproxy", CONFIG_INTERCEPTION_TPROXY},
	{NULL, 0},
};

/* The names of mc_command_class_name(), which a test compares. */
static const struct config_word classes[] = {
	{"read", MC_CLASS_READ},
	{"write", MC_CLASS_WRITE},
	{"control", MC_CLASS_CONTROL},
	{"file-read", MC_CLASS_FILE_READ},
	{"file-write", MC_CLASS_FILE_WRITE},
	{"security", MC_CLASS_SECURITY},
	{"diagnostic", MC_CLASS_DIAGNOSTIC},
	{"other", MC_CLASS_OTHER},
	{NULL, 0},
};

static const struct config_word roles[] = {
	{"client", false},
	{"edge", true},
	{NULL, 0},
};

#define AT(member) .offset = offsetof(struct config_timeouts, member)
static const struct config_option timeouts[] = {
	{"handshake", &config_type_seconds, "3", AT(handshake), SECONDS(10 * CLOCK_MS, 600)},
	{"proxy_header", &config_type_seconds, "1", AT(proxy_header), SECONDS(10 * CLOCK_MS, 600)},
	{"dial_gateway", &config_type_seconds, "1.5", AT(dial_gateway),
	 SECONDS(10 * CLOCK_MS, 600)},
	{"dial_plc", &config_type_seconds, "1", AT(dial_plc), SECONDS(10 * CLOCK_MS, 600)},
	{"slot_wait", &config_type_seconds, "1", AT(slot_wait), SECONDS(0, 600)},
	{"frame_rest", &config_type_seconds, "1", AT(frame_rest), SECONDS(10 * CLOCK_MS, 600)},
	{"request_wait", &config_type_seconds, "1", AT(request_wait), SECONDS(0, 600)},
	{"answer", &config_type_seconds, "10", AT(answer), SECONDS(10 * CLOCK_MS, 3600)},
	{"plc_reopen", &config_type_seconds, "0.5", AT(plc_reopen), SECONDS(0, 600)},
	{"drain", &config_type_seconds, "5", AT(drain), SECONDS(10 * CLOCK_MS, 600)},
	{"keepalive_idle", &config_type_whole_seconds, "10", AT(keepalive_idle),
	 SECONDS(CLOCK_SEC, 7200)},
	{"keepalive_interval", &config_type_whole_seconds, "5", AT(keepalive_interval),
	 SECONDS(CLOCK_SEC, 7200)},
	{"keepalive_count", &config_type_number, "3", AT(keepalive_count), .minimum = 1,
	 .maximum = 127},
	{"user_timeout", &config_type_seconds, "20", AT(user_timeout), SECONDS(CLOCK_SEC, 7200)},
	{"max_session_age", &config_type_seconds, "0", AT(max_session_age), SECONDS(0, 31536000)},
};
#undef AT

#define AT(member) .offset = offsetof(struct config_limits, member)
static const struct config_option limits[] = {
	{"sessions", &config_type_number, "10000", AT(sessions), .minimum = 1, .maximum = 1000000},
	{"sessions_per_source", &config_type_number, "5000", AT(sessions_per_source), .minimum = 0,
	 .maximum = 1000000},
	{"handshakes", &config_type_number, "768", AT(handshakes), .minimum = 1, .maximum = 65536},
	{"handshakes_per_source", &config_type_number, "5000", AT(handshakes_per_source),
	 .minimum = 0, .maximum = 1000000},
	{"frame", &config_type_number, "8200", AT(frame), .minimum = 256,
	 .maximum = CONFIG_FRAME_MAX},
	/* RFC 8446 5.5: 2^24.5 records of AES-GCM under one key. */
	{"key_records", &config_type_number, "23726566", AT(key_records), .minimum = 16,
	 .maximum = UINT32_MAX},
};
#undef AT

#define AT(member) .offset = offsetof(struct config_nft, member)
static const struct config_option nft[] = {
	{"plc_networks", &config_type_prefix, NULL, AT(plc_networks), .list = true,
	 .line_offset = offsetof(struct config_nft, plc_networks_line)},
	{"guard_file", &config_type_path, NULL, AT(guard_file)},
	{"flow_mark", &config_type_mark, "0x4d430003", AT(flow_mark),
	 .line_offset = offsetof(struct config_nft, flow_mark_line)},
	{"divert_mark", &config_type_mark, "0x4d430002", AT(divert_mark),
	 .line_offset = offsetof(struct config_nft, divert_mark_line)},
	/* 0 and 253 to 255 are the kernel's own (linux/rtnetlink.h). */
	{"route_table", &config_type_number, "207", AT(route_table), .minimum = 1, .maximum = 252},
};
#undef AT

#define AT(member) .offset = offsetof(struct config_audit, member)
static const struct config_option audit[] = {
	{"file", &config_type_log, NULL, AT(file)},
	{"reads", &config_type_flag, "no", AT(reads)},
	{"values", &config_type_flag, "no", AT(values)},
	{"failure", &config_type_word, "refuse-writes", AT(failure), .words = audit_failures},
};
#undef AT

#define AT(member) .offset = offsetof(struct config_port, member)
static const struct config_option port[] = {
	{"connections", &config_type_number, "1", AT(connections), .minimum = 1, .maximum = 1024},
	{"protocol", &config_type_word, "mc", AT(protocol), .words = protocols},
	{"identities", &config_type_string, NULL, AT(identities), .list = true,
	 .line_offset = offsetof(struct config_port, identities_line)},
};
#undef AT

#define AT(member) .offset = offsetof(struct config_plc, member)
static const struct config_option plc[] = {
	{"address", &config_type_host, NULL, AT(address), .required = true},
	{"sni", &config_type_name, NULL, AT(sni), .list = true},
	{"dial", &config_type_word, "at-once", AT(dial), .words = dials},
	{"requests_at_once", &config_type_number, "0", AT(requests_at_once), .minimum = 0,
	 .maximum = 1024},
	{"remote_password", &config_type_word, "pass", AT(remote_password), .words = passwords,
	 .line_offset = offsetof(struct config_plc, password_line)},
	{"remote_password_file", &config_type_secret, NULL, AT(remote_password_file),
	 .line_offset = offsetof(struct config_plc, password_file_line)},
	{"password_tries", &config_type_number, "3", AT(password_tries), .minimum = 1,
	 .maximum = 16},
	{"password_time", &config_type_seconds, "900", AT(password_time),
	 SECONDS(CLOCK_SEC, 86400)},
};

static const struct config_section plc_sections[] = {
	{
		.name = "port",
		.title = &config_type_port,
		.offset = offsetof(struct config_plc, ports),
		.size = sizeof(struct config_port),
		.title_offset = offsetof(struct config_port, number),
		.line_offset = offsetof(struct config_port, line),
		.options = port,
		.option_count = ARRAY_SIZE(port),
	},
};
#undef AT

#define AT(member) .offset = offsetof(struct config_policy, member)
static const struct config_option policy[] = {
	{"allow", &config_type_word, NULL, AT(allow), .list = true, .words = classes},
	{"commands", &config_type_command, NULL, AT(commands), .list = true},
	{"read", &config_type_points, NULL, AT(read), .list = true},
	{"write", &config_type_points, NULL, AT(write), .list = true},
	{"routes", &config_type_access_route, NULL, AT(routes), .list = true},
	{"observe", &config_type_flag, "no", AT(observe)},
	{"requests_per_second", &config_type_number, "0", AT(requests_per_second), .minimum = 0,
	 .maximum = 100000},
	{"burst", &config_type_number, "10", AT(burst), .minimum = 1, .maximum = 100000},
	{"connections", &config_type_number, "0", AT(connections), .minimum = 0, .maximum = 1024},
};
#undef AT

#define AT(member) .offset = offsetof(struct config_identity, member)
static const struct config_option identity[] = {
	{"match", &config_type_match, NULL, AT(matches), .list = true, .required = true},
	{"role", &config_type_role, "client", AT(edge), .words = roles},
	{"plcs", &config_type_string, NULL, AT(plcs), .list = true, .required = true,
	 .line_offset = offsetof(struct config_identity, plcs_line)},
	{"policy", &config_type_policy_choice, NULL, AT(policies), .list = true,
	 .line_offset = offsetof(struct config_identity, policies_line)},
};
#undef AT

/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): a type cannot stand in parentheses */
#define CREDENTIAL(name, type, section, is_required)                                               \
	{#name, &(type), NULL, .offset = offsetof(section, credentials.name),                      \
	 .required = (is_required)}
/* NOLINTEND(bugprone-macro-parentheses) */
#define CREDENTIALS(section, is_required)                                                          \
	CREDENTIAL(certificate, config_type_certificate, section, is_required),                    \
	CREDENTIAL(key, config_type_key, section, is_required),                                    \
	CREDENTIAL(ca, config_type_ca, section, is_required),                                      \
	CREDENTIAL(crl, config_type_crl, section, false)
/* clang-format on */

#define AT(member) .offset = offsetof(struct config_gateway, member)
static const struct config_option gateway[] = {
	{"listen", &config_type_address, NULL, AT(listen), .list = true, .required = true,
	 .line_offset = offsetof(struct config_gateway, listen_line)},
	CREDENTIALS(struct config_gateway, true),
	{"ktls", &config_type_word, "default", AT(ktls), .words = listener_ktls},
	{"sessions", &config_type_number, "0", AT(sessions), .minimum = 0, .maximum = 1000000},
	{"tls_profile", &config_type_word, "default", AT(credentials.tls_profile),
	 .words = listener_tls_profiles},
	{"inspect", &config_type_flag, "yes", AT(inspect),
	 .line_offset = offsetof(struct config_gateway, inspect_line)},
	{"clients", &config_type_prefix, NULL, AT(clients), .list = true},
	{"plc", &config_type_string, NULL, AT(fixed_plc),
	 .line_offset = offsetof(struct config_gateway, plc_line)},
	{"plc_port", &config_type_port, NULL, AT(fixed_port),
	 .line_offset = offsetof(struct config_gateway, plc_port_line)},
};
#undef AT

#define AT(member) .offset = offsetof(struct config_source, member)
static const struct config_option source[] = {
	{"addresses", &config_type_prefix, NULL, AT(addresses), .list = true},
	{"users", &config_type_user, NULL, AT(users), .list = true},
	{"cgroups", &config_type_cgroup, NULL, AT(cgroups), .list = true},
	CREDENTIALS(struct config_source, false),
};
#undef AT

#define AT(member) .offset = offsetof(struct config_route, member)
static const struct config_option route[] = {
	{"destinations", &config_type_destination, NULL, AT(destinations), .list = true,
	 .required = true, .line_offset = offsetof(struct config_route, destinations_line)},
	{"gateways", &config_type_address, NULL, AT(gateways), .list = true, .required = true,
	 .line_offset = offsetof(struct config_route, gateways_line)},
	{"server_name", &config_type_name, NULL, AT(server_name)},
	{"proxy_header", &config_type_flag, "yes", AT(proxy_header)},
	{"protocol", &config_type_word, "mc", AT(protocol), .words = protocols},
};
#undef AT

#define AT(member) .offset = offsetof(struct config_edge, member)
static const struct config_option edge[] = {
	{"listen", &config_type_address, NULL, AT(listen), .list = true, .required = true,
	 .line_offset = offsetof(struct config_edge, listen_line)},
	{"transparent", &config_type_flag, NULL, AT(transparent),
	 .line_offset = offsetof(struct config_edge, transparent_line)},
	{"destination", &config_type_address, NULL, AT(destination),
	 .line_offset = offsetof(struct config_edge, destination_line)},
	{"interception", &config_type_word, "redirect", AT(interception), .words = interceptions,
	 .line_offset = offsetof(struct config_edge, interception_line)},
	{"interfaces", &config_type_interface, NULL, AT(interfaces), .list = true,
	 .line_offset = offsetof(struct config_edge, interfaces_line)},
	CREDENTIALS(struct config_edge, true),
	{"ktls", &config_type_word, "default", AT(ktls), .words = listener_ktls},
	{"sessions", &config_type_number, "0", AT(sessions), .minimum = 0, .maximum = 1000000},
	{"tls_profile", &config_type_word, "default", AT(credentials.tls_profile),
	 .words = listener_tls_profiles},
};

static const struct config_section edge_sections[] = {
	{
		.name = "source",
		.title = &config_type_name,
		.offset = offsetof(struct config_edge, sources),
		.size = sizeof(struct config_source),
		.title_offset = offsetof(struct config_source, name),
		.line_offset = offsetof(struct config_source, line),
		.options = source,
		.option_count = ARRAY_SIZE(source),
	},
	{
		.name = "route",
		.title = &config_type_name,
		.offset = offsetof(struct config_edge, routes),
		.size = sizeof(struct config_route),
		.title_offset = offsetof(struct config_route, name),
		.line_offset = offsetof(struct config_route, line),
		.options = route,
		.option_count = ARRAY_SIZE(route),
	},
};
#undef AT

#define AT(member) .offset = offsetof(struct config, member)
static const struct config_option options[] = {
	{"log_level", &config_type_word, "info", AT(log_level), .words = log_levels},
	{"workers", &config_type_number, "0", AT(workers), .minimum = 0, .maximum = 256},
	{"engine", &config_type_word, "auto", AT(engine), .words = engines},
	{"ktls", &config_type_word, "auto", AT(ktls), .words = ktls},
	{"busy_poll", &config_type_flag, "yes", AT(busy_poll)},
	{"confine", &config_type_word, "yes", AT(confine), .words = confines},
	{"confine_folders", &config_type_folder, NULL, AT(confine_folders), .list = true},
	{"mark", &config_type_mark, "0x4d430001", AT(mark)},
	{"tls_profile", &config_type_word, "compatible", AT(tls_profile), .words = tls_profiles},
	{"at_expiry", &config_type_word, "warn", AT(at_expiry), .words = at_expiry},
	{"crl_stale", &config_type_word, "refuse", AT(crl_stale), .words = crl_stale},
	{"reload_on_change", &config_type_flag, "yes", AT(reload_on_change)},
	{"control_socket", &config_type_socket, CONFIG_CONTROL_SOCKET, AT(control_socket)},
};

static const struct config_section sections[] = {
	{
		.name = "timeouts",
		AT(timeouts),
		.size = sizeof(struct config_timeouts),
		.options = timeouts,
		.option_count = ARRAY_SIZE(timeouts),
	},
	{
		.name = "limits",
		AT(limits),
		.size = sizeof(struct config_limits),
		.options = limits,
		.option_count = ARRAY_SIZE(limits),
	},
	{
		.name = "nft",
		AT(nft),
		.size = sizeof(struct config_nft),
		.options = nft,
		.option_count = ARRAY_SIZE(nft),
	},
	{
		.name = "audit",
		AT(audit),
		.size = sizeof(struct config_audit),
		.options = audit,
		.option_count = ARRAY_SIZE(audit),
	},
	{
		.name = "plc",
		.title = &config_type_name,
		AT(plcs),
		.size = sizeof(struct config_plc),
		.title_offset = offsetof(struct config_plc, name),
		.line_offset = offsetof(struct config_plc, line),
		.options = plc,
		.option_count = ARRAY_SIZE(plc),
		.sections = plc_sections,
		.section_count = ARRAY_SIZE(plc_sections),
	},
	{
		.name = "policy",
		.title = &config_type_name,
		AT(policies),
		.size = sizeof(struct config_policy),
		.title_offset = offsetof(struct config_policy, name),
		.line_offset = offsetof(struct config_policy, line),
		.options = policy,
		.option_count = ARRAY_SIZE(policy),
	},
	{
		.name = "identity",
		.title = &config_type_name,
		AT(identities),
		.size = sizeof(struct config_identity),
		.title_offset = offsetof(struct config_identity, name),
		.line_offset = offsetof(struct config_identity, line),
		.options = identity,
		.option_count = ARRAY_SIZE(identity),
	},
	{
		.name = "gateway",
		.title = &config_type_name,
		AT(gateways),
		.size = sizeof(struct config_gateway),
		.title_offset = offsetof(struct config_gateway, name),
		.line_offset = offsetof(struct config_gateway, line),
		.options = gateway,
		.option_count = ARRAY_SIZE(gateway),
	},
	{
		.name = "edge",
		.title = &config_type_name,
		AT(edges),
		.size = sizeof(struct config_edge),
		.title_offset = offsetof(struct config_edge, name),
		.line_offset = offsetof(struct config_edge, line),
		.options = edge,
		.option_count = ARRAY_SIZE(edge),
		.sections = edge_sections,
		.section_count = ARRAY_SIZE(edge_sections),
	},
};
#undef AT

const struct config_section config_root = {
	.name = "the top level",
	.size = sizeof(struct config),
	.options = options,
	.option_count = ARRAY_SIZE(options),
	.sections = sections,
	.section_count = ARRAY_SIZE(sections),
};
