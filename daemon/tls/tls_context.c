/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_context.h"

#include "base/bytes.h"
#include "base/error.h"
#include "tls/identity.h"
#include "tls/paper.h"
#include "tls/private_key.h"
#include "tls/ticket.h"
#include "tls/tls_profile.h"
#include "tls/verdict.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define EXPIRY_WARNING_DAYS 30

struct loading {
	struct tls_context *context;
	const struct config_credentials *files;
	const char *where;
	FILE *report;
	bool failed;
};

static void fault(struct loading *loading, const char *file, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	fprintf(loading->report, "%s: error: %s: %s%s%s\n", file, loading->where, what,
		reason ? ": " : "", reason ? reason : "");
	ERR_clear_error();
	loading->failed = true;
}

static void check_dates(struct loading *loading, const X509 *certificate)
{
	const char *file = loading->files->certificate;
	time_t soon = time(NULL) + EXPIRY_WARNING_DAYS * 24 * 3600;

	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		fault(loading, file, "the certificate has expired");
	else if (X509_cmp_time(X509_get0_notAfter(certificate), &soon) < 0)
		fprintf(loading->report, "%s: warning: %s: expires within %d days\n", file,
			loading->where, EXPIRY_WARNING_DAYS);
	if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
		fault(loading, file,
		      "the certificate is not valid yet (is this host's clock right?)");
}

static void check_usage(struct loading *loading, X509 *certificate)
{
	bool server = loading->context->role == TLS_ROLE_GATEWAY;
	int purpose = server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT;

	if (X509_check_purpose(certificate, purpose, 0) != 1)
		fault(loading, loading->files->certificate,
		      server ? "not usable for a TLS server (extended key usage serverAuth)"
			     : "not usable for a TLS client (extended key usage clientAuth)");
}

/* OpenSSL says it of keys below 112 bits of security. */
static void check_strength(struct loading *loading, const X509 *certificate)
{
	const struct tls_profile *profile = tls_profile_of(loading->files->tls_profile);
	const EVP_PKEY *key = X509_get0_pubkey(certificate);
	char text[128];

	if (key == NULL || EVP_PKEY_get_security_bits(key) >= profile->strength)
		return;
	snprintf(text, sizeof(text),
		 "its key of %d bits is too short for tls_profile = %s (RSA 3072, ECDSA 256)",
		 EVP_PKEY_get_bits(key), profile->name);
	fault(loading, loading->files->certificate, text);
}

static void load_key(struct loading *loading)
{
	SSL_CTX *context = loading->context->ssl_context;
	const char *name = loading->files->key;
	char why[PRIVATE_KEY_WHY_SIZE];
	EVP_PKEY *key = private_key_load(name, why);

	if (key == NULL)
		fault(loading, name, why);
	else if (SSL_CTX_use_PrivateKey(context, key) != 1 ||
		 SSL_CTX_check_private_key(context) != 1)
		fault(loading, name, "not the key of the certificate");
	EVP_PKEY_free(key);
}

static void load_certificate(struct loading *loading)
{
	const struct config_credentials *files = loading->files;
	SSL_CTX *context = loading->context->ssl_context;

	if (files->certificate == NULL)
		return;
	if (SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1) {
		fault(loading, files->certificate, "no usable PEM certificate chain");
		return;
	}
	check_dates(loading, SSL_CTX_get0_certificate(context));
	check_usage(loading, SSL_CTX_get0_certificate(context));
	check_strength(loading, SSL_CTX_get0_certificate(context));
	if (files->key != NULL)
		load_key(loading);
}

/*
 * OpenSSL takes a certificate's extensions apart when they are first asked for: done here, while
 * no thread shares the trust anchors yet.
 */
static void take_apart(X509_STORE *store)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);

	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		X509 *anchor = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

		if (anchor != NULL)
			(void)X509_check_purpose(anchor, -1, 0);
	}
}

/*
 * What the file lacks between certificate and root is looked for among the CA certificates, once.
 * Left to itself, OpenSSL builds and verifies that chain in each handshake, lists and all, and
 * sends the root along, which is of no use to anybody (openssl/ssl/statem/statem_lib.c,
 * ssl_add_cert_chain(); RFC 8446 4.4.2).
 */
