/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_profile.h"

#include <openssl/x509_vfy.h>

/* RFC 8446 B.4; CCM is left out everywhere, it has no kernel path worth having. */
#define AES_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
#define ALL_13 AES_13 ":TLS_CHACHA20_POLY1305_SHA256"
#define AES_12 "ECDHE+AESGCM"
#define ALL_12 AES_12 ":ECDHE+CHACHA20"

#define ECDSA "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512"
#define PSS   "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512"
#define PSS_KEYS                                                                                   \
	"rsa_pss_pss_sha256:rsa_pss_pss_sha384:"                                                   \
	"rsa_pss_pss_sha512"
#define PKCS1 "RSA+SHA256:RSA+SHA384:RSA+SHA512"

/* OpenSSL's security level for as many bits: SSL_CTX_set_security_level(3). */
static int level_of(int strength)
{
	return strength >= 128 ? 3 : 2;
}

static const struct tls_profile PROFILES[CONFIG_TLS_PROFILES] = {
	[CONFIG_TLS_COMPATIBLE] =
		{
			.name = "compatible",
			.oldest = TLS1_2_VERSION,
			.suites_13 = ALL_13,
			.suites_12 = ALL_12,
			.groups = "X25519:P-256:P-384",
			.strength = 112,
		},
	/* SP 800-52r2 3.3.1, 3.2: no ChaCha20, and of curves those of SP 800-56A. */
	[CONFIG_TLS_NIST] =
		{
			.name = "nist",
			.oldest = TLS1_2_VERSION,
			.suites_13 = AES_13,
			.suites_12 = AES_12,
			.groups = "P-256:P-384:P-521",
			.signatures = ECDSA ":" PSS ":" PSS_KEYS ":" PKCS1,
			.strength = 112,
		},
	/* TR-02102-2: no ChaCha20, no X25519, no PKCS #1 v1.5 in handshakes, RSA from 3000 bits. */
	[CONFIG_TLS_BSI_2026] =
		{
			.name = "bsi-2026",
			.oldest = TLS1_2_VERSION,
			.suites_13 = AES_13,
			.suites_12 = AES_12,
			.groups = "P-256:P-384:P-521",
			.signatures = ECDSA ":" PSS ":" PSS_KEYS,
			.strength = 128,
		},
	/* "High security": TLS 1.3 has to be, 1.2 need not; key exchange of 128 bits and more. */
	[CONFIG_TLS_IPA_HIGH] =
		{
			.name = "ipa-high",
			.oldest = TLS1_3_VERSION,
			.suites_13 = ALL_13,
			.suites_12 = ALL_12, /* of no effect */
			.groups = "X25519:P-256:P-384",
			.signatures = ECDSA ":" PSS ":" PSS_KEYS,
			.strength = 128,
		},
};

const struct tls_profile *tls_profile_of(enum config_tls_profile profile)
{
	return &PROFILES[profile < CONFIG_TLS_PROFILES ? profile : CONFIG_TLS_COMPATIBLE];
}

const char *tls_profile_versions(const struct tls_profile *profile)
{
	return profile->oldest == TLS1_3_VERSION ? "TLS 1.3" : "TLS 1.2, 1.3";
}

static bool set_signatures(const struct tls_profile *profile, SSL_CTX *context)
{
	return profile->signatures == NULL ||
	       (SSL_CTX_set1_sigalgs_list(context, profile->signatures) == 1 &&
		SSL_CTX_set1_client_sigalgs_list(context, profile->signatures) == 1);
}

bool tls_profile_apply(const struct tls_profile *profile, SSL_CTX *context)
{
	/* From level 3 on OpenSSL gives no tickets; of chains it may ask for more all the same. */
	SSL_CTX_set_security_level(context, 2);
	X509_VERIFY_PARAM_set_auth_level(SSL_CTX_get0_param(context), level_of(profile->strength));
	return SSL_CTX_set_min_proto_version(context, profile->oldest) == 1 &&
	       SSL_CTX_set_ciphersuites(context, profile->suites_13) == 1 &&
	       SSL_CTX_set_cipher_list(context, profile->suites_12) == 1 &&
	       SSL_CTX_set1_groups_list(context, profile->groups) == 1 &&
	       set_signatures(profile, context);
}
