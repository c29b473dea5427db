/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does an answer belong to the request before it? Told by the answer's first bytes and its length:
 * nothing of what a PLC's devices hold is looked at.
 *
 * A wrong "no" would cut a plant's connection: only what the manuals leave no doubt about is
 * expected. Pure: no I/O, no allocation, constant tables; no state but struct mc_echo.
 *
 * Sources: MELSEC Communication Protocol Reference Manual (message formats, data of answers);
 * FX3U-ENET-ADP User's Manual (1E).
 */
#ifndef MCSEAL_MC_MC_ANSWER_H
#define MCSEAL_MC_MC_ANSWER_H

#include "mc/mc_access.h"

/* No answer is that long: the data length field counts the end code, too. */
#define MC_ANSWER_ANY      UINT16_MAX
/* Bytes up to and including the end code of the longest kind (4E ASCII). */
#define MC_ANSWER_HEAD_MAX 30

/*
 * How many bytes of data stand behind end code 0000 in the answer to `request`, as on the wire:
 * an ASCII answer has two for each byte of a number. `access` is what mc_access_read() made of the
 * request. MC_ANSWER_ANY: not known for sure; so with every request that has a fault, and in 1E,
 * where mc_stream_split() derives the length.
 */
uint16_t mc_answer_size(const struct mc_request *request, const struct mc_access *access);

/* What the answer to one request must be like; plain data, for as long as it is owed. */
struct mc_echo {
	uint8_t mark[4]; /* 4E: the serial number as on the wire; 1E: the command */
	uint16_t size;   /* mc_answer_size() */
	uint8_t family;  /* enum mc_family; NONE (all zero): nothing was asked */
	uint8_t code;    /* enum mc_code */
};

void mc_answer_expect(struct mc_echo *echo, const struct mc_request *request,
		      const struct mc_access *access);

/* In the order in which they are looked for. */
enum mc_answer_fit {
	MC_ANSWER_FITS,
	MC_ANSWER_SHORT,     /* fewer bytes than mc_answer_head() */
	MC_ANSWER_SUBHEADER, /* of another kind, or in 1E to another command */
	MC_ANSWER_SERIAL,    /* 4E: to another request */
	MC_ANSWER_END_CODE,  /* ASCII: it is no number */
	MC_ANSWER_LENGTH,    /* end code 0000 with more or less data than was asked for */
	MC_ANSWER_FIT_COUNT
};

/* How many bytes of the answer mc_answer_fits() looks at; 0 when nothing was asked. */
size_t mc_answer_head(const struct mc_echo *echo);
/*
 * Judges an answer of `length` bytes, as mc_stream_split() measured it, by the first `size` of
 * them at `head`. Reads mc_answer_head() bytes and no further. *end_code (1E: the complete code)
 * is set with MC_ANSWER_FITS and MC_ANSWER_LENGTH, else 0. With another end code than 0000 the
 * length is not judged: some gear leaves the error information block out.
 */
enum mc_answer_fit mc_answer_fits(const struct mc_echo *echo, const uint8_t *head, size_t size,
				  size_t length, uint16_t *end_code);

/* What is wrong, for logs: "answer-serial", "answer-length", ...; "none". */
const char *mc_answer_fit_name(enum mc_answer_fit fit);

#endif
