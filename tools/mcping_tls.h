/* SPDX-License-Identifier: Apache-2.0 */
/* mcping's side of mutual TLS: settings from files, and failures in plain words. */
#ifndef MCPING_TLS_H
#define MCPING_TLS_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

/* All strings are borrowed; NULL = not given. */
struct tls_options {
	const char *certificate; /* PEM, own certificate first */
	const char *key;         /* PEM; NULL = in the certificate's file */
	const char *p12;         /* instead of both */
	const char *p12_password_file;
	const char *ca;
	const char *crl;
	const char *server_name; /* DNS name or address that must be in the SAN; NULL = the host */
	const char *sni;         /* NULL = server name if that is a DNS name; "none" = no SNI */
	const char *alpn;        /* NULL or "none" = not sent */
	bool max_tls12;
	bool min_tls13;
};

/* NULL on failure, with the reason in `problem`. The caller frees by SSL_CTX_free(3). */
SSL_CTX *tls_context(const struct tls_options *options, char *problem, size_t size);
/* A client session that checks the peer's name; NULL when memory ended or a name is no name. */
SSL *tls_session(SSL_CTX *context, const struct tls_options *options, const char *host);
/*
 * `error` is SSL_get_error(3)'s, `system_error` the errno beside it. Writes one line without an
 * end of line: what happened, whose fault, and the alert if one came.
 */
void tls_explain(const SSL *ssl, int error, int system_error, char *problem, size_t size);

#endif
