/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/certificate_file.h"

#include "base/error.h"
#include "tls/identity.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static time_t seconds_of(const ASN1_TIME *when)
{
	struct tm utc;

	return when != NULL && ASN1_TIME_to_tm(when, &utc) == 1 ? timegm(&utc) : 0;
}

static X509 *first_certificate(const char *path)
{
	BIO *file = BIO_new_file(path, "r");
	X509 *certificate = NULL;

	if (file != NULL)
		certificate = PEM_read_bio_X509_AUX(file, NULL, NULL, NULL);
	BIO_free(file);
	ERR_clear_error();
	return certificate;
}

/* Every certificate of the file; the first is among them, which does no harm. */
static STACK_OF(X509) * chain_of(const char *path)
{
	BIO *file = BIO_new_file(path, "r");
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *one;

	while (file != NULL && chain != NULL &&
	       (one = PEM_read_bio_X509_AUX(file, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_push(chain, one) == 0)
			X509_free(one);
	}
	BIO_free(file);
	ERR_clear_error();
	return chain;
}

/* --- names ---------------------------------------------------------------------------------- */

static void add_name(char *text, size_t size, const char *kind, const char *value, int length)
{
	size_t used = strlen(text);

	(void)snprintf(text + used, size - used, "%s%s %.*s", used > 0 ? ", " : "", kind, length,
		       value);
}

static void add_address(char *text, size_t size, const ASN1_OCTET_STRING *bytes)
{
	int family = ASN1_STRING_length(bytes) == 4 ? AF_INET : AF_INET6;
	char printed[INET6_ADDRSTRLEN];

	if (ASN1_STRING_length(bytes) != 4 && ASN1_STRING_length(bytes) != 16)
		return;
	if (inet_ntop(family, ASN1_STRING_get0_data(bytes), printed, sizeof(printed)) != NULL)
		add_name(text, size, "IP", printed, (int)strlen(printed));
}

static void add_general_name(char *text, size_t size, const GENERAL_NAME *name)
{
	static const struct {
		int type;
		const char *kind;
	} KINDS[] = {{GEN_DNS, "DNS"}, {GEN_URI, "URI"}, {GEN_EMAIL, "email"}};
	int type;
	const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);

	if (type == GEN_IPADD)
		add_address(text, size, value);
	for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++)
		if (KINDS[i].type == type)
			add_name(text, size, KINDS[i].kind,
				 (const char *)ASN1_STRING_get0_data(value),
				 ASN1_STRING_length(value));
}

static void print_names(X509 *certificate, char *text, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

	text[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
		add_general_name(text, size, sk_GENERAL_NAME_value(names, i));
	GENERAL_NAMES_free(names);
}

bool certificate_file_has_address(const char *path, const struct address *address)
{
	X509 *certificate = first_certificate(path);
	bool is_v6 = address->any.sa_family == AF_INET6;
	const unsigned char *bytes = is_v6 ? (const unsigned char *)&address->v6.sin6_addr
					   : (const unsigned char *)&address->v4.sin_addr;
	bool has = certificate != NULL && X509_check_ip(certificate, bytes, is_v6 ? 16 : 4, 0) == 1;

	X509_free(certificate);
	return has;
}

bool certificate_file_has_name(const char *path, const char *name)
{
	X509 *certificate = first_certificate(path);
	bool has = certificate != NULL &&
		   X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
				   NULL) == 1;

	X509_free(certificate);
	return has;
}

/* --- what its own CA says of it --------------------------------------------------------------- */

/* Goes on after each fault: there may be several, and most are told elsewhere. */
static int note_fault(int good, X509_STORE_CTX *store)
{
	struct certificate_facts *facts = X509_STORE_CTX_get_app_data(store);

	if (good)
		return 1;
	switch (X509_STORE_CTX_get_error(store)) {
	case X509_V_ERR_CERT_REVOKED:
		facts->revoked = true;
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		facts->stranger = true;
		break;
	default:
		break;
	}
	return 1;
}

static X509_STORE *store_of(const struct config_credentials *credentials)
{
	X509_STORE *store = X509_STORE_new();
	X509_LOOKUP *lookup;

	if (store == NULL || X509_STORE_load_file(store, credentials->ca) != 1)
		return store;
	if (credentials->crl == NULL)
		return store;
	lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
	if (lookup != NULL && X509_load_crl_file(lookup, credentials->crl, X509_FILETYPE_PEM) > 0)
		X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	return store;
}

static int judge(const struct config_credentials *credentials, X509 *certificate,
		 struct certificate_facts *facts)
{
	X509_STORE *store = store_of(credentials);
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	STACK_OF(X509) *chain = chain_of(credentials->certificate);
	int error = -ENOMEM;

	if (store != NULL && context != NULL && chain != NULL &&
	    X509_STORE_CTX_init(context, store, certificate, chain) == 1) {
		X509_STORE_CTX_set_verify_cb(context, note_fault);
		X509_STORE_CTX_set_app_data(context, facts);
		(void)X509_verify_cert(context);
		error = 0;
	}
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	sk_X509_pop_free(chain, X509_free);
	ERR_clear_error();
	return error;
}

int certificate_file_look(const struct config_credentials *credentials,
			  struct certificate_facts *facts)
{
	X509 *certificate = first_certificate(credentials->certificate);
	int error = 0;

	*facts = (struct certificate_facts){.subject = ""};
	if (certificate == NULL)
		return -EBADMSG;
	identity_subject(certificate, facts->subject, sizeof(facts->subject));
	print_names(certificate, facts->names, sizeof(facts->names));
	facts->not_before = seconds_of(X509_get0_notBefore(certificate));
	facts->not_after = seconds_of(X509_get0_notAfter(certificate));
	if (credentials->ca != NULL)
		error = judge(credentials, certificate, facts);
	X509_free(certificate);
	return error;
}

/* --- revocation lists ------------------------------------------------------------------------- */

static void add_list(struct crl_facts *facts, X509_CRL *crl)
{
	time_t last = seconds_of(X509_CRL_get0_lastUpdate(crl));
	time_t next = seconds_of(X509_CRL_get0_nextUpdate(crl));
	int revoked = sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl));

	if (facts->lists == 0 || last > facts->last_update)
		facts->last_update = last;
	if (facts->lists == 0 || next < facts->next_update)
		facts->next_update = next;
	facts->revoked += revoked > 0 ? (unsigned long)revoked : 0;
	facts->lists++;
}

int crl_file_look(const char *path, struct crl_facts *facts)
{
	BIO *file = BIO_new_file(path, "r");
	X509_CRL *crl;

	*facts = (struct crl_facts){.lists = 0};
	while (file != NULL && (crl = PEM_read_bio_X509_CRL(file, NULL, NULL, NULL)) != NULL) {
		add_list(facts, crl);
		X509_CRL_free(crl);
	}
	BIO_free(file);
	ERR_clear_error();
	return facts->lists > 0 ? 0 : -EBADMSG;
}
