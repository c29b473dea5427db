/* SPDX-License-Identifier: Apache-2.0 */
#include "mcping_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "mcping_password.h"

/* Alerts a client can meet (RFC 8446, section 6.2; RFC 5246, section 7.2.2), in an operator's
 * words. */
static const struct alert_words {
	int alert;
	const char *words;
} alert_words[] = {
	{40, "gateway refused the handshake: no common cipher or curve, or no client certificate"},
	{42, "gateway refused our certificate: bad certificate"},
	{43, "gateway refused our certificate: unsupported certificate (is it for clients?)"},
	{44, "gateway refused our certificate: certificate revoked"},
	{45, "gateway refused our certificate: certificate expired or not yet valid"},
	{46, "gateway refused our certificate: certificate unknown"},
	{47, "gateway refused the handshake: illegal parameter"},
	{48, "gateway refused our certificate: unknown CA"},
	{49, "gateway refused us: access denied (our certificate is good, but not allowed here)"},
	{51, "gateway refused our certificate: its signature does not verify"},
	{70, "gateway refused the handshake: it does not speak this TLS version"},
	{71, "gateway refused the handshake: our ciphers or keys are too weak for it"},
	{80, "gateway failed: internal error"},
	{86, "gateway refused the handshake: inappropriate fallback"},
	{90, "gateway gave up: user canceled"},
	{112, "gateway refused the server name (SNI) we asked for: unrecognized name"},
	{116, "gateway refused us: it requires a client certificate (give --cert and --key)"},
	{120, "gateway refused the handshake: no common application protocol (ALPN)"},
};

static void explain_alert(int alert, char *problem, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(alert_words); i++) {
		if (alert_words[i].alert == alert) {
			snprintf(problem, size, "%s (TLS alert %d)", alert_words[i].words, alert);
			return;
		}
	}
	snprintf(problem, size, "gateway ended TLS: %s (TLS alert %d)",
		 SSL_alert_desc_string_long(alert), alert);
}

static void explain_verify(const SSL *ssl, char *problem, size_t size)
{
	long result = SSL_get_verify_result(ssl);

	snprintf(problem, size, "we refused the gateway's certificate: %s",
		 X509_verify_cert_error_string(result));
}

static void explain_library(const SSL *ssl, char *problem, size_t size)
{
	unsigned long error = ERR_peek_last_error();
	int reason = ERR_GET_REASON(error);
	const char *words = ERR_reason_error_string(error);

	if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET &&
	    reason < SSL_AD_REASON_OFFSET + 256)
		explain_alert(reason - SSL_AD_REASON_OFFSET, problem, size);
	else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
		explain_verify(ssl, problem, size);
	else if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		snprintf(problem, size, "the other side closed the connection without a TLS alert");
	else if (reason == SSL_R_WRONG_VERSION_NUMBER)
		snprintf(problem, size, "the other side does not speak TLS");
	else
		snprintf(problem, size, "TLS: %s", words ? words : "unknown error");
}

void tls_explain(const SSL *ssl, int error, int system_error, char *problem, size_t size)
{
	if (error == SSL_ERROR_SSL)
		explain_library(ssl, problem, size);
	else if (error == SSL_ERROR_ZERO_RETURN)
		snprintf(problem, size, "the gateway closed the connection (TLS close_notify)");
	else if (system_error)
		snprintf(problem, size, "connection lost: %s", strerror(system_error));
	else
		snprintf(problem, size, "the other side closed the connection without a TLS alert");
}

/* The library's reason for a file it did not take. */
static bool file_failed(const char *what, const char *path, char *problem, size_t size)
{
	const char *words = ERR_reason_error_string(ERR_peek_last_error());

	snprintf(problem, size, "%s %s: %s", what, path, words ? words : "cannot be used");
	return false;
}

static PKCS12 *load_p12(const char *path)
{
	BIO *file = BIO_new_file(path, "rb");
	PKCS12 *container = file ? d2i_PKCS12_bio(file, NULL) : NULL;

	BIO_free(file);
	return container;
}

