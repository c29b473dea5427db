/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * OpenSSL drives the socket through its own socket BIO, so that it never takes a byte beyond the
 * record that it works on: what follows the handshake is still in the kernel when the record layer
 * takes over. What it finds out about the peer's certificate is written down by the verify
 * callback (tls_context.c) into `seen`: after a failed verification OpenSSL no longer has it.
 *
 * In TLS 1.3 the client's side is done before the server has judged the client's certificate: a
 * refusal comes in the first record after its handshake. A gateway of ours sends a ticket there
 * when it has accepted, so an edge that made a full handshake is done when it has the ticket, and
 * a refusal is a failed handshake like any other. No other server is waited for.
 */
#include "tls/handshake.h"

#include "base/error.h"
#include "tls/identity.h"
#include "tls/ticket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

struct handshake {
	SSL *ssl;
	const struct tls_context *context;
	struct tls_peer seen;
	struct handshake_server server; /* edge only */
	bool offered;                   /* a kept session to the gateway ... */
	bool done;                      /* ... and it came to a good end */
};

static bool expect_name(SSL *ssl, const struct handshake_server *server)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	const struct address *address = &server->address;

	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
						       X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (server->name != NULL)
		return SSL_set_tlsext_host_name(ssl, server->name) == 1 &&
		       X509_VERIFY_PARAM_set1_host(param, server->name, 0) == 1;
	/* RFC 6066 3: no SNI for a literal address. */
	if (address->any.sa_family == AF_INET6)
		return X509_VERIFY_PARAM_set1_ip(
			       param, (const unsigned char *)&address->v6.sin6_addr, 16) == 1;
	return X509_VERIFY_PARAM_set1_ip(param, (const unsigned char *)&address->v4.sin_addr, 4) ==
	       1;
}

static bool expect_server(SSL *ssl, const struct handshake_server *server)
{
	static const unsigned char offered[] = "\x08" TLS_ALPN_MCSEAL;

	/* SSL_set_alpn_protos() alone among its kind returns 0 for success. */
	if (server->mcseal && SSL_set_alpn_protos(ssl, offered, sizeof(offered) - 1) != 0)
		return false;
	return expect_name(ssl, server);
}

static bool prepare_edge(struct handshake *handshake, const struct handshake_server *server)
{
	handshake->server = *server;
	if (!expect_server(handshake->ssl, server))
		return false;
	if (server->mcseal)
		handshake->offered = ticket_offer(handshake->context, &server->address,
						  server->name, handshake->ssl, &handshake->seen);
	return true;
}

int handshake_new(const struct tls_context *context, int fd, const struct handshake_server *server,
		  struct handshake **out)
{
	struct handshake *handshake = calloc(1, sizeof(*handshake));
	bool ok;

	if (handshake == NULL)
		return -ENOMEM;
	handshake->context = context;
	handshake->ssl = SSL_new(context->ssl_context);
	ok = handshake->ssl != NULL && SSL_set_fd(handshake->ssl, fd) == 1;
	if (ok)
		ok = SSL_set_app_data(handshake->ssl, &handshake->seen) == 1;
	if (ok && context->role == TLS_ROLE_EDGE)
		ok = prepare_edge(handshake, server);
	if (!ok) {
		ERR_clear_error();
		handshake_free(handshake);
		return -ENOMEM;
	}
	if (context->role == TLS_ROLE_EDGE)
		SSL_set_connect_state(handshake->ssl);
	else
		SSL_set_accept_state(handshake->ssl);
	*out = handshake;
	return 0;
}

void handshake_free(struct handshake *handshake)
{
	if (handshake == NULL)
		return;
	/* Perhaps the session was to blame: the next handshake is a full one. */
	if (handshake->offered && !handshake->done)
		ticket_drop(handshake->context, &handshake->server.address, handshake->server.name);
	SSL_free(handshake->ssl);
	tls_peer_clear(&handshake->seen);
	OPENSSL_cleanse(handshake, sizeof(*handshake)); /* secrets are noted in `seen` */
	free(handshake);
}

SSL *handshake_ssl(const struct handshake *handshake)
{
	return handshake->ssl;
}

struct peer_chain *handshake_keep_chain(const struct handshake *handshake,
					struct peer_chain_store *store)
{
	const struct tls_peer *seen = &handshake->seen;

	return seen->certificate != NULL
		       ? peer_chain_keep(store, handshake->context, seen->certificate, seen->others)
		       : NULL;
}

const char *handshake_version(const struct handshake *handshake)
{
	return SSL_get_version(handshake->ssl);
}

const char *handshake_cipher(const struct handshake *handshake)
{
	return SSL_get_cipher_name(handshake->ssl);
}

bool handshake_resumed(const struct handshake *handshake)
{
	return SSL_session_reused(handshake->ssl) == 1;
}

static void describe_certificate(const struct handshake *handshake, struct handshake_peer *peer)
{
	snprintf(peer->subject, sizeof(peer->subject), "%s", handshake->seen.subject);
	snprintf(peer->serial, sizeof(peer->serial), "%s", handshake->seen.serial);
}

