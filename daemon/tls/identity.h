/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a verified certificate to a configured identity.
 *
 * The first identity of the configuration with a matching entry is the peer's. Only leaf
 * certificates whose chain, dates, usage and revocation were checked may be asked about.
 */
#ifndef MCSEAL_TLS_IDENTITY_H
#define MCSEAL_TLS_IDENTITY_H

#include "config/config.h"

#include <openssl/x509.h>
#include <stdio.h>

/* The role extension, in the manner of Modbus/TCP Security (UTF8String). */
#define IDENTITY_ROLE_OID "1.3.6.1.4.1.50316.802.1"

/* NULL: no identity matches. The result belongs to `config`. */
const struct config_identity *identity_find(const struct config *config, X509 *certificate);

/* Serial number in lower-case hex, without leading zeros, into `text`; truncated to fit. */
void identity_serial(const X509 *certificate, char *text, size_t size);
/* A name in RFC 2253 form into `text`; truncated to fit. */
void identity_name(const X509_NAME *name, char *text, size_t size);
/* Subject in RFC 2253 form into `text`; truncated to fit. For log lines. */
void identity_subject(const X509 *certificate, char *text, size_t size);

#endif
