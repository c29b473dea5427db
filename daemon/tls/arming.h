/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a finished handshake to what the kernel needs: keys, IVs and record numbers.
 *
 * OpenSSL has no call for them in TLS 1.3. The traffic secrets come out of its key log callback
 * (the lines of draft-ietf-tls-keylogfile, which are decoded here and written nowhere), the
 * record numbers are counted by its message callback.
 */
#ifndef MCSEAL_TLS_ARMING_H
#define MCSEAL_TLS_ARMING_H

#include "tls/ktls_control.h"

#include <openssl/ssl.h>

enum arming_outcome {
	ARMING_REFUSED = 1,
};

/* What the callbacks note while a handshake runs. Zeroed at its start, wiped at its end. */
struct arming_notes {
	struct traffic_secret client, server; /* application traffic secrets, TLS 1.3 */
	struct arming_flow {
		uint64_t bytes;   /* of whole records, headers included */
		uint64_t records; /* since Finished: under the application keys */
		bool finished;
	} received, sent;
	bool rekeyed; /* a KeyUpdate came or went: the secrets are out of date */
};

/* Every SSL object made of `context` from now on notes into the struct tls_peer it points to. */
void arming_watch(SSL_CTX *context);

struct handshake;

/*
 * May the kernel take over? 0 with *pair, which the caller wipes; ARMING_REFUSED with *why naming
 * the first thing that does not fit (a constant string): the connection goes on in user space.
 * Nothing of the handshake is changed but that its notes are wiped. After a successful
 * ktls_control_new() the handshake is freed and never used to read or write: a record that it
 * made would use a nonce of the kernel's.
 */
int arming_prepare(struct handshake *handshake, struct ktls_pair *pair, const char **why);

#endif
