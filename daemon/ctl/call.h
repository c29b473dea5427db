/* SPDX-License-Identifier: Apache-2.0 */
/* One question to a running daemon, at its control socket; daemon/control has the other end. */
#ifndef MCSEAL_CTL_CALL_H
#define MCSEAL_CTL_CALL_H

#include <stddef.h>

struct call_answer {
	char *body; /* NUL-terminated behind its `size` bytes */
	size_t size;
	char *message; /* for people, instead of the body */
};

/*
 * Sends `command` (its arguments behind it) and waits for the whole answer, some seconds at most.
 * 0: the body is there; -errno: only the message, which says what to do about it. To be freed by
 * call_answer_deinit() in any case.
 */
int call_daemon(const char *path, const char *command, struct call_answer *answer);
void call_answer_deinit(struct call_answer *answer);

#endif
