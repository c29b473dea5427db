/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of a gateway's requests, for those who must know later who did what: before a
 * request that changes something goes to its PLC, and when the answer came; and what was refused.
 * docs/policy.md names the lines and their fields. Values are never told, passwords least of all.
 */
#ifndef MCSEAL_PROXY_AUDIT_H
#define MCSEAL_PROXY_AUDIT_H

#include "policy/policy.h"
#include "proxy/session.h"

/* Is a request of this class recorded? Reads are many and change nothing: on request only. */
bool audit_wants(const struct session *session, enum mc_class class);
/* It will go to the PLC now: whatever happens then, it was asked. */
void audit_request(const struct session *session, const struct mc_request *request,
		   const struct mc_access *access);
/* The last recorded one was answered after so many microseconds, ... */
void audit_answered(const struct session *session, enum mc_family family, uint16_t end_code,
		    clock_us took);
/* ... or the session ended first: it may have been done, or not. */
void audit_unanswered(const struct session *session);
/* It does not go to the PLC; or, `observed`, it does all the same. */
void audit_refused(const struct session *session, const struct mc_request *request,
		   const struct policy_verdict *verdict, bool observed);

#endif
