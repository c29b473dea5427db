/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Record numbers: a TLS 1.3 sender starts at 0 under its application key, right after its
 * Finished; a TLS 1.2 sender's Finished is record 0 under its only key. OpenSSL reports every
 * record header and every handshake message, in the order in which they happen, so records that
 * come after a Finished of the same direction are counted: the tickets of a gateway.
 *
 * Nothing may be lost between OpenSSL and the kernel. Without read-ahead OpenSSL takes five bytes
 * and then the rest of that one record; whether it has taken a part of another is seen by
 * comparing what left the socket with the lengths of the records reported.
 */
#include "tls/arming.h"

#include "base/bytes.h"
#include "base/error.h"
#include "tls/handshake.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <string.h>

#define HEADER_SIZE 5

/* --- notes ----------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void decode(const char *hex, struct traffic_secret *secret)
{
	size_t size = strlen(hex) / 2;
	int high, low;

	secret->size = 0;
	if (size > sizeof(secret->bytes))
		return;
	for (size_t i = 0; i < size; i++) {
		high = hex_digit(hex[2 * i]);
		low = hex_digit(hex[2 * i + 1]);
		if (high < 0 || low < 0)
			return;
		secret->bytes[i] = (uint8_t)(high << 4 | low);
	}
	secret->size = (uint8_t)size;
}

/* `line`: LABEL, client random, secret, in hex, between single spaces. */
static void note_secret(const SSL *ssl, const char *line)
{
	static const char client[] = "CLIENT_TRAFFIC_SECRET_0 ";
	static const char server[] = "SERVER_TRAFFIC_SECRET_0 ";
	struct tls_peer *peer = SSL_get_app_data(ssl);
	const char *hex = strrchr(line, ' ');

	if (peer == NULL || hex == NULL)
		return;
	if (strncmp(line, client, sizeof(client) - 1) == 0)
		decode(hex + 1, &peer->notes.client);
	else if (strncmp(line, server, sizeof(server) - 1) == 0)
		decode(hex + 1, &peer->notes.server);
}

static void note_header(struct arming_flow *flow, const uint8_t *header, size_t size)
{
	if (size != HEADER_SIZE)
		return;
	flow->bytes += HEADER_SIZE + get_be16(header + 3);
	if (flow->finished)
		flow->records++;
}

static void note_message(int sent, int version, int type, const void *bytes, size_t size, SSL *ssl,
			 void *argument)
{
	struct tls_peer *peer = SSL_get_app_data(ssl);
	struct arming_flow *flow;

	(void)version;
	(void)argument;
	if (peer == NULL)
		return;
	flow = sent ? &peer->notes.sent : &peer->notes.received;
	if (type == SSL3_RT_HEADER)
		note_header(flow, bytes, size);
	if (type != SSL3_RT_HANDSHAKE || size == 0)
		return;
	if (*(const uint8_t *)bytes == SSL3_MT_FINISHED)
		flow->finished = true;
	else if (*(const uint8_t *)bytes == SSL3_MT_KEY_UPDATE)
		peer->notes.rekeyed = true;
}

void arming_watch(SSL_CTX *context)
{
	SSL_CTX_set_keylog_callback(context, note_secret);
	SSL_CTX_set_msg_callback(context, note_message);
}

/* --- may we? --------------------------------------------------------------------------------- */

static bool is_tls_1_3(const SSL *ssl)
{
	return SSL_version(ssl) == TLS1_3_VERSION;
}

static uint16_t suite(const SSL *ssl)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);

	return cipher ? SSL_CIPHER_get_protocol_id(cipher) : 0;
}

static bool is_finished(const SSL *ssl, const struct arming_notes *notes)
{
	return SSL_is_init_finished(ssl) && notes->received.finished && notes->sent.finished &&
	       SSL_get_shutdown(ssl) == 0;
}

static bool has_version(const SSL *ssl, const struct arming_notes *notes)
{
	(void)notes;
	return is_tls_1_3(ssl) || SSL_version(ssl) == TLS1_2_VERSION;
}

static bool has_cipher(const SSL *ssl, const struct arming_notes *notes)
{
	enum traffic_cipher cipher;

	(void)notes;
	return traffic_cipher_by_suite(suite(ssl), &cipher) == 0;
}

static bool has_extended_master_secret(const SSL *ssl, const struct arming_notes *notes)
{
	(void)notes;
	return is_tls_1_3(ssl) || SSL_get_extms_support((SSL *)(uintptr_t)ssl) == 1;
}

static bool has_no_compression(const SSL *ssl, const struct arming_notes *notes)
{
	(void)notes;
	return SSL_get_current_compression(ssl) == NULL;
}

static bool is_on_socket(const SSL *ssl, const struct arming_notes *notes)
{
	const BIO *bio = SSL_get_rbio(ssl);

	(void)notes;
	return bio == SSL_get_wbio(ssl) && BIO_method_type(bio) == BIO_TYPE_SOCKET;
}

static bool has_nothing_pending(const SSL *ssl, const struct arming_notes *notes)
{
	(void)notes;
	return SSL_get_read_ahead(ssl) == 0 && SSL_pending(ssl) == 0 && SSL_has_pending(ssl) == 0;
}

static bool took_whole_records(const SSL *ssl, const struct arming_notes *notes)
{
	return BIO_number_read(SSL_get_rbio(ssl)) == notes->received.bytes;
}

