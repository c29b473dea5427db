/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to a PLC as the command line describes it: dial, unlock, ask, check. */
#ifndef MCPING_SESSION_H
#define MCPING_SESSION_H

#include "mcping_exchange.h"
#include "mcping_options.h"
#include "mcping_password.h"

/* Large (two frames): allocate it. The fields are for reading; only mcping_session.c writes them.
 */
struct session {
	const struct options *options;
	struct request_style style; /* with the next serial number */
	uint16_t awaited;           /* serial number of the next answer */
	bool has_password;
	char password[PASSWORD_SIZE];
	struct mc_answer answer; /* the last one */
	struct exchange exchange;
	uint8_t request[REQUEST_SIZE_MAX];
};

/* Outcomes of all: enum exchange_outcome; exchange.connection.problem tells about LOST. */

/* `options` is borrowed; `stop_fd` as in struct connection. */
void session_init(struct session *session, const struct options *options, int stop_fd);
/* Dials, and unlocks when --unlock asks for it: then answer.end_code != 0 means refused. */
int session_open(struct session *session);
int session_send(struct session *session, const struct request *request);
/* The next answer into session->answer; one with a foreign serial number (4E) is LOST. */
int session_receive(struct session *session);
/* UNLOCK and LOCK get the password here and only here; the request is wiped after sending. */
int session_ask(struct session *session, const struct request *request);
/* The connection only: session_open() may follow. */
void session_close(struct session *session);
/* Wipes what is secret. */
void session_deinit(struct session *session);

#endif
