/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts, handshakes, identities and the record layer, with certificates made by mcseal-pki.
 * Both ends are ours here; the end-to-end tests have the other implementations.
 */
#include "tls/handshake.h"
#include "tls/identity.h"
#include "tls/tls_context.h"
#include "tls/arming.h"
#include "tls/tls_stream.h"

#include "base/buffer.h"
#include "base/error.h"

#include <errno.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

static char folder[] = "/tmp/mcseal-tls-XXXXXX";

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
	char command[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("%s", command);
}

static int make_pki(void **state)
{
	(void)state;
	if (mkdtemp(folder) == NULL)
		return -1;
	shell("(P=certs/mcseal-pki; $P init %s/a && $P init %s/b && $P -d %s/a gateway gw --ip "
	      "127.0.0.1 --dns gw.example && $P -d %s/a edge office && $P -d %s/a client ana "
	      "--role "
	      "viewer --email ana@example.com --dns ana.example && $P -d %s/a client gone && "
	      "$P -d %s/a revoke gone && $P -d %s/b client stranger) >/dev/null 2>&1",
	      folder, folder, folder, folder, folder, folder, folder, folder);
	return 0;
}

static int remove_pki(void **state)
{
	(void)state;
	shell("rm -rf %s", folder);
	return 0;
}

/* Credentials of one end; the strings are leaked into a small pool freed at the end. */
static char *pool[64];
static size_t pool_used;

static char *path(const char *ca, const char *name)
{
	char *text;

	assert_true(asprintf(&text, "%s/%s/%s", folder, ca, name) > 0);
	assert_true(pool_used < ARRAY_SIZE(pool));
	pool[pool_used++] = text;
	return text;
}

static void free_pool(void)
{
	while (pool_used > 0)
		free(pool[--pool_used]);
}

static struct config_credentials credentials(const char *ca, const char *certificate,
					     const char *key)
{
	return (struct config_credentials){.certificate = path(ca, certificate),
					   .key = path(ca, key),
					   .ca = path("a", "ca.pem"),
					   .crl = path("a", "crl.pem")};
}

static struct config_match office_match = {CONFIG_MATCH_URI, (char[]){"urn:mcseal:edge:office"}};
static struct config_match ana_match = {CONFIG_MATCH_ROLE, (char[]){"viewer"}};
static struct config_identity identities[] = {
	{.name = (char[]){"office"}, .edge = true, .matches = &office_match, .match_count = 1},
	{.name = (char[]){"ana"}, .matches = &ana_match, .match_count = 1},
};
static struct config config = {.identities = identities, .identity_count = 2};

static struct tls_context *context(enum tls_role role, const char *ca, const char *name)
{
	char certificate[64], key[64];
	struct config_credentials files;
	struct tls_context *made = NULL;

	snprintf(certificate, sizeof(certificate), "issued/%s.pem", name);
	snprintf(key, sizeof(key), "issued/%s.key", name);
	files = credentials(ca, certificate, key);
	assert_int_equal(tls_context_new(&config, &files, role, "test", stderr, &made), 0);
	return made;
}

/* --- handshakes ------------------------------------------------------------------------------ */

struct end {
	struct tls_context *context;
	struct handshake *handshake;
	struct handshake_peer peer;
	int fd, result;
};

static void start_end(struct end *end, int fd, const struct handshake_server *server)
{
	end->fd = fd;
	end->result = HANDSHAKE_WANT_READ;
	memset(&end->peer, 0, sizeof(end->peer));
	assert_int_equal(handshake_new(end->context, fd, server, &end->handshake), 0);
}

