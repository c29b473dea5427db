/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sessions are now, copied on their workers' threads for somebody of the main thread: a
 * page at a time, so that neither memory nor a worker's time depends on how many there are.
 */
#ifndef MCSEAL_PROXY_SESSION_LIST_H
#define MCSEAL_PROXY_SESSION_LIST_H

#include "proxy/session.h"

#define SESSION_LIST_PAGE 2048

/* One session, as it was when its worker came to it. */
struct session_row {
	struct snapshot *snapshot; /* a reference; the names below are its */
	uint64_t id;
	enum session_role role;
	enum session_state state;
	const char *listener;                 /* of the edge or gateway */
	const char *identity, *plc;           /* gateway, once known; else NULL */
	const char *route;                    /* edge, once known; else NULL */
	struct address client;                /* AF_UNSPEC: not known yet; so the others */
	struct address edge, destination;     /* as in struct session */
	char serial[48];                      /* "": none */
	const char *tls_version, *tls_cipher; /* static; NULL: no handshake yet */
	const char *user_why;                 /* static; NULL: as configured */
	bool resumed, keys_in_kernel;
	bool relays; /* `engine` counts */
	enum relay_engine engine;
	clock_us age;
	clock_us latency; /* of the last request; -1: none has been answered */
	uint64_t requests, answers, bytes_to_plc, bytes_from_plc;
	uint32_t refused;
	bool ending; /* it was told to end, when what was asked is answered */
};

struct session_list;
struct worker;

/*
 * Begins the page of the newest sessions with ids below `before` (0: from the newest on). 0 or
 * -errno. Nothing blocks.
 */
int session_list_new(struct worker **workers, unsigned int count, uint64_t before,
		     struct session_list **list);
/* Waits for the workers that are still at it. Accepts NULL. */
void session_list_free(struct session_list *list);
/* Readable when the page is there. */
int session_list_descriptor(const struct session_list *list);
/*
 * Once it is: at most SESSION_LIST_PAGE rows, newest first; with less there are no more. The
 * list's. 0; -EAGAIN: it is not; -ENOMEM: a worker had no memory for them.
 */
int session_list_rows(struct session_list *list, const struct session_row *const **rows,
		      size_t *count);

#endif
