/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/identity.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

/* A name with an embedded NUL is somebody's trick: it equals nothing. */
static bool text_is(const ASN1_STRING *string, const char *value, bool fold_case)
{
	const char *bytes = (const char *)ASN1_STRING_get0_data(string);
	size_t size = (size_t)ASN1_STRING_length(string);

	if (size != strlen(value) || memchr(bytes, '\0', size) != NULL)
		return false;
	return fold_case ? strncasecmp(bytes, value, size) == 0 : memcmp(bytes, value, size) == 0;
}

static bool has_name(X509 *certificate, int type, const char *value)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
		int kind;
		const ASN1_STRING *string =
			GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);

		found = kind == type && text_is(string, value, type == GEN_DNS);
	}
	GENERAL_NAMES_free(names);
	return found;
}

static bool has_common_name(X509 *certificate, const char *value)
{
	X509_NAME *subject = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	/* Two common names are ambiguous: neither counts. */
	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return false;
	return text_is(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), value, false);
}

static bool has_key(X509 *certificate, const char *value)
{
	unsigned char digest[32];
	char hex[2 * sizeof(digest) + 1];
	unsigned char *der = NULL;
	int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
	bool same = false;

	if (size > 0 && EVP_Digest(der, (size_t)size, digest, NULL, EVP_sha256(), NULL) == 1) {
		for (size_t i = 0; i < sizeof(digest); i++)
			snprintf(hex + 2 * i, 3, "%02x", digest[i]);
		same = strcmp(hex, value) == 0;
	}
	OPENSSL_free(der);
	return same;
}

void identity_name(const X509_NAME *name, char *text, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int got = 0;

	if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0)
		got = BIO_read(bio, text, (int)size - 1);
	text[got > 0 ? got : 0] = '\0';
	BIO_free(bio);
}

void identity_subject(const X509 *certificate, char *text, size_t size)
{
	identity_name(X509_get_subject_name(certificate), text, size);
}

void identity_serial(const X509 *certificate, char *text, size_t size)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char *hex = number ? BN_bn2hex(number) : NULL;

	/* As the configuration has it: no leading zeros. */
	snprintf(text, size, "%s", hex ? hex + strspn(hex, "0") : "");
	for (char *c = text; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'F')
			*c = (char)(*c - 'A' + 'a');
	OPENSSL_free(hex);
	BN_free(number);
}

static bool has_serial(X509 *certificate, const char *value)
{
	char serial[2 * 20 + 3], issuer[512], both[sizeof(serial) + sizeof(issuer) + 1];

	identity_serial(certificate, serial, sizeof(serial));
	identity_name(X509_get_issuer_name(certificate), issuer, sizeof(issuer));
	snprintf(both, sizeof(both), "%s@%s", serial, issuer);
	return strcmp(both, value) == 0;
}

static bool has_role(X509 *certificate, const char *value)
{
	ASN1_OBJECT *oid = OBJ_txt2obj(IDENTITY_ROLE_OID, 1);
	int at = oid ? X509_get_ext_by_OBJ(certificate, oid, -1) : -1;
	bool same = false;

	if (at >= 0 && X509_get_ext_by_OBJ(certificate, oid, at) < 0) {
		ASN1_OCTET_STRING *der = X509_EXTENSION_get_data(X509_get_ext(certificate, at));
		const unsigned char *bytes = ASN1_STRING_get0_data(der);
		const unsigned char *end = bytes + ASN1_STRING_length(der);
		ASN1_UTF8STRING *role = d2i_ASN1_UTF8STRING(NULL, &bytes, ASN1_STRING_length(der));

		same = role != NULL && bytes == end && text_is(role, value, false);
		ASN1_UTF8STRING_free(role);
	}
	ASN1_OBJECT_free(oid);
	return same;
}

static bool matches(X509 *certificate, const struct config_match *match)
{
	switch (match->kind) {
	case CONFIG_MATCH_URI:
		return has_name(certificate, GEN_URI, match->value);
	case CONFIG_MATCH_DNS:
		return has_name(certificate, GEN_DNS, match->value);
	case CONFIG_MATCH_EMAIL:
		return has_name(certificate, GEN_EMAIL, match->value);
	case CONFIG_MATCH_CN:
		return has_common_name(certificate, match->value);
	case CONFIG_MATCH_SPKI:
		return has_key(certificate, match->value);
	case CONFIG_MATCH_SERIAL:
		return has_serial(certificate, match->value);
	case CONFIG_MATCH_ROLE:
		return has_role(certificate, match->value);
	}
	return false;
}

const struct config_identity *identity_find(const struct config *config, X509 *certificate)
{
	for (size_t i = 0; i < config->identity_count; i++) {
		const struct config_identity *identity = &config->identities[i];

		for (size_t j = 0; j < identity->match_count; j++)
			if (matches(certificate, &identity->matches[j]))
				return identity;
	}
	return NULL;
}
