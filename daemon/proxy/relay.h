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

/*
 * RELAYING or DRAINING: nothing more is asked, and when what was asked is answered the session
 * closes for `reason`; perhaps at once.
 */
void relay_end_at_rest(struct session *session, enum session_reason reason);

/* For relay_splice.c: the rest of a begun frame is awaited; ... */
void relay_rest_awaited(struct session *session, unsigned int from);
/* ... has come. */
void relay_rest_came(struct session *session, unsigned int from);
/* Leg `to` could not be sent to. Closes the session. */
void relay_unsendable(struct session *session, unsigned int to, int error);
/* A frame of direction `from` was forwarded: how long did its answer take? */
void relay_time(struct session *session, unsigned int from);
/* The same: how far are the keys used up? */
void relay_count_key_use(struct session *session, unsigned int from);

#endif