static void shake(struct end *edge, struct end *gateway, const char *address, const char *name,
		  bool mcseal)
{
	struct handshake_server server = {.name = name, .mcseal = mcseal};
	int pair[2];

	assert_int_equal(address_parse_host(address, 8443, &server.address), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	start_end(edge, pair[0], &server);
	start_end(gateway, pair[1], NULL);
	for (int i = 0; i < 20; i++) {
		if (edge->result > 0)
			edge->result = handshake_step(edge->handshake, &edge->peer);
		if (gateway->result > 0)
			gateway->result = handshake_step(gateway->handshake, &gateway->peer);
		/* One that has failed closes, and the other sees what was sent before. */
		if (edge->result < 0)
			shutdown(edge->fd, SHUT_WR);
		if (gateway->result < 0)
			shutdown(gateway->fd, SHUT_WR);
	}
}

static void end_both(struct end *edge, struct end *gateway)
{
	struct end *ends[] = {edge, gateway};

	for (int i = 0; i < 2; i++) {
		handshake_free(ends[i]->handshake);
		tls_context_free(ends[i]->context);
		close(ends[i]->fd);
	}
	free_pool();
}

static void good_handshake(void **state)
{
	struct end edge = {.context = context(TLS_ROLE_EDGE, "a", "office")};
	struct end gateway = {.context = context(TLS_ROLE_GATEWAY, "a", "gw")};

	(void)state;
	shake(&edge, &gateway, "127.0.0.1", NULL, true);
	assert_int_equal(edge.result, 0);
	assert_int_equal(gateway.result, 0);
	assert_true(edge.peer.mcseal && gateway.peer.mcseal);
	assert_string_equal(gateway.peer.identity->name, "office");
	assert_null(edge.peer.identity);
	assert_string_equal(handshake_version(gateway.handshake), "TLSv1.3");
	assert_string_equal(gateway.peer.server_name, "");
	assert_in_range(strlen(gateway.peer.serial), 30, 40);
	end_both(&edge, &gateway);
}

static void name_and_sni(void **state)
{
	struct end edge = {.context = context(TLS_ROLE_EDGE, "a", "ana")};
	struct end gateway = {.context = context(TLS_ROLE_GATEWAY, "a", "gw")};

	(void)state;
	shake(&edge, &gateway, "192.0.2.9", "gw.example", false);
	assert_int_equal(edge.result, 0);
	assert_int_equal(gateway.result, 0);
	assert_false(gateway.peer.mcseal);
	assert_string_equal(gateway.peer.server_name, "gw.example");
	assert_string_equal(gateway.peer.identity->name, "ana");
	end_both(&edge, &gateway);
}

static void refusals(void **state)
{
	static const struct {
		const char *ca, *client, *address, *name;
		bool mcseal, edge_refuses;
		const char *reason;
	} cases[] = {
		{"b", "stranger", "127.0.0.1", NULL, true, false, "unable to get local issuer"},
		{"a", "gone", "127.0.0.1", NULL, true, false, "revoked"},
		{"a", "office", "192.0.2.9", NULL, true, true, "IP address mismatch"},
		{"a", "office", "127.0.0.1", "other.example", true, true, "hostname mismatch"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct end edge = {.context = context(TLS_ROLE_EDGE, cases[i].ca, cases[i].client)};
		struct end gateway = {.context = context(TLS_ROLE_GATEWAY, "a", "gw")};
		const struct end *refusing = cases[i].edge_refuses ? &edge : &gateway;

		shake(&edge, &gateway, cases[i].address, cases[i].name, cases[i].mcseal);
		assert_int_equal(refusing->result, -EPROTO);
		if (strstr(refusing->peer.reason, cases[i].reason) == NULL)
			fail_msg("%s: %s", cases[i].reason, refusing->peer.reason);
		if (cases[i].edge_refuses && strstr(gateway.peer.reason, "alert") == NULL)
			fail_msg("the gateway was not told: %s", gateway.peer.reason);
		end_both(&edge, &gateway);
	}
}

static void no_identity_is_refused(void **state)
{
	struct end edge = {.context = context(TLS_ROLE_EDGE, "a", "office")};
	struct end gateway = {.context = context(TLS_ROLE_GATEWAY, "a", "gw")};

	(void)state;
	config.identity_count = 0;
	shake(&edge, &gateway, "127.0.0.1", NULL, true);
	config.identity_count = 2;
	assert_int_equal(gateway.result, -EPROTO);
	assert_string_equal(gateway.peer.reason, "certificate is valid but matches no identity");
	end_both(&edge, &gateway);
}

/* --- files --------------------------------------------------------------------------------------
 */

static void bad_files_are_all_reported(void **state)
{
	struct config_credentials files = {.certificate = path("a", "issued/gw.pem"),
					   .key = path("a", "issued/office.key"),
					   .ca = path("a", "issued/office.key"),
					   .crl = path("a", "ca.pem")};
	struct tls_context *made = NULL;
	char report[2048] = "";
	FILE *file = fmemopen(report, sizeof(report), "w");

	(void)state;
	assert_int_equal(tls_context_new(&config, &files, TLS_ROLE_EDGE, "edge \"x\"", file, &made),
			 -EINVAL);
	fclose(file);
	assert_non_null(strstr(report, "not usable for a TLS client"));
	assert_non_null(strstr(report, "edge \"x\""));
	assert_non_null(strstr(report, "no usable PEM CA certificate"));
	assert_non_null(strstr(report, "revocation list"));
	assert_non_null(strstr(report, "key"));
	free_pool();
}

/* --- identities
 * ------------------------------------------------------------------------------------ */

static X509 *load(const char *name)
{
	FILE *file = fopen(path("a", name), "r");
	X509 *certificate;

	assert_non_null(file);
	certificate = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	assert_non_null(certificate);
	return certificate;
}

static void spki_of(X509 *certificate, char hex[65])
{
	unsigned char digest[32], *der = NULL;
	int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);

	assert_true(size > 0);
	EVP_Digest(der, (size_t)size, digest, NULL, EVP_sha256(), NULL);
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	OPENSSL_free(der);
}

static void every_kind_of_match(void **state)
{
	X509 *certificate = load("issued/ana.pem");
	char spki[65], serial[64], issuer[256], both[400];
	struct {
		enum config_match_kind kind;
		const char *value;
		bool matches;
	} cases[] = {
		{CONFIG_MATCH_URI, "urn:mcseal:client:ana", true},
		{CONFIG_MATCH_URI, "urn:mcseal:client:anab", false},
		{CONFIG_MATCH_URI, "URN:mcseal:client:ana", false},
		{CONFIG_MATCH_DNS, "ANA.example", true},
		{CONFIG_MATCH_DNS, "b.example", false},
		{CONFIG_MATCH_EMAIL, "ana@example.com", true},
		{CONFIG_MATCH_EMAIL, "bob@example.com", false},
		{CONFIG_MATCH_CN, "ana", true},
		{CONFIG_MATCH_CN, "an", false},
		{CONFIG_MATCH_SPKI, spki, true},
		{CONFIG_MATCH_SPKI,
		 "0000000000000000000000000000000000000000000000000000000000000000", false},
		{CONFIG_MATCH_SERIAL, both, true},
		{CONFIG_MATCH_SERIAL, "01@CN=nobody", false},
		{CONFIG_MATCH_ROLE, "viewer", true},
		{CONFIG_MATCH_ROLE, "edge", false},
	};

	(void)state;
	spki_of(certificate, spki);
	identity_serial(certificate, serial, sizeof(serial));
	X509_NAME_oneline(X509_get_issuer_name(certificate), issuer, sizeof(issuer));
	/* "/CN=NAME" as OpenSSL's old form writes it is "CN=NAME" in RFC 2253. */
	snprintf(both, sizeof(both), "%s@%s", serial, issuer + 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_match match = {cases[i].kind, (char *)(uintptr_t)cases[i].value};
		struct config_identity identity = {.matches = &match, .match_count = 1};
		struct config only = {.identities = &identity, .identity_count = 1};

		if ((identity_find(&only, certificate) != NULL) != cases[i].matches)
			fail_msg("case %zu: %s", i, cases[i].value);
	}
	X509_free(certificate);
	free_pool();
}

/* --- the record layer
 * --------------------------------------------------------------------------------- */

struct streams {
	struct end edge, gateway;
	struct tls_stream *from, *to;
};

/* From OpenSSL's handshake to records of our own. */
static struct tls_stream *take_over(const struct end *end)
{
	struct traffic_pair pair;
	struct tls_stream *stream;
	const char *why;

	assert_int_equal(arming_prepare(end->handshake, &pair, &why), 0);
	assert_int_equal(tls_stream_new(&pair, &stream), 0);
	return stream;
}

static void open_streams(struct streams *streams)
{
	*streams = (struct streams){.edge.context = context(TLS_ROLE_EDGE, "a", "office"),
				    .gateway.context = context(TLS_ROLE_GATEWAY, "a", "gw")};
	shake(&streams->edge, &streams->gateway, "127.0.0.1", NULL, true);
	assert_int_equal(streams->gateway.result, 0);
	streams->from = take_over(&streams->edge);
	streams->to = take_over(&streams->gateway);
}

static void close_streams(struct streams *streams)
{
	tls_stream_free(streams->from);
	tls_stream_free(streams->to);
	end_both(&streams->edge, &streams->gateway);
}

static int collect(void *owner, const uint8_t *bytes, size_t size)
{
	return buffer_append(owner, bytes, size);
}

static uint8_t records[TLS_STREAM_WRAPPED(40000) + TLS_STREAM_REPLIES_MAX];

static void bytes_survive_any_cut(void **state)
{
	static uint8_t bytes[40000];
	struct streams streams;
	unsigned int seed = 5;

	(void)state;
	open_streams(&streams);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)rand_r(&seed);
	for (size_t round = 0; round < 200; round++) {
		size_t size = round < 2 ? sizeof(bytes) : 1 + (size_t)rand_r(&seed) % 3000;
		struct buffer got = {0};
		size_t used, at = 0;

		assert_int_equal(tls_stream_wrap(streams.from, bytes, size, records, &used), 0);
		assert_true(used <= TLS_STREAM_WRAPPED(size));
		while (at < used) {
			size_t cut = 1 + (size_t)rand_r(&seed) % 700;

			cut = cut < used - at ? cut : used - at;
			assert_int_equal(
				tls_stream_unwrap(streams.to, records + at, cut, collect, &got), 0);
			at += cut;
		}
		assert_int_equal(buffer_size(&got), size);
		assert_memory_equal(buffer_bytes(&got), bytes, size);
		buffer_deinit(&got);
	}
	close_streams(&streams);
}