/* OpenSSL calls a server's handshake finished even where the client left before its ticket. */
static bool gave_whole_records(const SSL *ssl, const struct arming_notes *notes)
{
	return BIO_number_written(SSL_get_wbio(ssl)) == notes->sent.bytes;
}

static bool has_first_keys(const SSL *ssl, const struct arming_notes *notes)
{
	(void)ssl;
	return !notes->rekeyed;
}

static bool has_secrets(const SSL *ssl, const struct arming_notes *notes)
{
	enum traffic_cipher cipher;
	size_t size;

	if (!is_tls_1_3(ssl) || traffic_cipher_by_suite(suite(ssl), &cipher) < 0)
		return true;
	size = traffic_secret_size(cipher);
	return notes->client.size == size && notes->server.size == size;
}

/* In this order; the first that does not hold is the reason given. */
static const struct {
	bool (*holds)(const SSL *ssl, const struct arming_notes *notes);
	const char *otherwise;
} conditions[] = {
	{is_finished, "the handshake is not finished"},
	{has_version, "neither TLS 1.2 nor 1.3"},
	{has_cipher, "no cipher of ours"},
	{has_extended_master_secret, TLS_NO_EXTENDED_MASTER_SECRET},
	{has_no_compression, "records are compressed"},
	{is_on_socket, "OpenSSL does not work on the socket itself"},
	{has_nothing_pending, "OpenSSL holds bytes of the peer"},
	{took_whole_records, "OpenSSL holds a part of a record"},
	{gave_whole_records, "the peer was gone before the last record left"},
	{has_first_keys, "the keys were changed already"},
	{has_secrets, "the traffic secrets are not known"},
};

static const char *first_obstacle(const SSL *ssl, const struct arming_notes *notes)
{
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
		if (!conditions[i].holds(ssl, notes))
			return conditions[i].otherwise;
	return NULL;
}

/* --- keys ------------------------------------------------------------------------------------ */

static int expand_tls_1_3(const SSL *ssl, const struct arming_notes *notes,
			  struct traffic_keys *client, struct traffic_keys *server)
{
	enum traffic_cipher cipher;
	int error = traffic_cipher_by_suite(suite(ssl), &cipher);

	if (error == 0)
		error = traffic_keys_expand(cipher, &notes->client, client);
	return error < 0 ? error : traffic_keys_expand(cipher, &notes->server, server);
}

static int expand_tls_1_2(const SSL *ssl, struct traffic_keys *client, struct traffic_keys *server)
{
	uint8_t master[TRAFFIC_MASTER], randoms[2][TRAFFIC_RANDOM];
	int error = -EIO;

	if (SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master)) ==
		    sizeof(master) &&
	    SSL_get_client_random(ssl, randoms[0], TRAFFIC_RANDOM) == TRAFFIC_RANDOM &&
	    SSL_get_server_random(ssl, randoms[1], TRAFFIC_RANDOM) == TRAFFIC_RANDOM)
		error = traffic_keys_tls_1_2(suite(ssl), master, randoms[0], randoms[1], client,
					     server);
	OPENSSL_cleanse(master, sizeof(master));
	return error;
}

/* RFC 6066 4: what the peer has room for. */
static uint16_t record_max(const SSL *ssl)
{
	uint8_t mode = SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl));

	if (mode < TLSEXT_max_fragment_length_512 || mode > TLSEXT_max_fragment_length_4096)
		return RECORD_MAX;
	return (uint16_t)(512 << (mode - TLSEXT_max_fragment_length_512));
}

static int fill(const SSL *ssl, const struct arming_notes *notes, struct traffic_pair *pair)
{
	enum traffic_direction from_client = SSL_is_server(ssl) ? TRAFFIC_RECEIVE : TRAFFIC_SEND;
	enum traffic_direction from_server = SSL_is_server(ssl) ? TRAFFIC_SEND : TRAFFIC_RECEIVE;
	struct traffic_keys *client = &pair->keys[from_client];
	struct traffic_keys *server = &pair->keys[from_server];
	int error = is_tls_1_3(ssl) ? expand_tls_1_3(ssl, notes, client, server)
				    : expand_tls_1_2(ssl, client, server);

	if (error < 0)
		return error;
	pair->client = !SSL_is_server(ssl);
	pair->record_max = record_max(ssl);
	pair->keys[TRAFFIC_RECEIVE].sequence += notes->received.records;
	pair->keys[TRAFFIC_SEND].sequence += notes->sent.records;
	if (is_tls_1_3(ssl)) {
		pair->secrets[from_client] = notes->client;
		pair->secrets[from_server] = notes->server;
	}
	return 0;
}

int arming_prepare(struct handshake *handshake, struct traffic_pair *pair, const char **why)
{
	const SSL *ssl = handshake_ssl(handshake);
	struct tls_peer *peer = SSL_get_app_data(ssl);

	memset(pair, 0, sizeof(*pair));
	*why = first_obstacle(ssl, &peer->notes);
	if (*why == NULL && fill(ssl, &peer->notes, pair) < 0) {
		OPENSSL_cleanse(pair, sizeof(*pair));
		*why = "OpenSSL could not derive the keys";
	}
	OPENSSL_cleanse(&peer->notes, sizeof(peer->notes));
	return *why == NULL ? 0 : ARMING_REFUSED;
}
