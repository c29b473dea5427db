/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key schedule: published vectors, then OpenSSL itself. A handshake over memory BIOs for each
 * cipher and version, and the records of either end must open with the keys derived here.
 */
#include "tls/traffic_keys.h"

#include "openssl_fixture.h"
#include "record_fixture.h"

#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* --- published vectors ----------------------------------------------------------------------- */

static struct traffic_secret secret_of(const char *hex)
{
	struct traffic_secret secret = {0};

	secret.size = (uint8_t)record_hex(hex, secret.bytes);
	return secret;
}

/* RFC 8448 section 3, "derive write traffic keys for application data" of both ends. */
static void simple_handshake_of_rfc_8448(void **state)
{
	static const struct {
		const char *secret, *key, *iv;
	} ends[] = {
		{"9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
		 "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9"},
		{"a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
		 "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct traffic_secret secret = secret_of(ends[i].secret);
		struct traffic_keys keys;
		uint8_t key[16], iv[12];

		record_hex(ends[i].key, key);
		record_hex(ends[i].iv, iv);
		assert_int_equal(traffic_keys_expand(TRAFFIC_AES_128_GCM, &secret, &keys), 0);
		assert_memory_equal(keys.key, key, sizeof(key));
		assert_memory_equal(keys.iv, iv, sizeof(iv));
		assert_int_equal(keys.version, TRAFFIC_TLS_1_3);
		assert_int_equal(keys.sequence, 0);
	}
}

/* The client's application data of that handshake, 00 to 31, as it is on the wire. */
static void record_of_rfc_8448(void **state)
{
	static const char wire[] =
		"17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14"
		"aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62"
		"92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4";
	struct traffic_secret secret =
		secret_of("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
	uint8_t record[RECORD_ROOM], plain[RECORD_ROOM], type;
	struct traffic_keys keys;

	(void)state;
	assert_int_equal(traffic_keys_expand(TRAFFIC_AES_128_GCM, &secret, &keys), 0);
	assert_int_equal(record_hex(wire, record), 72);
	assert_int_equal(record_open(&keys, record, plain, &type), 50);
	assert_int_equal(type, 23);
	for (uint8_t i = 0; i < 50; i++)
		assert_int_equal(plain[i], i);
}

/* --- names and numbers ----------------------------------------------------------------------- */

static void suites_and_ciphers(void **state)
{
	static const uint16_t foreign[] = {
		0,      /* no suite */
		0x1304, /* AES-128-CCM: no kernel path worth having */
		0xc02e, /* ECDH, not ECDHE */
		0xc009, /* CBC */
		0x009c, /* RSA key exchange */
		0x13ff,
	};
	enum traffic_cipher cipher;

	(void)state;
	for (size_t i = 0; i < OPENSSL_SUITES; i++) {
		assert_int_equal(traffic_cipher_by_suite(openssl_suites[i].number, &cipher), 0);
		assert_int_equal(cipher, openssl_suites[i].cipher);
	}
	assert_int_equal(traffic_cipher_by_suite(0xc02f, &cipher), 0);
	assert_int_equal(cipher, TRAFFIC_AES_128_GCM);
	assert_int_equal(traffic_cipher_by_suite(0xc030, &cipher), 0);
	assert_int_equal(cipher, TRAFFIC_AES_256_GCM);
	assert_int_equal(traffic_cipher_by_suite(0xcca8, &cipher), 0);
	assert_int_equal(cipher, TRAFFIC_CHACHA20_POLY1305);
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		assert_int_equal(traffic_cipher_by_suite(foreign[i], &cipher), -ENOTSUP);
	assert_string_equal(traffic_cipher_name(TRAFFIC_AES_256_GCM), "AES-256-GCM");
	assert_int_equal(traffic_key_size(TRAFFIC_AES_128_GCM), 16);
	assert_int_equal(traffic_key_size(TRAFFIC_CHACHA20_POLY1305), 32);
	assert_int_equal(traffic_secret_size(TRAFFIC_AES_256_GCM), 48);
	assert_int_equal(traffic_secret_size(TRAFFIC_CHACHA20_POLY1305), 32);
}

/* --- against OpenSSL ------------------------------------------------------------------------- */

enum { CLIENT, SERVER, ENDS };

struct connection {
	SSL *ssl[ENDS];
	BIO *wire[ENDS]; /* what that end has sent */
	struct traffic_secret secrets[ENDS];
	struct traffic_keys keys[ENDS]; /* of what that end sends */
};

static void note_secret(const SSL *ssl, const char *line)
{
	struct connection *connection = SSL_get_app_data(ssl);
	const char *hex = strrchr(line, ' ') + 1;

	if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0)
		connection->secrets[CLIENT] = secret_of(hex);
	if (strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0)
		connection->secrets[SERVER] = secret_of(hex);
}

static void connect_ends(struct connection *connection, const struct openssl_suite *suite)
{
	memset(connection, 0, sizeof(*connection));
	for (int i = 0; i < ENDS; i++) {
		SSL_CTX *context = openssl_context(suite, i == SERVER);

		assert_non_null(context);
		SSL_CTX_set_num_tickets(context, 0);
		SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
		SSL_CTX_set_keylog_callback(context, note_secret);
		connection->ssl[i] = SSL_new(context);
		SSL_CTX_free(context);
		SSL_set_app_data(connection->ssl[i], connection);
		connection->wire[i] = BIO_new(BIO_s_mem());
	}
	for (int i = 0; i < ENDS; i++) {
		BIO_up_ref(connection->wire[CLIENT]);
		BIO_up_ref(connection->wire[SERVER]);
		SSL_set_bio(connection->ssl[i], connection->wire[!i], connection->wire[i]);
	}
	SSL_set_connect_state(connection->ssl[CLIENT]);
	SSL_set_accept_state(connection->ssl[SERVER]);
	for (int round = 0; round < 4; round++)
		for (int i = 0; i < ENDS; i++)
			(void)SSL_do_handshake(connection->ssl[i]);
	assert_true(SSL_is_init_finished(connection->ssl[CLIENT]));
	assert_true(SSL_is_init_finished(connection->ssl[SERVER]));
}

static void disconnect_ends(struct connection *connection)
{
	for (int i = 0; i < ENDS; i++) {
		SSL_free(connection->ssl[i]);
		BIO_free(connection->wire[i]);
	}
}

static void derive(struct connection *connection, const struct openssl_suite *suite)
{
	uint8_t master[TRAFFIC_MASTER], randoms[ENDS][TRAFFIC_RANDOM];
	SSL *ssl = connection->ssl[CLIENT];

	if (suite->version == TRAFFIC_TLS_1_3) {
		for (int i = 0; i < ENDS; i++) {
			assert_int_equal(connection->secrets[i].size,
					 traffic_secret_size(suite->cipher));
			assert_int_equal(traffic_keys_expand(suite->cipher, &connection->secrets[i],
							     &connection->keys[i]),
					 0);
		}
		return;
	}
	assert_int_equal(SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master)),
			 sizeof(master));
	SSL_get_client_random(ssl, randoms[CLIENT], TRAFFIC_RANDOM);
	SSL_get_server_random(ssl, randoms[SERVER], TRAFFIC_RANDOM);
	assert_int_equal(traffic_keys_tls_1_2(suite->number, master, randoms[CLIENT],
					      randoms[SERVER], &connection->keys[CLIENT],
					      &connection->keys[SERVER]),
			 0);
}

