/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests mcping sends, as whole frames of any family and code, and what answers carry.
 * Deliberately independent of mcplc: only the tables of daemon/mc/ are shared.
 */
#ifndef MCPING_REQUEST_H
#define MCPING_REQUEST_H

#include "mc/mc_device.h"
#include "mc/mc_frame.h"

/* The longest a length field allows, 4E ASCII header before it. */
#define REQUEST_SIZE_MAX (26 + 65535)

enum request_kind {
	REQUEST_READ,
	REQUEST_WRITE,
	REQUEST_MODEL,
	REQUEST_SELFTEST,
	REQUEST_UNLOCK,
	REQUEST_LOCK,
	REQUEST_RUN,
	REQUEST_STOP,
	REQUEST_PAUSE,
	REQUEST_LATCH_CLEAR,
	REQUEST_RESET,
};

/* How frames are written; the same for every request of a run but for `serial`. */
struct request_style {
	enum mc_family family;
	enum mc_code code;
	struct mc_route route;
	uint16_t timer;
	uint16_t serial; /* 4E */
	bool long_form;  /* iQ-R subcommands 0002 and 0003 */
};

struct request {
	enum request_kind kind;
	/* READ, WRITE: the devices. */
	const struct mc_device *device;
	uint32_t number;
	uint32_t points;
	bool bits;              /* bit units, else word units */
	const uint16_t *values; /* WRITE: `points` of them; not owned */
	/* SELFTEST, UNLOCK, LOCK: the characters; not owned. */
	const char *text;
	/* RUN, PAUSE: even if another station has the remote state. RUN: 0, 1, 2 (clear nothing,
	 * all but latches, all). */
	bool force;
	uint8_t clear;
};

/*
 * Writes one frame and returns its size. 0 = this family has no such request, a device or number
 * has no place in it, or `size` is too small.
 */
size_t request_put(const struct request_style *style, const struct request *request, uint8_t *out,
		   size_t size);
/* False when the answer's data is not exactly `points` points; `values` holds as many. */
bool request_values(const struct request *request, const struct mc_answer *answer,
		    uint16_t *values);
/*
 * The model of a MODEL answer: name (blank padding removed, unprintable characters as '?') into
 * `name` of 17 bytes, "" in 1E which has a code alone. False when the answer holds no model.
 */
bool request_model(const struct mc_answer *answer, char *name, uint16_t *model_code);
/* Did the loop-back answer return `text`? */
bool request_echoed(const struct request *request, const struct mc_answer *answer);

#endif
