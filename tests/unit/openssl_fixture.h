/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two plain OpenSSL ends with a throw-away certificate: the other side of tests of keys, records
 * and kernel TLS. None of the daemon's TLS code is used here.
 */
#ifndef MCSEAL_TESTS_OPENSSL_FIXTURE_H
#define MCSEAL_TESTS_OPENSSL_FIXTURE_H

#include "tls/traffic_keys.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <string.h>

/* One row for each way in which keys are made. */
static const struct openssl_suite {
	const char *name;
	enum traffic_version version;
	enum traffic_cipher cipher;
	uint16_t number;
	const char *openssl_name;
} openssl_suites[] = {
	{"1.3 AES-128-GCM", TRAFFIC_TLS_1_3, TRAFFIC_AES_128_GCM, 0x1301, "TLS_AES_128_GCM_SHA256"},
	{"1.3 AES-256-GCM", TRAFFIC_TLS_1_3, TRAFFIC_AES_256_GCM, 0x1302, "TLS_AES_256_GCM_SHA384"},
	{"1.3 CHACHA20", TRAFFIC_TLS_1_3, TRAFFIC_CHACHA20_POLY1305, 0x1303,
	 "TLS_CHACHA20_POLY1305_SHA256"},
	{"1.2 AES-128-GCM", TRAFFIC_TLS_1_2, TRAFFIC_AES_128_GCM, 0xc02b,
	 "ECDHE-ECDSA-AES128-GCM-SHA256"},
	{"1.2 AES-256-GCM", TRAFFIC_TLS_1_2, TRAFFIC_AES_256_GCM, 0xc02c,
	 "ECDHE-ECDSA-AES256-GCM-SHA384"},
	{"1.2 CHACHA20", TRAFFIC_TLS_1_2, TRAFFIC_CHACHA20_POLY1305, 0xcca9,
	 "ECDHE-ECDSA-CHACHA20-POLY1305"},
};

#define OPENSSL_SUITES (sizeof(openssl_suites) / sizeof(openssl_suites[0]))

static inline void openssl_restrict(SSL_CTX *context, const struct openssl_suite *suite)
{
	SSL_CTX_set_min_proto_version(context, suite->version);
	SSL_CTX_set_max_proto_version(context, suite->version);
	if (suite->version == TRAFFIC_TLS_1_3)
		SSL_CTX_set_ciphersuites(context, suite->openssl_name);
	else
		SSL_CTX_set_cipher_list(context, suite->openssl_name);
}

static inline bool openssl_certify(SSL_CTX *context)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);
	bool done;

	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1,
				   0);
	X509_set_issuer_name(certificate, name);
	X509_set_pubkey(certificate, key);
	done = X509_sign(certificate, key, EVP_sha256()) > 0 &&
	       SSL_CTX_use_certificate(context, certificate) == 1 &&
	       SSL_CTX_use_PrivateKey(context, key) == 1;
	X509_free(certificate);
	EVP_PKEY_free(key);
	return done;
}

/* A context of one end; a server has a certificate, a client checks none. NULL: no memory. */
static inline SSL_CTX *openssl_context(const struct openssl_suite *suite, bool server)
{
	SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	if (context == NULL)
		return NULL;
	openssl_restrict(context, suite);
	if (server && !openssl_certify(context)) {
		SSL_CTX_free(context);
		return NULL;
	}
	return context;
}

#endif
