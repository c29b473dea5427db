/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What TLS may be made of: versions, cipher suites, groups, signatures, sizes of keys.
 *
 * Each profile but the first is what a guideline allows and kernel TLS can take, and no more: NIST
 * SP 800-52 Rev. 2; BSI TR-02102-2; IPA/CRYPTREC "TLS cipher configuration guidelines" 3.1, high
 * security. All insist on what every context does: ephemeral keys, an AEAD, the extended master
 * secret (tls_context.h).
 */
#ifndef MCSEAL_TLS_TLS_PROFILE_H
#define MCSEAL_TLS_TLS_PROFILE_H

#include "config/config.h"

#include <openssl/ssl.h>
#include <stdbool.h>

struct tls_profile {
	const char *name;
	int oldest;             /* TLS1_2_VERSION or TLS1_3_VERSION */
	const char *suites_13;  /* in OpenSSL's words, as are ... */
	const char *suites_12;  /* ... these */
	const char *groups;     /* for the key exchange */
	const char *signatures; /* in handshakes; NULL: OpenSSL's list */
	/* Of keys and signatures in chains, bits of security: 112 is RSA 2048, 128 RSA 3072, P-256
	 */
	int strength;
};

const struct tls_profile *tls_profile_of(enum config_tls_profile profile);
/* False: OpenSSL knows a word of it not. */
bool tls_profile_apply(const struct tls_profile *profile, SSL_CTX *context);
/* "TLS 1.2, 1.3" or "TLS 1.3". */
const char *tls_profile_versions(const struct tls_profile *profile);

#endif
