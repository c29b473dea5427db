/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resumption: between an edge and a gateway of ours, and what plain OpenSSL ends get. What was
 * judged at the full handshake must be judged again at each resumed one.
 */
#include "tls/ticket.h"

#include "tls/tls_stream.h"

#include "record_fixture.h"
#include "tls_fixture.h"

#include <openssl/pem.h>
#include <pthread.h>

/* --- two ends of ours ------------------------------------------------------------------------ */

enum { EDGE, GATEWAY, ENDS };

static struct tls_context *contexts[ENDS];

static int set_up(void **state)
{
	(void)state;
	contexts[EDGE] = papers_context(TLS_ROLE_EDGE, "office");
	contexts[GATEWAY] = papers_context(TLS_ROLE_GATEWAY, "gw");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < ENDS; i++)
		tls_context_free(contexts[i]);
	papers_config.identity_count = 1;
	return 0;
}

struct shaken {
	struct handshake *handshakes[ENDS];
	struct handshake_peer peers[ENDS];
	int fds[ENDS], results[ENDS];
};

/* `name` NULL: by address. Both ends go on until neither wants more. */
static void shake(struct shaken *shaken, struct tls_context *const ends[ENDS], const char *name,
		  uint16_t port)
{
	struct handshake_server server = {.name = name, .mcseal = true};

	memset(shaken, 0, sizeof(*shaken));
	assert_int_equal(address_parse_host("127.0.0.1", port, &server.address), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, shaken->fds), 0);
	for (int i = 0; i < ENDS; i++) {
		assert_int_equal(
			handshake_new(ends[i], shaken->fds[i], &server, &shaken->handshakes[i]), 0);
		shaken->results[i] = HANDSHAKE_WANT_READ;
	}
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < ENDS; i++) {
			if (shaken->results[i] > 0)
				shaken->results[i] =
					handshake_step(shaken->handshakes[i], &shaken->peers[i]);
			if (shaken->results[i] < 0)
				shutdown(shaken->fds[i], SHUT_WR);
		}
	}
}

static void release(struct shaken *shaken)
{
	for (int i = 0; i < ENDS; i++) {
		handshake_free(shaken->handshakes[i]);
		close(shaken->fds[i]);
	}
}

/* A handshake that succeeds; was it a resumption? */
static bool resumes(struct tls_context *const ends[ENDS], const char *name, uint16_t port)
{
	struct shaken shaken;
	bool resumed;

	shake(&shaken, ends, name, port);
	for (int i = 0; i < ENDS; i++)
		if (shaken.results[i] != 0)
			fail_msg("end %d: %d %s", i, shaken.results[i], shaken.peers[i].reason);
	resumed = handshake_resumed(shaken.handshakes[EDGE]);
	assert_int_equal(resumed, handshake_resumed(shaken.handshakes[GATEWAY]));
	assert_ptr_equal(shaken.peers[GATEWAY].identity, &papers_identity);
	release(&shaken);
	return resumed;
}

/* --- the good case --------------------------------------------------------------------------- */

static void second_handshake_is_resumed(void **state)
{
	struct shaken first, second;

	(void)state;
	shake(&first, contexts, NULL, 1);
	shake(&second, contexts, NULL, 1);
	for (int i = 0; i < ENDS; i++) {
		assert_int_equal(first.results[i], 0);
		assert_int_equal(second.results[i], 0);
		assert_false(handshake_resumed(first.handshakes[i]));
		assert_true(handshake_resumed(second.handshakes[i]));
		assert_string_equal(handshake_version(second.handshakes[i]), "TLSv1.3");
		/* The log line has the same to tell. */
		assert_string_equal(first.peers[i].subject, second.peers[i].subject);
		assert_string_equal(first.peers[i].serial, second.peers[i].serial);
		assert_true(strlen(second.peers[i].serial) > 0);
		assert_ptr_equal(first.peers[i].identity, second.peers[i].identity);
		assert_true(second.peers[i].mcseal);
	}
	assert_string_equal(second.peers[GATEWAY].identity->name, "office");
	release(&first);
	release(&second);
	/* And again, with the same ticket. */
	assert_true(resumes(contexts, NULL, 1));
}

