/* SPDX-License-Identifier: Apache-2.0 */
/* mcload's side of mutual TLS 1.3. */
#ifndef BENCH_MCLOAD_TLS_H
#define BENCH_MCLOAD_TLS_H

#include <openssl/ssl.h>

#include "mcload_options.h"

/* NULL on failure, with the reason in `problem`. The caller frees by stream_tls_free(). */
SSL_CTX *mcload_tls_context(const struct mcload_options *options, char *problem, size_t size);
/*
 * A client session for that target, which checks the peer's name or address; NULL when memory
 * ended. *ticket, if there is one, is offered; with --resume each new one takes its place, until
 * the session is freed: it is the caller's.
 */
SSL *mcload_tls_session(SSL_CTX *context, const struct mcload_options *options,
			const struct address *target, SSL_SESSION **ticket);

#endif