static void one_wrap_is_one_record(void **state)
{
	static const size_t sizes[] = {1, 21, 1931, 8200, 16384};
	static uint8_t bytes[16384];
	struct streams streams;

	(void)state;
	open_streams(&streams);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t used;

		assert_int_equal(tls_stream_wrap(streams.from, bytes, sizes[i], records, &used), 0);
		assert_int_equal(records[0], 23);
		assert_int_equal(used, 5 + (size_t)(records[3] << 8 | records[4]));
	}
	close_streams(&streams);
}

static void close_notify_ends_one_direction(void **state)
{
	struct streams streams;
	struct buffer got = {0};
	size_t used;

	(void)state;
	open_streams(&streams);
	assert_int_equal(tls_stream_wrap(streams.from, (const uint8_t *)"last", 4, records, &used),
			 0);
	assert_int_equal(tls_stream_unwrap(streams.to, records, used, collect, &got), 0);
	assert_int_equal(tls_stream_wrap_close(streams.from, records, &used), 0);
	assert_int_equal(tls_stream_unwrap(streams.to, records, used, collect, &got),
			 TLS_STREAM_CLOSED);
	assert_int_equal(buffer_size(&got), 4);
	buffer_deinit(&got);
	/* The other direction is still open. */
	assert_int_equal(tls_stream_wrap(streams.to, (const uint8_t *)"more", 4, records, &used),
			 0);
	assert_int_equal(tls_stream_unwrap(streams.from, records, used, collect, &got), 0);
	assert_int_equal(buffer_size(&got), 4);
	buffer_deinit(&got);
	close_streams(&streams);
}

