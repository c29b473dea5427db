/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in files of certificates and revocation lists, for people who look for a fault.
 * Nothing here decides about a peer: tls_context.h does. Blocking file I/O.
 */
#ifndef MCSEAL_TLS_CERTIFICATE_FILE_H
#define MCSEAL_TLS_CERTIFICATE_FILE_H

#include "base/address.h"
#include "config/config.h"

#include <stdbool.h>
#include <time.h>

struct certificate_facts {
	char subject[256];
	char names[512]; /* subjectAltName: "DNS gw.example, IP 10.20.0.2"; "" = none */
	time_t not_before, not_after;
	bool revoked;  /* by the list beside it */
	bool stranger; /* the CA beside it does not vouch for it */
};

struct crl_facts {
	unsigned int lists;
	unsigned long revoked; /* in all of them */
	time_t last_update;    /* the latest of them */
	time_t next_update;    /* the earliest of them */
};

/*
 * The first certificate of credentials->certificate, judged by `ca` and `crl` beside it (either
 * may be NULL). 0, -EBADMSG: not to be read, or -ENOMEM.
 */
int certificate_file_look(const struct config_credentials *credentials,
			  struct certificate_facts *facts);
/* Does its first certificate name that address (IP SAN), or that DNS name? */
bool certificate_file_has_address(const char *path, const struct address *address);
bool certificate_file_has_name(const char *path, const char *name);
/* Every list in a file. 0, -EBADMSG: none to be read, or -ENOMEM. */
int crl_file_look(const char *path, struct crl_facts *facts);

#endif
