/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a session from accepted to relaying, in both roles. Called by session.c only; every
 * function may close the session.
 */
#ifndef MCSEAL_PROXY_SESSION_SETUP_H
#define MCSEAL_PROXY_SESSION_SETUP_H

#include "proxy/session.h"

/* The first step after accept(2). */
void session_setup_begin(struct session *session);
/* The handshake job was answered. */
void session_setup_shaken(struct session *session);
/* connect(2) of the far leg ended with `res`. */
void session_setup_connected(struct session *session, int res);
/* Gateway, RESOLVING: bytes of the PROXY header came. */
void session_setup_received(struct session *session, unsigned int leg, enum leg_event event);
/* The deadline of a state before RELAYING passed. */
void session_setup_expired(struct session *session);

#endif
