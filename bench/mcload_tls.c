/* SPDX-License-Identifier: Apache-2.0 */
#include "mcload_tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "stream.h"

#define CIPHER_DEFAULT "TLS_AES_128_GCM_SHA256"

static bool failed(const char *what, const char *which, char *problem, size_t size)
{
	const char *words = ERR_reason_error_string(ERR_peek_last_error());

	snprintf(problem, size, "%s %s: %s", what, which, words ? words : "cannot be used");
	return false;
}

static bool use_files(SSL_CTX *context, const struct mcload_options *options, char *problem,
		      size_t size)
{
	if (SSL_CTX_load_verify_file(context, options->ca) != 1)
		return failed("CA", options->ca, problem, size);
	if (!options->certificate)
		return true; /* what the gateway says to that is the point */
	if (SSL_CTX_use_certificate_chain_file(context, options->certificate) != 1)
		return failed("certificate", options->certificate, problem, size);
	if (SSL_CTX_use_PrivateKey_file(context, options->key, SSL_FILETYPE_PEM) != 1)
		return failed("key", options->key, problem, size);
	return true;
}

/* ALPN as the extension carries it: length byte, name (RFC 7301, section 3.1). */
static bool use_alpn(SSL_CTX *context, const char *name)
{
	unsigned char wire[256];
	size_t length = name ? strlen(name) : 0;

	if (!name)
		return true;
	if (length == 0 || length > 255)
		return false;
	wire[0] = (unsigned char)length;
	memcpy(wire + 1, name, length);
	return SSL_CTX_set_alpn_protos(context, wire, (unsigned)length + 1) == 0;
}

static int new_ticket(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION **ticket = SSL_get_app_data(ssl);

	if (!ticket)
		return 0;
	SSL_SESSION_free(*ticket);
	*ticket = session;
	return 1;
}

SSL_CTX *mcload_tls_context(const struct mcload_options *options, char *problem, size_t size)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	const char *cipher = options->cipher ? options->cipher : CIPHER_DEFAULT;
	bool good;

	snprintf(problem, size, "cannot set up TLS");
	if (!context || !stream_tls_init(context)) {
		SSL_CTX_free(context);
		return NULL;
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	SSL_CTX_set_read_ahead(context, 1);
	/* What its file holds is sent, as an edge or .NET does; OpenSSL would add the root. */
	SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	if (options->resume)
		SSL_CTX_sess_set_new_cb(context, new_ticket);
	good = use_files(context, options, problem, size);
	if (good && SSL_CTX_set_ciphersuites(context, cipher) != 1)
		good = failed("cipher", cipher, problem, size);
	if (good && !use_alpn(context, options->alpn))
		good = failed("ALPN", options->alpn, problem, size);
	if (good)
		return context;
	stream_tls_free(context);
	return NULL;
}

/* A copy: OpenSSL takes a ticket of TLS 1.3 for used up, and gateways may send no other. */
static void offer(SSL *ssl, const SSL_SESSION *ticket)
{
	SSL_SESSION *copy = ticket ? SSL_SESSION_dup(ticket) : NULL;

	if (copy)
		SSL_set_session(ssl, copy);
	SSL_SESSION_free(copy);
}

SSL *mcload_tls_session(SSL_CTX *context, const struct mcload_options *options,
			const struct address *target, SSL_SESSION **ticket)
{
	SSL *ssl = SSL_new(context);
	char host[ADDRESS_TEXT_SIZE];
	bool named;

	if (!ssl)
		return NULL;
	SSL_set_connect_state(ssl);
	if (options->server_name)
		named = SSL_set1_host(ssl, options->server_name) == 1 &&
			SSL_set_tlsext_host_name(ssl, options->server_name) == 1;
	else
		named = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl),
						      address_print_host(target, host)) == 1;
	offer(ssl, *ticket);
	if (options->resume)
		SSL_set_app_data(ssl, ticket);
	if (named)
		return ssl;
	SSL_free(ssl);
	return NULL;
}
