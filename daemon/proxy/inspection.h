/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway's look at the requests of a session: may this one go now, by its identity's budget and
 * by turns with the others who ask the same PLC; may it go at all, by policy; and does the answer
 * belong to it. For relay.c.
 */
#ifndef MCSEAL_PROXY_INSPECTION_H
#define MCSEAL_PROXY_INSPECTION_H

#include "mc/mc_answer.h"
#include "proxy/session.h"

/*
 * Decides whether the session is inspected; when RELAYING begins. False: no memory, and the
 * session has been closed.
 */
bool inspection_begin(struct session *session);
/* The session ends: tells of a recorded request that was not answered, gives its turn back. */
void inspection_end(struct session *session);
/* With nothing in flight. */
void inspection_free(struct session *session);

/*
 * A whole request stands at the front of the client's input. True: judge it now. False: it has to
 * wait, and relay_sent() will be called when it need not; or the session has been closed.
 */
bool inspection_may_go(struct session *session);
/*
 * Judges it. 0: it passes and is about to be sent on. Otherwise it does not, and that many bytes
 * at `answer`, which has room for MC_FRAME_ERROR_SIZE, are the answer to the client. Or the
 * session has been closed.
 */
size_t inspection_judge(struct session *session, const uint8_t *bytes, size_t length,
			uint8_t *answer);

/* Something comes from the PLC. True: nobody had asked, and the session has been closed. */
bool inspection_unasked(struct session *session);
/* How many bytes of the next answer inspection_answered() wants: MC_ANSWER_HEAD_MAX at most. */
size_t inspection_answer_head(const struct session *session);
/*
 * A whole answer of `length` bytes has come and begins with these `size`. False: it does not
 * belong to the request under way, and the session has been closed.
 */
bool inspection_answered(struct session *session, const uint8_t *bytes, size_t size, size_t length);

#endif
