/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a context rests on and what ends some day: its own certificate and those sent with it, CA
 * certificates, revocation lists.
 */
#ifndef MCSEAL_TLS_PAPER_H
#define MCSEAL_TLS_PAPER_H

#include "tls/tls_context.h"

#include <time.h>

enum paper_kind {
	PAPER_CERTIFICATE,
	PAPER_CA,
	PAPER_CRL,
	PAPER_KINDS,
};

struct paper {
	enum paper_kind kind;
	char *file;
	char *name;          /* of whom it is, RFC 2253: a list's issuer, else the subject */
	time_t begins, ends; /* seconds since 1970 */
};

struct paper_list {
	struct paper *papers;
	size_t count;
};

/* "certificate", "ca", "crl"; static. */
const char *paper_kind_name(enum paper_kind kind);
/* To seconds since 1970; 0: no date. */
time_t paper_time(const ASN1_TIME *time);

/*
 * Adds those of `context`, which was made from `files`. Of several with the same kind, file and
 * name the one that lasts longest is listed: beside a renewed one the old one does not matter. A
 * list without an end is not. 0 or -ENOMEM.
 */
int paper_list_add(struct paper_list *list, const struct tls_context *context,
		   const struct config_credentials *files);
/* Leaves an empty one. */
void paper_list_clear(struct paper_list *list);

#endif
