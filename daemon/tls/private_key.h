/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private keys, from a PEM file or by the pkcs11: URI (RFC 7512) of one that stays in its token.
 *
 * A URI goes to OpenSSL's OSSL_STORE, if a provider has a loader for it (pkcs11-provider),
 * otherwise to the engine pkcs11 of libp11, which OpenSSL 3.0 still needs. A handle: is that of a
 * key in a TPM 2.0, by the provider tpm2 (tpm2-openssl); elliptic curves only.
 */
#ifndef MCSEAL_TLS_PRIVATE_KEY_H
#define MCSEAL_TLS_PRIVATE_KEY_H

#include <openssl/evp.h>
#include <stddef.h>

#define PRIVATE_KEY_WHY_SIZE 256

/*
 * NULL: *why says what is wrong and what to do. Blocking: files, and whatever a token takes. Not
 * from two threads at once.
 */
EVP_PKEY *private_key_load(const char *key, char why[PRIVATE_KEY_WHY_SIZE]);

#endif