static void record_numbers(struct shaken *shaken, uint64_t tickets)
{
	struct traffic_pair pairs[ENDS];
	const char *why = NULL;

	for (int i = 0; i < ENDS; i++) {
		/* A UNIX socket will do for OpenSSL's socket BIO. */
		if (arming_prepare(shaken->handshakes[i], &pairs[i], &why) != 0)
			fail_msg("%s", why);
	}
	assert_int_equal(pairs[GATEWAY].keys[TRAFFIC_SEND].sequence, tickets);
	assert_int_equal(pairs[EDGE].keys[TRAFFIC_RECEIVE].sequence, tickets);
	assert_int_equal(pairs[GATEWAY].keys[TRAFFIC_RECEIVE].sequence, 0);
	assert_int_equal(pairs[EDGE].keys[TRAFFIC_SEND].sequence, 0);
	for (int i = 0; i < ENDS; i++)
		assert_memory_equal(pairs[i].keys[TRAFFIC_SEND].key,
				    pairs[!i].keys[TRAFFIC_RECEIVE].key, 32);
}

/* One ticket after a full handshake, none after a resumed one; nothing is left in the socket. */
static void tickets_are_counted(void **state)
{
	struct shaken shaken;
	char byte;

	(void)state;
	for (int tickets = 1; tickets >= 0; tickets--) {
		shake(&shaken, contexts, NULL, 1);
		for (int i = 0; i < ENDS; i++) {
			assert_int_equal(shaken.results[i], 0);
			assert_int_equal(recv(shaken.fds[i], &byte, 1, MSG_PEEK), -1);
			assert_int_equal(errno, EAGAIN);
		}
		record_numbers(&shaken, (uint64_t)tickets);
		release(&shaken);
	}
}

static int collect(void *owner, const uint8_t *bytes, size_t size)
{
	memcpy(owner, bytes, size);
	return 0;
}

static struct tls_stream *take_over(struct handshake *handshake)
{
	struct traffic_pair pair;
	struct tls_stream *stream;
	const char *why;

	assert_int_equal(arming_prepare(handshake, &pair, &why), 0);
	assert_int_equal(tls_stream_new(&pair, &stream), 0);
	return stream;
}

static void data_flows_in_user_space(void **state)
{
	uint8_t records[TLS_STREAM_WRAPPED(4) + TLS_STREAM_REPLIES_MAX], got[16] = {0};
	struct tls_stream *streams[ENDS];
	struct shaken shaken;
	size_t used;

	(void)state;
	for (int round = 0; round < 2; round++) {
		shake(&shaken, contexts, NULL, 1);
		for (int i = 0; i < ENDS; i++)
			streams[i] = take_over(shaken.handshakes[i]);
		for (int i = 0; i < ENDS; i++) {
			assert_int_equal(tls_stream_wrap(streams[i], (const uint8_t *)"four", 4,
							 records, &used),
					 0);
			assert_int_equal(
				tls_stream_unwrap(streams[!i], records, used, collect, got), 0);
			assert_memory_equal(got, "four", 4);
		}
		for (int i = 0; i < ENDS; i++)
			tls_stream_free(streams[i]);
		release(&shaken);
	}
}

/* --- which session --------------------------------------------------------------------------- */

static void sessions_belong_to_gateway_and_name(void **state)
{
	(void)state;
	assert_false(resumes(contexts, NULL, 1));
	assert_false(resumes(contexts, NULL, 2));
	assert_false(resumes(contexts, "gw.example", 1));
	assert_true(resumes(contexts, NULL, 1));
	assert_true(resumes(contexts, NULL, 2));
	assert_true(resumes(contexts, "gw.example", 1));
	assert_false(resumes(contexts, "gw.example", 2));
}

static void store_is_bounded(void **state)
{
	(void)state;
	for (uint16_t port = 1; port <= TICKET_SLOTS; port++)
		assert_false(resumes(contexts, NULL, port));
	for (uint16_t port = 1; port <= TICKET_SLOTS; port++)
		assert_true(resumes(contexts, NULL, port));
	/* One more gateway: the one kept longest is forgotten. */
	assert_false(resumes(contexts, NULL, TICKET_SLOTS + 1));
	assert_true(resumes(contexts, NULL, 2));
	assert_false(resumes(contexts, NULL, 1));
}

