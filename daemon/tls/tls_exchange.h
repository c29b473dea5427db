/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few bytes each way on a connection whose handshake is done, by OpenSSL itself: for programs
 * that try a connection out. The daemon's sessions never come here: arming.h takes them from
 * OpenSSL.
 */
#ifndef MCSEAL_TLS_TLS_EXCHANGE_H
#define MCSEAL_TLS_TLS_EXCHANGE_H

#include "base/clock.h"
#include "tls/handshake.h"

/* Waits on the handshake's descriptor. 0, -ETIMEDOUT, or -EPROTO with the reason in `reason`. */
int tls_exchange_send(struct handshake *handshake, const void *bytes, size_t size,
		      clock_us deadline, char reason[HANDSHAKE_REASON_SIZE]);
/* What comes first, at most `size` bytes: how many, 0 at a close_notify; else as above. */
ssize_t tls_exchange_receive(struct handshake *handshake, void *bytes, size_t size,
			     clock_us deadline, char reason[HANDSHAKE_REASON_SIZE]);
/* Says close_notify. */
void tls_exchange_end(struct handshake *handshake);

/* When the peer's certificate ends, seconds since 1970; 0: it has shown none. */
time_t tls_exchange_peer_expires(const struct handshake *handshake);

#endif