static void altered_record_is_refused_and_told(void **state)
{
	uint8_t alert[TLS_STREAM_WRAPPED(0) + TLS_STREAM_REPLIES_MAX];
	struct streams streams;
	struct buffer got = {0};
	size_t used, size;

	(void)state;
	open_streams(&streams);
	assert_int_equal(tls_stream_wrap(streams.from, (const uint8_t *)"write", 5, records, &used),
			 0);
	records[7] ^= 1;
	assert_int_equal(tls_stream_unwrap(streams.to, records, used, collect, &got), -EPROTO);
	assert_int_equal(buffer_size(&got), 0);
	assert_non_null(strstr(tls_stream_reason(streams.to), "bad record mac"));
	size = tls_stream_replies(streams.to, alert);
	assert_true(size > 0);
	assert_int_equal(tls_stream_unwrap(streams.from, alert, size, collect, &got), -EPROTO);
	assert_string_equal(tls_stream_reason(streams.from), "peer sent alert: bad record mac");
	close_streams(&streams);
}

/* How many KeyUpdates until the other end has had enough; 0: it never has. */
static int storm(struct tls_stream *from, struct tls_stream *to)
{
	struct buffer got = {0};
	int result = 0, count = 0;

	while (result == 0 && count < 1000) {
		size_t size;

		assert_int_equal(tls_stream_refresh(from), 0);
		size = tls_stream_replies(from, records);
		assert_true(size > 0);
		result = tls_stream_unwrap(to, records, size, collect, &got);
		size = tls_stream_replies(to, records);
		assert_true(size > 0); /* its next key, or an alert */
		assert_int_equal(tls_stream_unwrap(from, records, size, collect, &got),
				 result < 0 ? -EPROTO : 0);
		count++;
	}
	assert_int_equal(buffer_size(&got), 0);
	return result < 0 ? count : 0;
}

