/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request log: one line per connection and request, `time event=... key=value ...`, written
 * at once so that a test can read it while the PLC runs. docs/mcplc.md lists events and keys.
 */
#ifndef MCSEAL_TOOLS_MCPLC_LOG_H
#define MCSEAL_TOOLS_MCPLC_LOG_H

#include <stdint.h>
#include <stdio.h>

#include "mcplc_request.h"

struct mcplc_log {
	FILE *file; /* NULL = no log */
	FILE *echo; /* a second copy for people; NULL = none */
};

/* Peer and port as text, as they stand in every line of a connection. */
struct mcplc_log_names {
	const char *peer;
	const char *port;
};

/* A line without a request: "open", "close", "refused", ...; `detail` ("key=value ...") or "". */
void mcplc_log_event(const struct mcplc_log *log, const char *event,
		     const struct mcplc_log_names *names, const char *detail);
/*
 * "request", "dropped" or "mismatch" with everything the frame says and its bytes in hex. The
 * data of 1630/1631 is replaced by as many '*', in both codes, whatever became of the request.
 */
void mcplc_log_request(const struct mcplc_log *log, const char *event,
		       const struct mcplc_log_names *names, const struct mcplc_outcome *outcome,
		       const uint8_t *bytes, size_t length);

#endif