static void forget(uint16_t port)
{
	struct address gateway;

	assert_int_equal(address_parse_host("127.0.0.1", port, &gateway), 0);
	ticket_drop(contexts[EDGE], &gateway, NULL);
}

/* Of the gateway, too: whoever makes many full handshakes takes the place of those before. */
static void gateway_forgets_the_oldest(void **state)
{
	(void)state;
	assert_false(resumes(contexts, NULL, 1));
	for (unsigned int i = 1; i < TICKET_ISSUED; i++) {
		forget(2);
		assert_false(resumes(contexts, NULL, 2));
	}
	assert_true(resumes(contexts, NULL, 1));
	forget(2);
	assert_false(resumes(contexts, NULL, 2));
	assert_false(resumes(contexts, NULL, 1));
	assert_true(resumes(contexts, NULL, 2));
}

/* A gateway that was restarted, or its neighbour behind the same address, knows no such ticket. */
static void unknown_ticket_means_full_handshake(void **state)
{
	struct tls_context *ends[ENDS] = {contexts[EDGE], papers_context(TLS_ROLE_GATEWAY, "gw")};

	(void)state;
	assert_false(resumes(contexts, NULL, 1));
	assert_false(resumes(ends, NULL, 1));
	assert_true(resumes(ends, NULL, 1));
	assert_false(resumes(contexts, NULL, 1));
	tls_context_free(ends[GATEWAY]);
}

static void old_ticket_is_not_offered(void **state)
{
	(void)state;
	SSL_CTX_set_timeout(contexts[GATEWAY]->ssl_context, 1);
	assert_false(resumes(contexts, NULL, 1));
	sleep(2);
	assert_false(resumes(contexts, NULL, 1));
}

