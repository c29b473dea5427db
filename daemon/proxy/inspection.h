/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway's look at the requests of a session: which policy binds it, what does not pass, what
 * the client is told instead, and the line that tells it. For relay.c.
 */
#ifndef MCSEAL_PROXY_INSPECTION_H
#define MCSEAL_PROXY_INSPECTION_H

#include "proxy/session.h"

/* What ends a session whose PLC answers more than it was asked. */
#define INSPECTION_UNASKED "an answer that nobody had asked for"

/* Decides whether and by what the session is inspected; when RELAYING begins. */
void inspection_begin(struct session *session);
/*
 * Judges a whole request of `length` bytes. 0: it passes. Otherwise it does not, and that many
 * bytes at `answer`, which has room for MC_FRAME_ERROR_SIZE, are the answer to the client.
 */
size_t inspection_judge(struct session *session, const uint8_t *bytes, size_t length,
			uint8_t *answer);
/*
 * How many bytes of the next answer inspection_answered() wants: up to its end code. 0: none, the
 * request was not recorded. At most INSPECTION_ANSWER_HEAD_MAX.
 */
#define INSPECTION_ANSWER_HEAD_MAX (MC_STREAM_HEAD_MAX + 4)
size_t inspection_answer_head(const struct session *session);
/* The answer to the request under way begins so; tells its end code if that was recorded. */
void inspection_answered(struct session *session, const uint8_t *bytes, size_t size);
/* The session ends: tells of a recorded request that was not answered. */
void inspection_end(struct session *session);
/* Has the PLC answered every request that it was sent? Then a further answer is nobody's. */
bool inspection_all_answered(const struct session *session);

#endif