/* What that end of OpenSSL's seals, we open; what we seal, the other end opens. */
static void exchange(struct connection *connection, int from, const char *text)
{
	uint8_t record[RECORD_ROOM], plain[RECORD_ROOM], type;
	int size = (int)strlen(text), got;
	struct traffic_keys again = connection->keys[from];

	assert_int_equal(SSL_write(connection->ssl[from], text, size), size);
	got = BIO_read(connection->wire[from], record, sizeof(record));
	assert_int_equal(got, record_size(record));
	assert_int_equal(record_open(&connection->keys[from], record, plain, &type), size);
	assert_int_equal(type, 23);
	assert_memory_equal(plain, text, size);
	got = (int)record_seal(&again, 23, plain, (size_t)size, record);
	assert_int_equal(BIO_write(connection->wire[from], record, got), got);
	assert_int_equal(SSL_read(connection->ssl[!from], plain, sizeof(plain)), size);
	assert_memory_equal(plain, text, size);
}

static void keys_are_those_of_openssl(void **state)
{
	struct connection connection;

	(void)state;
	for (size_t i = 0; i < OPENSSL_SUITES; i++) {
		connect_ends(&connection, &openssl_suites[i]);
		derive(&connection, &openssl_suites[i]);
		for (int round = 0; round < 3; round++) {
			exchange(&connection, CLIENT, "read D100, 16 points");
			exchange(&connection, SERVER, "16 values");
		}
		disconnect_ends(&connection);
	}
}