/* Perhaps it was the session: the handshake after a failed one is a full one. */
static void failed_resumption_is_not_repeated(void **state)
{
	struct handshake_server server = {.mcseal = true};
	struct handshake *handshake;
	struct handshake_peer peer;
	int fds[2];

	(void)state;
	assert_false(resumes(contexts, NULL, 1));
	assert_int_equal(address_parse_host("127.0.0.1", 1, &server.address), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(handshake_new(contexts[EDGE], fds[0], &server, &handshake), 0);
	assert_int_equal(handshake_step(handshake, &peer), HANDSHAKE_WANT_READ);
	close(fds[1]);
	assert_int_equal(handshake_step(handshake, &peer), -EPROTO);
	handshake_free(handshake);
	close(fds[0]);
	assert_false(resumes(contexts, NULL, 1));
	assert_true(resumes(contexts, NULL, 1));
}

/* --- judged again ---------------------------------------------------------------------------- */

static void assert_refused(int refusing, const char *reason, const char *told)
{
	struct shaken shaken;

	shake(&shaken, contexts, NULL, 1);
	assert_int_equal(shaken.results[refusing], -EPROTO);
	assert_int_equal(shaken.results[!refusing], -EPROTO);
	if (strstr(shaken.peers[refusing].reason, reason) == NULL)
		fail_msg("%s: %s", reason, shaken.peers[refusing].reason);
	assert_string_equal(shaken.peers[!refusing].reason, told);
	release(&shaken);
}

static void identity_is_asked_for_again(void **state)
{
	(void)state;
	assert_false(resumes(contexts, NULL, 1));
	assert_true(resumes(contexts, NULL, 1));
	papers_config.identity_count = 0;
	assert_refused(GATEWAY, "certificate is valid but matches no identity",
		       "peer sent alert: certificate unknown");
}

/* A newer list, put beside the one that the context was made with. */
static void take_back(struct tls_context *context, const char *name)
{
	char path[128], commands[128];
	X509_CRL *list;
	FILE *file;

	/* OpenSSL takes the newer of two lists, by the second. */
	sleep(1);
	snprintf(commands, sizeof(commands),
		 "cp a/crl.pem a/before.pem && $P -d a revoke %s && "
		 "mv a/crl.pem a/now.pem && mv a/before.pem a/crl.pem",
		 name);
	assert_int_equal(papers_shell(commands), 0);
	file = fopen(papers_path(path, sizeof(path), "now.pem"), "r");
	assert_non_null(file);
	list = PEM_read_X509_CRL(file, NULL, NULL, NULL);
	fclose(file);
	assert_non_null(list);
	assert_int_equal(X509_STORE_add_crl(SSL_CTX_get_cert_store(context->ssl_context), list), 1);
	X509_CRL_free(list);
}

static void revoked_client_is_not_resumed(void **state)
{
	(void)state;
	assert_false(resumes(contexts, NULL, 1));
	assert_true(resumes(contexts, NULL, 1));
	take_back(contexts[GATEWAY], "office");
	assert_refused(GATEWAY, "revoked", "peer sent alert: certificate revoked");
}

static void revoked_gateway_is_not_resumed(void **state)
{
	(void)state;
	assert_false(resumes(contexts, NULL, 1));
	assert_true(resumes(contexts, NULL, 1));
	take_back(contexts[EDGE], "gw");
	assert_refused(EDGE, "revoked", "peer sent alert: certificate revoked");
}

/* A full handshake that the gateway refuses fails at the edge, too, and with its reason. */
static void refusal_reaches_the_edge(void **state)
{
	(void)state;
	papers_config.identity_count = 0;
	assert_refused(GATEWAY, "certificate is valid but matches no identity",
		       "peer sent alert: certificate unknown");
}

/* --- plain ends ------------------------------------------------------------------------------ */

static int tickets_seen;

static int count_ticket(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION **kept = SSL_get_app_data(ssl);

	tickets_seen++;
	SSL_SESSION_free(*kept);
	*kept = SSL_SESSION_dup(session);
	return 0;
}

static const unsigned char offer_mcseal[] = "\x02h2\x08mcseal/1";

/* A plain client shakes hands with a gateway of ours. Returns whether it was resumed. */
static bool plain_client(const struct openssl_suite *suite, bool alpn, SSL_SESSION **session)
{
	SSL_CTX *context = papers_plain(suite, false);
	struct handshake *handshake;
	struct handshake_peer peer;
	int fds[2], result = 1;
	bool resumed;
	uint8_t byte;
	SSL *ssl;

	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, count_ticket);
	ssl = SSL_new(context);
	SSL_set_app_data(ssl, session);
	if (alpn)
		SSL_set_alpn_protos(ssl, offer_mcseal, sizeof(offer_mcseal) - 1);
	if (*session != NULL)
		SSL_set_session(ssl, *session);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	SSL_set_fd(ssl, fds[0]);
	SSL_set_connect_state(ssl);
	assert_int_equal(handshake_new(contexts[GATEWAY], fds[1], NULL, &handshake), 0);
	for (int round = 0; round < 10; round++) {
		(void)SSL_do_handshake(ssl);
		if (result > 0)
			result = handshake_step(handshake, &peer);
	}
	assert_int_equal(result, 0);
	assert_int_equal(SSL_read(ssl, &byte, 1), -1);
	resumed = SSL_session_reused(ssl);
	assert_int_equal(resumed, handshake_resumed(handshake));
	handshake_free(handshake);
	SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(ssl);
	SSL_CTX_free(context);
	close(fds[0]);
	close(fds[1]);
	return resumed;
}

static void only_edges_get_tickets(void **state)
{
	SSL_SESSION *session = NULL;

	(void)state;
	for (size_t i = 0; i < OPENSSL_SUITES; i++) {
		tickets_seen = 0;
		assert_false(plain_client(&openssl_suites[i], false, &session));
		assert_int_equal(tickets_seen, 0);
		/* TLS 1.2 has sessions without tickets, too: OpenSSL shows it; it has no use. */
		if (openssl_suites[i].version == TRAFFIC_TLS_1_2)
			continue;
		assert_false(plain_client(&openssl_suites[i], true, &session));
		assert_int_equal(tickets_seen, 1);
		assert_true(plain_client(&openssl_suites[i], true, &session));
		assert_int_equal(tickets_seen, 1);
		/* Without the protocol the same ticket is worth nothing. */
		assert_false(plain_client(&openssl_suites[i], false, &session));
		assert_int_equal(tickets_seen, 1);
		SSL_SESSION_free(session);
		session = NULL;
	}
}