static void key_updates_are_limited(void **state)
{
	struct streams streams;

	(void)state;
	open_streams(&streams);
	assert_int_equal(storm(streams.from, streams.to), RECORD_UPDATES_BURST + 1);
	assert_string_equal(tls_stream_reason(streams.to), "peer changes its keys too often");
	close_streams(&streams);
}

static void pass(struct tls_stream *from, struct tls_stream *to)
{
	struct buffer got = {0};
	size_t used;

	assert_int_equal(tls_stream_wrap(from, (const uint8_t *)"four", 4, records, &used), 0);
	assert_int_equal(tls_stream_unwrap(to, records, used, collect, &got), 0);
	assert_int_equal(buffer_size(&got), 4);
	buffer_deinit(&got);
}

static void assert_use(const struct tls_stream *stream, uint64_t received, uint64_t sent)
{
	uint64_t counted[2];

	tls_stream_use(stream, &counted[0], &counted[1]);
	assert_int_equal(counted[0], received);
	assert_int_equal(counted[1], sent);
}

static void use_is_counted_and_refreshed(void **state)
{
	struct streams streams;
	struct buffer got = {0};
	size_t size;

	(void)state;
	open_streams(&streams);
	/* The ticket was a record, too. */
	assert_use(streams.from, 1, 0);
	for (int i = 0; i < 5; i++)
		pass(streams.from, streams.to);
	pass(streams.to, streams.from);
	assert_use(streams.from, 2, 5);
	assert_use(streams.to, 5, 2);
	/* With a record in two halves. */
	assert_int_equal(tls_stream_wrap(streams.to, (const uint8_t *)"x", 1, records, &size), 0);
	assert_int_equal(tls_stream_unwrap(streams.from, records, size - 3, collect, &got), 0);
	assert_int_equal(tls_stream_refresh(streams.from), 0);
	assert_int_equal(tls_stream_unwrap(streams.from, records + size - 3, 3, collect, &got), 0);
	assert_int_equal(buffer_size(&got), 1);
	assert_use(streams.from, 3, 0);
	size = tls_stream_replies(streams.from, records);
	assert_int_equal(tls_stream_unwrap(streams.to, records, size, collect, &got), 0);
	assert_use(streams.to, 0, 3);
	/* The answer goes before the next that is sent. */
	pass(streams.to, streams.from);
	assert_use(streams.from, 1, 0);
	assert_use(streams.to, 0, 1);
	pass(streams.from, streams.to);
	assert_use(streams.from, 1, 1);
	buffer_deinit(&got);
	close_streams(&streams);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_handshake),
		cmocka_unit_test(name_and_sni),
		cmocka_unit_test(refusals),
		cmocka_unit_test(no_identity_is_refused),
		cmocka_unit_test(bad_files_are_all_reported),
		cmocka_unit_test(every_kind_of_match),
		cmocka_unit_test(bytes_survive_any_cut),
		cmocka_unit_test(one_wrap_is_one_record),
		cmocka_unit_test(close_notify_ends_one_direction),
		cmocka_unit_test(altered_record_is_refused_and_told),
		cmocka_unit_test(key_updates_are_limited),
		cmocka_unit_test(use_is_counted_and_refreshed),
	};

	return cmocka_run_group_tests_name("tls", tests, make_pki, remove_pki);
}
