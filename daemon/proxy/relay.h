/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: what one leg received goes out of the other, whole frame by whole frame.
 *
 * One frame leaves as one send and one TLS record, however it arrived: many MC clients take one
 * recv for one answer and silently use wrong data when it comes in two. An opaque session's
 * bytes leave as they came. Called by session.c only; every function may close the session.
 */
#ifndef MCSEAL_PROXY_RELAY_H
#define MCSEAL_PROXY_RELAY_H

#include "proxy/session.h"

/* Enters RELAYING; bytes that the near leg already holds are the first. */
void relay_start(struct session *session);
/* Something came in on leg `from`. */
void relay_received(struct session *session, unsigned int from, enum leg_event event);
/* Leg `to` has sent what it was given. */
void relay_sent(struct session *session, unsigned int to);
/* DRAINING lasted too long. */
void relay_expired(struct session *session);

#endif
