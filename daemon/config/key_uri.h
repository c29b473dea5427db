/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private keys that are named by a URI instead of a path: pkcs11: (RFC 7512), handle: (a TPM 2.0),
 * and file:, which is a path in other words. Text only: nothing is opened here.
 */
#ifndef MCSEAL_CONFIG_KEY_URI_H
#define MCSEAL_CONFIG_KEY_URI_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define KEY_URI_MAX PATH_MAX

/* "pkcs11:...", or "handle:0x81000001", a persistent key of a TPM 2.0 as tpm2-openssl calls it. */
bool key_uri_is_token(const char *key);
bool key_uri_is_tpm2(const char *key);
/*
 * The query attribute `name` (behind the "?"), percent-decoded, and without "file:" in front. 0;
 * -ENOENT: there is none; -EINVAL: it is too long, or no text.
 */
int key_uri_query(const char *uri, const char *name, char *value, size_t size);
/* The path of "file:/p" and "file:///p"; NULL: it has none. Within `uri`. */
const char *key_uri_path(const char *uri);
/* What stands before the query; truncated to fit. */
void key_uri_bare(const char *uri, char *text, size_t size);

#endif