static void tls_1_2_has_no_sessions(void **state)
{
	SSL_SESSION *session = NULL;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_false(plain_client(&openssl_suites[3], i, &session));
		assert_false(plain_client(&openssl_suites[3], i, &session));
		SSL_SESSION_free(session);
		session = NULL;
	}
}

static int agree(SSL *ssl, const unsigned char **out, unsigned char *out_size,
		 const unsigned char *in, unsigned int in_size, void *argument)
{
	(void)ssl;
	(void)in_size;
	(void)argument;
	*out = in + 1;
	*out_size = in[0];
	return SSL_TLSEXT_ERR_OK;
}

/* An edge of ours and a plain server that agrees to the protocol and then does this. */
static void meet_server(struct papers_pair *pair, size_t tickets, const char *data)
{
	struct handshake_server server = {.mcseal = true};
	bool sent = data == NULL;

	papers_start(pair, &openssl_suites[0], false);
	handshake_free(pair->handshake);
	assert_int_equal(address_parse_host("127.0.0.1", 1, &server.address), 0);
	assert_int_equal(handshake_new(pair->context, pair->fds[0], &server, &pair->handshake), 0);
	SSL_CTX_set_alpn_select_cb(pair->plain_context, agree, NULL);
	SSL_set_num_tickets(pair->plain, tickets);
	for (int round = 0; round < 50; round++) {
		if (SSL_do_handshake(pair->plain) == 1 && !sent)
			sent = SSL_write(pair->plain, data, (int)strlen(data)) > 0;
		if (pair->result > 0)
			pair->result = handshake_step(pair->handshake, &pair->peer);
		usleep(1000);
	}
}

static void edge_waits_for_ticket_or_data(void **state)
{
	static const struct {
		size_t tickets;
		const char *data;
		int result;
	} cases[] = {
		{0, NULL, HANDSHAKE_WANT_READ},
		{0, "data", 0},
		{1, NULL, 0},
		{2, NULL, 0},
		{1, "data", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct papers_pair pair;
		struct traffic_pair keys;
		const char *why;
		char bytes[4];

		meet_server(&pair, cases[i].tickets, cases[i].data);
		assert_int_equal(pair.result, cases[i].result);
		if (cases[i].tickets > 0) {
			/* Of one ticket's record, and of no other, a byte was read. */
			assert_int_equal(arming_prepare(pair.handshake, &keys, &why), 0);
			assert_int_equal(keys.keys[TRAFFIC_RECEIVE].sequence, 1);
		} else if (cases[i].data != NULL) {
			assert_int_equal(arming_prepare(pair.handshake, &keys, &why),
					 ARMING_REFUSED);
			assert_int_equal(SSL_read(handshake_ssl(pair.handshake), bytes, 4), 4);
			assert_memory_equal(bytes, "data", 4);
		}
		papers_end(&pair);
	}
}

/* --- threads --------------------------------------------------------------------------------- */

static void *shake_many(void *argument)
{
	size_t *resumed = argument;

	for (uint16_t i = 0; i < 60; i++)
		*resumed += resumes(contexts, NULL, (uint16_t)(1 + i % 3));
	return NULL;
}

static void threads_share_a_context(void **state)
{
	pthread_t threads[4];
	size_t resumed[4] = {0}, total = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, shake_many, &resumed[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], NULL);
		total += resumed[i];
	}
	/* All but the first of each gateway, and those that were faster than it. */
	assert_in_range(total, 4 * 60 - 3 * 4, 4 * 60 - 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(second_handshake_is_resumed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tickets_are_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(data_flows_in_user_space, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sessions_belong_to_gateway_and_name, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(store_is_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(gateway_forgets_the_oldest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unknown_ticket_means_full_handshake, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(old_ticket_is_not_offered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(failed_resumption_is_not_repeated, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(identity_is_asked_for_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refusal_reaches_the_edge, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_edges_get_tickets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tls_1_2_has_no_sessions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(edge_waits_for_ticket_or_data, set_up, tear_down),
		cmocka_unit_test_setup_teardown(threads_share_a_context, set_up, tear_down),
		cmocka_unit_test_setup_teardown(revoked_gateway_is_not_resumed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(revoked_client_is_not_resumed, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("ticket", tests, make_papers, remove_papers);
}