static void complete_chain(struct loading *loading)
{
	SSL_CTX *context = loading->context->ssl_context;
	STACK_OF(X509) *chain = NULL;

	SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
	if (SSL_CTX_get0_certificate(context) == NULL ||
	    SSL_CTX_get0_chain_certs(context, &chain) != 1 || sk_X509_num(chain) > 0)
		return;
	if (SSL_CTX_build_cert_chain(context, SSL_BUILD_CHAIN_FLAG_NO_ROOT |
						      SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR |
						      SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR) < 1)
		fault(loading, loading->files->certificate, "its chain cannot be sent");
}

static void load_trust(struct loading *loading)
{
	const struct config_credentials *files = loading->files;
	SSL_CTX *context = loading->context->ssl_context;
	STACK_OF(X509_NAME) * names;

	if (files->ca == NULL)
		return;
	if (SSL_CTX_load_verify_file(context, files->ca) != 1) {
		fault(loading, files->ca, "no usable PEM CA certificate");
		return;
	}
	take_apart(SSL_CTX_get_cert_store(context));
	if (loading->context->role != TLS_ROLE_GATEWAY)
		return;
	/* Tells clients with several certificates which one to send. */
	names = SSL_load_client_CA_file(files->ca);
	if (names != NULL)
		SSL_CTX_set_client_CA_list(context, names);
}

/* With crl_stale = warn, a list that has ended goes on to count. */
static int pass_stale_list(int good, X509_STORE_CTX *store)
{
	if (good != 1 && X509_STORE_CTX_get_error(store) == X509_V_ERR_CRL_HAS_EXPIRED) {
		X509_STORE_CTX_set_error(store, X509_V_OK);
		return 1;
	}
	return good;
}

static void load_crl(struct loading *loading)
{
	X509_STORE *store = SSL_CTX_get_cert_store(loading->context->ssl_context);
	X509_LOOKUP *lookup;

	if (loading->files->crl == NULL)
		return;
	lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
	if (lookup == NULL ||
	    X509_load_crl_file(lookup, loading->files->crl, X509_FILETYPE_PEM) < 1)
		fault(loading, loading->files->crl, "no usable PEM certificate revocation list");
	/* A CA without a list, or with a stale one, then vouches for nobody. */
	if (loading->context->config->crl_stale == CONFIG_CRL_STALE_WARN)
		X509_STORE_set_verify_cb(store, pass_stale_list);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

/* X509_verify_cert(), but for what it has found good before. */
static bool verify(const struct tls_context *context, X509_STORE_CTX *store)
{
	time_t now = time(NULL);
	struct verdict verdict;
	bool known = verdict_of(store, &verdict);

	if (known && verdict_is_good(context->verdicts, &verdict, now))
		return true;
	if (X509_verify_cert(store) != 1)
		return false;
	if (known)
		verdict_keep(context->verdicts, &verdict, store, now);
	return true;
}

void tls_peer_clear(struct tls_peer *peer)
{
	SSL_SESSION_free(peer->ticket);
	X509_free(peer->certificate);
	sk_X509_pop_free(peer->others, X509_free);
	peer->ticket = NULL;
	peer->certificate = NULL;
	peer->others = NULL;
}

/* Without memory for it the handshake fails in the end: nobody could judge the peer again. */
static void note_chain(struct tls_peer *peer, X509_STORE_CTX *store)
{
	X509 *certificate = X509_STORE_CTX_get0_cert(store);
	STACK_OF(X509) *others = X509_STORE_CTX_get0_untrusted(store);

	X509_free(peer->certificate);
	sk_X509_pop_free(peer->others, X509_free);
	peer->others = others != NULL ? X509_chain_up_ref(others) : NULL;
	peer->certificate = NULL;
	if ((others == NULL || peer->others != NULL) && X509_up_ref(certificate) == 1)
		peer->certificate = certificate;
}

/* Chain first, then identity. What it finds out about the peer goes to *peer, good or bad. */
static bool judge(const struct tls_context *context, X509_STORE_CTX *store, struct tls_peer *peer)
{
	X509 *certificate = X509_STORE_CTX_get0_cert(store);

	/* Before the verdict: the SSL object forgets the certificate that it refuses. */
	identity_subject(certificate, peer->subject, sizeof(peer->subject));
	identity_serial(certificate, peer->serial, sizeof(peer->serial));
	if (!verify(context, store))
		return false;
	note_chain(peer, store);
	if (context->role == TLS_ROLE_EDGE)
		return true;
	peer->identity = identity_find(context->config, certificate);
	if (peer->identity == NULL) {
		peer->refusal = "certificate is valid but matches no identity";
		X509_STORE_CTX_set_error(store, X509_V_ERR_PERMITTED_VIOLATION);
	}
	return peer->identity != NULL;
}

/*
 * Runs inside the handshake, so that a peer without identity is told by an alert. OpenSSL has no
 * way to send access_denied from here, so the alert is certificate_unknown ("some other issue
 * rendered it unacceptable", RFC 8446 6.2).
 */
static int verify_peer(X509_STORE_CTX *store, void *argument)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_peer *peer = SSL_get_app_data(ssl);

	if (!judge(argument, store, peer))
		return 0;
	if (peer->edge)
		ticket_promise(ssl);
	return 1;
}