static bool use_p12(SSL_CTX *context, const struct tls_options *options, char *problem, size_t size)
{
	STACK_OF(X509) *others = NULL;
	X509 *certificate = NULL;
	EVP_PKEY *key = NULL;
	PKCS12 *container;
	char password[PASSWORD_SIZE] = "";
	bool used = false;

	if (options->p12_password_file &&
	    !password_from_file(options->p12_password_file, password)) {
		snprintf(problem, size, "password file %s: %s", options->p12_password_file,
			 strerror(errno));
		return false;
	}
	container = load_p12(options->p12);
	if (container && PKCS12_parse(container, password, &key, &certificate, &others))
		used = key && certificate &&
		       SSL_CTX_use_cert_and_key(context, certificate, key, NULL, 1) == 1;
	OPENSSL_cleanse(password, sizeof(password));
	if (!used)
		file_failed("PKCS#12", options->p12, problem, size);
	PKCS12_free(container);
	X509_free(certificate);
	EVP_PKEY_free(key);
	sk_X509_pop_free(others, X509_free);
	return used;
}

static bool use_certificate(SSL_CTX *context, const struct tls_options *options, char *problem,
			    size_t size)
{
	const char *key = options->key ? options->key : options->certificate;

	if (options->p12)
		return use_p12(context, options, problem, size);
	if (!options->certificate)
		return true; /* TLS without a client certificate: what the gateway says is the point
			      */
	if (SSL_CTX_use_certificate_chain_file(context, options->certificate) != 1)
		return file_failed("certificate", options->certificate, problem, size);
	if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		return file_failed("key", key, problem, size);
	return true;
}

static bool use_trust(SSL_CTX *context, const struct tls_options *options, char *problem,
		      size_t size)
{
	X509_STORE *store = SSL_CTX_get_cert_store(context);

	if (SSL_CTX_load_verify_file(context, options->ca) != 1)
		return file_failed("CA", options->ca, problem, size);
	if (!options->crl)
		return true;
	if (X509_STORE_load_file(store, options->crl) != 1)
		return file_failed("CRL", options->crl, problem, size);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	return true;
}

/* ALPN as the extension carries it: length byte, name (RFC 7301, section 3.1). */
static bool use_alpn(SSL_CTX *context, const char *name)
{
	uint8_t wire[256];
	size_t length;

	if (!name || strcmp(name, "none") == 0)
		return true;
	length = strlen(name);
	if (length == 0 || length > 255)
		return false;
	wire[0] = (uint8_t)length;
	memcpy(wire + 1, name, length);
	return SSL_CTX_set_alpn_protos(context, wire, (unsigned)length + 1) == 0;
}

SSL_CTX *tls_context(const struct tls_options *options, char *problem, size_t size)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	ERR_clear_error();
	snprintf(problem, size, "cannot set up TLS");
	if (!context)
		return NULL;
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_min_proto_version(context,
				      options->min_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(context, options->max_tls12 ? TLS1_2_VERSION : 0);
	if (use_trust(context, options, problem, size) &&
	    use_certificate(context, options, problem, size) && use_alpn(context, options->alpn))
		return context;
	SSL_CTX_free(context);
	return NULL;
}

static bool is_address(const char *text)
{
	uint8_t address[16];

	return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

SSL *tls_session(SSL_CTX *context, const struct tls_options *options, const char *host)
{
	const char *name = options->server_name ? options->server_name : host;
	const char *sni = options->sni ? options->sni : is_address(name) ? "none" : name;
	SSL *ssl = SSL_new(context);
	bool named;

	if (!ssl)
		return NULL;
	/* MC clients dial addresses: those must be in the certificate as IP SAN, and go without
	 * SNI. */
	if (is_address(name))
		named = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	else
		named = SSL_set1_host(ssl, name) == 1;
	if (named && strcmp(sni, "none") != 0)
		named = SSL_set_tlsext_host_name(ssl, sni) == 1;
	if (named)
		return ssl;
	SSL_free(ssl);
	return NULL;
}
