/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key of a TPM 2.0 that does nothing but sign there.
 *
 * How it works
 *
 * OpenSSL 3.0 signs with the first provider that has the algorithm. That is the default one, to
 * which tpm2-openssl gives the public half, and which then has nothing to sign with. A property
 * query for the whole context ("?provider=tpm2") does not help: digests, the peers' signatures and
 * the keys of the exchange would be the TPM's work, too, by a library that has one connection and
 * no lock (before 1.2), in a device that holds three keys. So the provider's key is put into one
 * with a method of its own, which OpenSSL does not export, and whose one operation asks the TPM,
 * for one thread at a time.
 */
#ifndef MCSEAL_TLS_TPM_KEY_H
#define MCSEAL_TLS_TPM_KEY_H

#include <openssl/evp.h>

/*
 * Takes `inside`, an EC key of the provider tpm2, in any case. NULL: it is of another kind, or
 * there is no memory. A signature takes what the TPM does, tens of milliseconds, and blocks its
 * thread.
 */
EVP_PKEY *tpm_key_new(EVP_PKEY *inside);
/* Around what else reaches the provider: loading. */
void tpm_key_lock(void);
void tpm_key_unlock(void);

#endif