/* Set up as OpenSSL does for a certificate that has just come in. */
static bool prepare(X509_STORE_CTX *store, SSL *ssl, X509 *certificate, STACK_OF(X509) * chain)
{
	X509_VERIFY_PARAM *param;

	if (X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)), certificate,
				chain) != 1 ||
	    X509_STORE_CTX_set_default(store, SSL_is_server(ssl) ? "ssl_client" : "ssl_server") !=
		    1)
		return false;
	param = X509_STORE_CTX_get0_param(store);
	X509_VERIFY_PARAM_set_auth_level(param, SSL_get_security_level(ssl));
	return X509_VERIFY_PARAM_set1(param, SSL_get0_param(ssl)) == 1;
}

bool tls_context_judge(const struct tls_context *context, SSL *ssl, X509 *certificate,
		       STACK_OF(X509) * chain, struct tls_peer *peer)
{
	X509_STORE_CTX *store = X509_STORE_CTX_new();
	bool good = store != NULL && prepare(store, ssl, certificate, chain) &&
		    judge(context, store, peer);

	X509_STORE_CTX_free(store);
	peer->refusal = NULL;
	ERR_clear_error();
	return good;
}

/* TLS 1.3 has what RFC 7627 adds to 1.2. */
static bool offers_tls_13(SSL *ssl)
{
	const unsigned char *list;
	size_t size;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &list, &size) != 1)
		return false;
	for (size_t at = 1; at + 1 < size; at += 2)
		if (get_be16(list + at) == TLS1_3_VERSION)
			return true;
	return false;
}

/* RFC 7301 3.1: a list of names, each behind its length. */
static bool offers_mcseal(SSL *ssl)
{
	static const unsigned char ours[] = "\x08" TLS_ALPN_MCSEAL;
	const unsigned char *list;
	size_t size;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation,
				      &list, &size) != 1)
		return false;
	for (size_t at = 2; at < size; at += (size_t)list[at] + 1)
		if (size - at >= sizeof(ours) - 1 && memcmp(list + at, ours, sizeof(ours) - 1) == 0)
			return true;
	return false;
}

/*
 * Before OpenSSL looks at anything in it. RFC 7627 5.3: a server that insists on the extended
 * master secret refuses here, with an alert.
 */
static int check_hello(SSL *ssl, int *alert, void *argument)
{
	struct tls_peer *peer = SSL_get_app_data(ssl);
	bool tls_13 = offers_tls_13(ssl);
	const unsigned char *bytes;
	size_t size;

	(void)argument;
	peer->edge = tls_13 && offers_mcseal(ssl);
	/* OpenSSL refuses versions itself. */
	if (SSL_client_hello_get0_legacy_version(ssl) < TLS1_2_VERSION || tls_13 ||
	    SSL_get_min_proto_version(ssl) > TLS1_2_VERSION ||
	    SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_extended_master_secret, &bytes, &size) == 1)
		return SSL_CLIENT_HELLO_SUCCESS;
	peer->refusal = TLS_NO_EXTENDED_MASTER_SECRET;
	*alert = SSL_AD_HANDSHAKE_FAILURE;
	return SSL_CLIENT_HELLO_ERROR;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size,
		       const unsigned char *in, unsigned int in_size, void *argument)
{
	static const unsigned char ours[] = "\x08" TLS_ALPN_MCSEAL;

	(void)ssl;
	(void)argument;
	/* Somebody who asks for other protocols only took us for another service: RFC 9325 3.8. */
	if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_size, ours,
				  sizeof(ours) - 1, in, in_size) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

