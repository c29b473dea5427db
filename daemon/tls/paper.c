/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/paper.h"

#include "tls/identity.h"

#include <errno.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 256

const char *paper_kind_name(enum paper_kind kind)
{
	static const char *const NAMES[PAPER_KINDS] = {
		[PAPER_CERTIFICATE] = "certificate",
		[PAPER_CA] = "ca",
		[PAPER_CRL] = "crl",
	};

	return NAMES[kind];
}

time_t paper_time(const ASN1_TIME *time)
{
	struct tm utc;

	return time != NULL && ASN1_TIME_to_tm(time, &utc) == 1 ? timegm(&utc) : 0;
}

static struct paper *find(const struct paper_list *list, enum paper_kind kind, const char *file,
			  const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		struct paper *paper = &list->papers[i];

		if (paper->kind == kind && strcmp(paper->file, file) == 0 &&
		    strcmp(paper->name, name) == 0)
			return paper;
	}
	return NULL;
}

static int copy_names(struct paper *paper, const char *file, const char *name)
{
	if (asprintf(&paper->file, "%s", file) < 0)
		return -ENOMEM;
	if (asprintf(&paper->name, "%s", name) >= 0)
		return 0;
	free(paper->file);
	return -ENOMEM;
}

static int add(struct paper_list *list, enum paper_kind kind, const char *file, const char *name,
	       const ASN1_TIME *begin, const ASN1_TIME *end)
{
	time_t ends = paper_time(end);
	struct paper *paper = find(list, kind, file, name), *papers;

	if (paper != NULL && paper->ends < ends) {
		paper->begins = paper_time(begin);
		paper->ends = ends;
	}
	if (paper != NULL || ends == 0)
		return 0;
	papers = reallocarray(list->papers, list->count + 1, sizeof(*papers));
	if (papers == NULL)
		return -ENOMEM;
	list->papers = papers;
	paper = &papers[list->count];
	paper->kind = kind;
	paper->begins = paper_time(begin);
	paper->ends = ends;
	if (copy_names(paper, file, name) < 0)
		return -ENOMEM;
	list->count++;
	return 0;
}

static int add_certificate(struct paper_list *list, enum paper_kind kind, const char *file,
			   const X509 *certificate)
{
	char name[NAME_SIZE];

	identity_subject(certificate, name, sizeof(name));
	return add(list, kind, file, name, X509_get0_notBefore(certificate),
		   X509_get0_notAfter(certificate));
}

static int add_own(struct paper_list *list, SSL_CTX *ssl_context, const char *file)
{
	const X509 *own = SSL_CTX_get0_certificate(ssl_context);
	STACK_OF(X509) *sent = NULL;
	int error = own != NULL ? add_certificate(list, PAPER_CERTIFICATE, file, own) : 0;

	(void)SSL_CTX_get0_chain_certs(ssl_context, &sent);
	for (int i = 0; i < sk_X509_num(sent) && error == 0; i++)
		error = add_certificate(list, PAPER_CERTIFICATE, file, sk_X509_value(sent, i));
	return error;
}

static int add_list(struct paper_list *list, const char *file, const X509_CRL *crl)
{
	char name[NAME_SIZE];

	identity_name(X509_CRL_get_issuer(crl), name, sizeof(name));
	return add(list, PAPER_CRL, file, name, X509_CRL_get0_lastUpdate(crl),
		   X509_CRL_get0_nextUpdate(crl));
}

static int add_trust(struct paper_list *list, X509_STORE *store,
		     const struct config_credentials *files)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
	int error = 0;

	for (int i = 0; i < sk_X509_OBJECT_num(objects) && error == 0; i++) {
		const X509_OBJECT *object = sk_X509_OBJECT_value(objects, i);
		const X509 *anchor = X509_OBJECT_get0_X509(object);
		const X509_CRL *crl = X509_OBJECT_get0_X509_CRL(object);

		if (anchor != NULL)
			error = add_certificate(list, PAPER_CA, files->ca, anchor);
		else if (crl != NULL)
			error = add_list(list, files->crl, crl);
	}
	return error;
}

int paper_list_add(struct paper_list *list, const struct tls_context *context,
		   const struct config_credentials *files)
{
	int error = add_own(list, context->ssl_context, files->certificate);

	return error == 0 ? add_trust(list, SSL_CTX_get_cert_store(context->ssl_context), files)
			  : error;
}

void paper_list_clear(struct paper_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->papers[i].file);
		free(list->papers[i].name);
	}
	free(list->papers);
	*list = (struct paper_list){0};
}