static void describe(const struct handshake *handshake, struct handshake_peer *peer)
{
	const char *server_name = SSL_get_servername(handshake->ssl, TLSEXT_NAMETYPE_host_name);
	const unsigned char *alpn = NULL;
	unsigned int alpn_size = 0;

	SSL_get0_alpn_selected(handshake->ssl, &alpn, &alpn_size);
	peer->mcseal = alpn_size == strlen(TLS_ALPN_MCSEAL) &&
		       memcmp(alpn, TLS_ALPN_MCSEAL, alpn_size) == 0;
	peer->identity = handshake->seen.identity;
	if (handshake->context->role == TLS_ROLE_GATEWAY && server_name != NULL)
		snprintf(peer->server_name, sizeof(peer->server_name), "%s", server_name);
}

static unsigned long first_error(void)
{
	unsigned long code = ERR_peek_error();

	/* A cipher or key that failed speaks first, libssl's verdict on it comes last. */
	return ERR_GET_LIB(code) == ERR_LIB_SSL ? code : ERR_peek_last_error();
}

/* What went wrong, in words that an operator can act on. */
static int failed(const struct handshake *handshake, int error, int system_error,
		  struct handshake_peer *peer)
{
	long verified = SSL_get_verify_result(handshake->ssl);
	unsigned long code = first_error();
	int reason = ERR_GET_REASON(code);

	if (handshake->seen.refusal != NULL)
		snprintf(peer->reason, sizeof(peer->reason), "%s", handshake->seen.refusal);
	else if (verified != X509_V_OK)
		snprintf(peer->reason, sizeof(peer->reason), "peer's certificate refused: %s",
			 X509_verify_cert_error_string(verified));
	else if (code != 0 && reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
		snprintf(peer->reason, sizeof(peer->reason), "peer sent alert: %s",
			 SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
	else if (code != 0 && ERR_GET_LIB(code) == ERR_LIB_SSL)
		snprintf(peer->reason, sizeof(peer->reason), "%s", ERR_reason_error_string(code));
	else if (error == SSL_ERROR_SYSCALL && system_error != 0)
		snprintf(peer->reason, sizeof(peer->reason), "connection: %s",
			 strerror(system_error));
	else
		snprintf(peer->reason, sizeof(peer->reason), "peer closed the connection");
	ERR_clear_error();
	return -EPROTO;
}

/* Done, but not as we want it. OpenSSL lets nobody send an alert of his own: close_notify. */
static int refuse(struct handshake *handshake, struct handshake_peer *peer, const char *why)
{
	snprintf(peer->reason, sizeof(peer->reason), "%s", why);
	(void)SSL_shutdown(handshake->ssl);
	ERR_clear_error();
	return -EPROTO;
}

/* What a call of OpenSSL's that is not through wants, or why it failed. */
static int unfinished(const struct handshake *handshake, int result, struct handshake_peer *peer)
{
	int system_error = errno;
	int error = SSL_get_error(handshake->ssl, result);

	if (error == SSL_ERROR_WANT_READ)
		return HANDSHAKE_WANT_READ;
	if (error == SSL_ERROR_WANT_WRITE)
		return HANDSHAKE_WANT_WRITE;
	describe_certificate(handshake, peer);
	return failed(handshake, error, system_error, peer);
}

/* Shaken hands; but on what? */
static int judge(struct handshake *handshake, struct handshake_peer *peer)
{
	if (handshake->server.mcseal && !peer->mcseal)
		return refuse(handshake, peer,
			      "server does not speak " TLS_ALPN_MCSEAL
			      " (proxy_header = no is for foreign TLS servers)");
	if (SSL_version(handshake->ssl) == TLS1_2_VERSION &&
	    SSL_get_extms_support(handshake->ssl) != 1)
		return refuse(handshake, peer, TLS_NO_EXTENDED_MASTER_SECRET);
	return 0;
}

static bool awaits_ticket(const struct handshake *handshake)
{
	return handshake->server.mcseal && handshake->seen.ticket == NULL &&
	       SSL_version(handshake->ssl) == TLS1_3_VERSION && !handshake_resumed(handshake);
}

/*
 * Reads the one record that the ticket is in, and no byte beyond it. Data would have to wait for
 * the PROXY header; if it is there all the same it stays with OpenSSL.
 */
static int read_ticket(struct handshake *handshake, struct handshake_peer *peer)
{
	unsigned char byte;
	int got;

	errno = 0;
	SSL_clear_mode(handshake->ssl, SSL_MODE_AUTO_RETRY);
	got = SSL_peek(handshake->ssl, &byte, sizeof(byte));
	SSL_set_mode(handshake->ssl, SSL_MODE_AUTO_RETRY);
	if (got <= 0 && handshake->seen.ticket == NULL)
		return unfinished(handshake, got, peer);
	if (handshake->seen.ticket != NULL)
		ticket_keep(handshake->context, &handshake->server.address, handshake->server.name,
			    handshake->ssl, handshake->seen.ticket);
	return 0;
}

int handshake_step(struct handshake *handshake, struct handshake_peer *peer)
{
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_do_handshake(handshake->ssl);
	if (result != 1)
		return unfinished(handshake, result, peer);
	describe_certificate(handshake, peer);
	describe(handshake, peer);
	result = judge(handshake, peer);
	if (result == 0 && awaits_ticket(handshake))
		result = read_ticket(handshake, peer);
	handshake->done = result == 0;
	return result;
}