static bool set_protocol(SSL_CTX *context, const struct tls_profile *profile)
{
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					     SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_max_early_data(context, 0);
	SSL_CTX_set_read_ahead(context, 0);
	SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
	arming_watch(context);
	return tls_profile_apply(profile, context);
}

static void set_role(struct tls_context *context)
{
	SSL_CTX *ssl_context = context->ssl_context;

	SSL_CTX_set_cert_verify_callback(ssl_context, verify_peer, context);
	if (context->role == TLS_ROLE_EDGE) {
		SSL_CTX_set_verify(ssl_context, SSL_VERIFY_PEER, NULL);
		ticket_collect(ssl_context);
		return;
	}
	SSL_CTX_set_verify(ssl_context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_client_hello_cb(ssl_context, check_hello, NULL);
	SSL_CTX_set_alpn_select_cb(ssl_context, select_alpn, NULL);
	ticket_accept(ssl_context, context);
}

/* What else has ended is no fault of ours, but nobody gets in by it. */
static int warn_of_ends(struct loading *loading)
{
	bool warn = loading->context->config->crl_stale == CONFIG_CRL_STALE_WARN;
	struct paper_list list = {0};
	int error = paper_list_add(&list, loading->context, loading->files);

	for (size_t i = 0; i < list.count && error == 0; i++) {
		const struct paper *paper = &list.papers[i];

		if (paper->kind == PAPER_CERTIFICATE || paper->ends > time(NULL))
			continue;
		fprintf(loading->report, "%s: warning: %s: the %s of %s has ended: %s\n",
			paper->file, loading->where,
			paper->kind == PAPER_CA ? "CA certificate" : "revocation list", paper->name,
			paper->kind == PAPER_CRL && warn
				? "it counts all the same (crl_stale = warn)"
				: "nobody with a certificate of that CA is let in");
	}
	paper_list_clear(&list);
	return error;
}

static uint64_t next_number(void)
{
	static atomic_uint_fast64_t last;

	return atomic_fetch_add(&last, 1) + 1;
}

int tls_context_new(const struct config *config, const struct config_credentials *credentials,
		    enum tls_role role, const char *where, FILE *report, struct tls_context **out)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	struct loading loading = {
		.context = context, .files = credentials, .where = where, .report = report};
	int error;

	if (context == NULL)
		return -ENOMEM;
	context->role = role;
	context->config = config;
	context->number = next_number();
	context->name = strdup(where);
	context->ssl_context =
		SSL_CTX_new(role == TLS_ROLE_GATEWAY ? TLS_server_method() : TLS_client_method());
	context->tickets =
		ticket_store_new(role == TLS_ROLE_GATEWAY ? TICKET_ISSUED : TICKET_SLOTS);
	context->verdicts = verdict_store_new();
	if (context->ssl_context == NULL || context->verdicts == NULL || context->tickets == NULL ||
	    context->name == NULL ||
	    !set_protocol(context->ssl_context, tls_profile_of(credentials->tls_profile))) {
		tls_context_free(context);
		return -ENOMEM;
	}
	set_role(context);
	load_certificate(&loading);
	load_trust(&loading);
	load_crl(&loading);
	complete_chain(&loading);
	error = loading.failed ? -EINVAL : warn_of_ends(&loading);
	if (error < 0) {
		tls_context_free(context);
		return error;
	}
	*out = context;
	return 0;
}

time_t tls_context_expires(const struct tls_context *context)
{
	const X509 *certificate = SSL_CTX_get0_certificate(context->ssl_context);

	return certificate != NULL ? paper_time(X509_get0_notAfter(certificate)) : 0;
}

void tls_context_free(struct tls_context *context)
{
	if (context == NULL)
		return;
	SSL_CTX_free(context->ssl_context);
	ticket_store_free(context->tickets);
	verdict_store_free(context->verdicts);
	free(context->name);
	free(context);
}