/* OpenSSL's KeyUpdate is opened with the old key, what follows with the next. */
static void update_secret(struct connection *connection, int from, enum traffic_cipher cipher)
{
	uint8_t record[RECORD_ROOM], plain[RECORD_ROOM] = {0}, type;
	int size;

	assert_int_equal(SSL_key_update(connection->ssl[from], SSL_KEY_UPDATE_NOT_REQUESTED), 1);
	assert_int_equal(SSL_do_handshake(connection->ssl[from]), 1);
	size = BIO_read(connection->wire[from], record, sizeof(record));
	assert_int_equal(record_open(&connection->keys[from], record, plain, &type), 5);
	assert_int_equal(type, 22);
	assert_int_equal(plain[0], 24);
	assert_int_equal(BIO_write(connection->wire[from], record, size), size);
	assert_int_equal(SSL_read(connection->ssl[!from], plain, sizeof(plain)), -1);
	assert_int_equal(traffic_secret_update(cipher, &connection->secrets[from]), 0);
	assert_int_equal(
		traffic_keys_expand(cipher, &connection->secrets[from], &connection->keys[from]),
		0);
}

static void updated_secrets_are_those_of_openssl(void **state)
{
	struct connection connection;

	(void)state;
	for (size_t i = 0; i < OPENSSL_SUITES; i++) {
		if (openssl_suites[i].version != TRAFFIC_TLS_1_3)
			continue;
		connect_ends(&connection, &openssl_suites[i]);
		derive(&connection, &openssl_suites[i]);
		for (int round = 0; round < 3; round++) {
			exchange(&connection, CLIENT, "before");
			update_secret(&connection, CLIENT, openssl_suites[i].cipher);
			exchange(&connection, CLIENT, "after");
			update_secret(&connection, SERVER, openssl_suites[i].cipher);
			exchange(&connection, SERVER, "after");
		}
		disconnect_ends(&connection);
	}
}

static void foreign_suite_gets_no_keys(void **state)
{
	const uint8_t zeros[TRAFFIC_MASTER] = {0};
	struct traffic_keys client, server;

	(void)state;
	assert_int_equal(traffic_keys_tls_1_2(0xc009, zeros, zeros, zeros, &client, &server),
			 -ENOTSUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(simple_handshake_of_rfc_8448),
		cmocka_unit_test(record_of_rfc_8448),
		cmocka_unit_test(suites_and_ciphers),
		cmocka_unit_test(keys_are_those_of_openssl),
		cmocka_unit_test(updated_secrets_are_those_of_openssl),
		cmocka_unit_test(foreign_suite_gets_no_keys),
	};

	return cmocka_run_group_tests_name("traffic_keys", tests, NULL, NULL);
}
