/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a finished handshake to what makes the records from then on, the kernel or tls_stream:
 * keys, IVs and record numbers.
 *
 * OpenSSL has no call for them in TLS 1.3. The traffic secrets come out of its key log callback
 * (the lines of draft-ietf-tls-keylogfile, which are decoded here and written nowhere), the
 * record numbers are counted by its message callback.
 */
#ifndef MCSEAL_TLS_ARMING_H
#define MCSEAL_TLS_ARMING_H

#include "tls/record_control.h"

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
 * May others take over? 0 with *pair, which the caller wipes; ARMING_REFUSED with *why naming
 * the first thing that does not fit (a constant string): the connection can only be closed.
 * Nothing of the handshake is changed but that its notes are wiped. It is then freed and never
 * used to read or write: a record that it made would use a nonce a second time.
 */
int arming_prepare(struct handshake *handshake, struct traffic_pair *pair, const char **why);

#endif
