/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of a gateway's sessions and requests, for those who must know later who did what:
 * who came and went; before a request that changes something goes to its PLC, and when the answer
 * came; and what was refused. docs/policy.md names the lines and their fields.
 *
 * Each line goes to the log and, with audit.file, to that file: the record. Without one the log is.
 * What is written to a PLC is told with audit.values, a password never.
 */
#ifndef MCSEAL_PROXY_AUDIT_H
#define MCSEAL_PROXY_AUDIT_H

#include "base/line.h"
#include "policy/policy.h"
#include "proxy/session.h"

/* Begins a line, unless nobody would get it. */
void audit_begin(struct line *line, const struct session *session, enum log_level level,
		 const char *event);
/* Writes it. */
void audit_tell(const struct session *session, enum log_level level, const struct line *line);

/* Is a request of this class recorded? Reads are many and change nothing: on request only. */
bool audit_wants(const struct session *session, enum mc_class class);
/*
 * It will go to the PLC now: whatever happens then, it was asked. False: it must not go, for it
 * changes something, could not be recorded, and audit.failure says so; nothing was told.
 */
bool audit_request(const struct session *session, const struct mc_request *request,
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
