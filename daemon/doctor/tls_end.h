/* SPDX-License-Identifier: Apache-2.0 */
/* The ends of TLS that a configuration makes: each gateway, and each source of each edge. */
#ifndef MCSEAL_DOCTOR_TLS_END_H
#define MCSEAL_DOCTOR_TLS_END_H

#include "config/config.h"
#include "tls/tls_context.h"

struct tls_end {
	const struct config_credentials *credentials;
	enum tls_role role;
	const struct config_gateway *gateway; /* or: */
	const struct config_edge *edge;
	char where[160]; /* `gateway "plant"`, as in messages of the daemon */
};

/*
 * All of them; sources that share the edge's certificate are one. *ends is to be freed; what it
 * points to is the configuration's. 0 or -ENOMEM.
 */
int tls_ends_of(const struct config *config, struct tls_end **ends, size_t *count);

#endif
