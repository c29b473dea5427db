/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where frames begin and end in the two byte streams of one MC connection.
 *
 * 3E and 4E frames carry their length. 1E frames do not: a request's length follows from its
 * command and counts, an answer's from the request it answers, so the stream remembers the one
 * 1E request that is outstanding. Pure: no I/O, no allocation; the state is plain data without
 * pointers (it moves with a session that is handed to another process).
 *
 * Sources: MELSEC Communication Protocol Reference Manual (3E/4E/1E message formats),
 * FX3U-ENET-ADP User's Manual (1E).
 */
#ifndef MCSEAL_MC_MC_STREAM_H
#define MCSEAL_MC_MC_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mc_family {
	MC_FAMILY_NONE, /* nothing seen yet */
	MC_FAMILY_1E,
	MC_FAMILY_3E,
	MC_FAMILY_4E,
};

enum mc_code {
	MC_CODE_BINARY,
	MC_CODE_ASCII,
};

enum mc_direction {
	MC_REQUEST, /* client to PLC */
	MC_ANSWER,  /* PLC to client */
};

/* Positive: see the return convention in base/error.h. */
enum mc_split {
	MC_SPLIT_FRAME = 0, /* a whole frame lies at the start of the bytes */
	MC_SPLIT_MORE = 1,  /* frame begun, or no byte yet: frame.need bytes will tell more */
	MC_SPLIT_WAIT = 2,  /* a request that must wait for the answer to the 1E one before */
	MC_SPLIT_BAD = 3,   /* no frame of a known kind, or lengths that contradict themselves */
};

struct mc_frame {
	enum mc_family family; /* MC_FAMILY_NONE while too few bytes tell */
	enum mc_code code;     /* valid when family is known */
	/* Whole frame in bytes; with MC_SPLIT_MORE, too, as soon as it is known (0: not yet). */
	size_t length;
	/*
	 * With MC_SPLIT_MORE: bytes from the frame's start until more can be said. More than were
	 * given, never more than the whole frame will have: fit for SO_RCVLOWAT.
	 */
	size_t need;
};

/* Zero-initialised = nothing seen. Visible to be embedded; only mc_stream.c writes the fields. */
struct mc_stream {
	uint8_t family; /* enum mc_family of the last request */
	uint8_t code;   /* enum mc_code of the last request */
	bool outstanding_1e;
	uint8_t command_1e;
	uint16_t registering_1e; /* answer bytes that an unanswered 06/07 will imply for 08/09 */
	uint32_t answer_1e;      /* bytes of a normal answer */
	uint16_t monitor_1e[2];  /* the same after the last accepted 06 and 07; 0 = none */
};

/*
 * Looks at the first `size` bytes of what is not yet consumed in one direction. `frame_max` is
 * the largest frame in bytes that is acceptable. Never reads past `size`. The caller forwards
 * frame->length bytes on MC_SPLIT_FRAME, tells mc_stream_passed(), and asks again for the rest.
 *
 * The same bytes give the same frames and the same end, however they arrive. An answer must be
 * of the family and code of the last request passed; one before any request is MC_SPLIT_BAD.
 */
enum mc_split mc_stream_split(const struct mc_stream *stream, enum mc_direction direction,
			      const uint8_t *bytes, size_t size, size_t frame_max,
			      struct mc_frame *frame);

/*
 * What else it may be that was split as MC_SPLIT_BAD, for people; NULL when nothing is known of
 * it. MELSOFT, which GX Works and GOT panels speak, begins with 57 or D7.
 */
const char *mc_stream_foreign(const uint8_t *bytes, size_t size);

/* Bytes of the largest head: 4E in ASCII. */
#define MC_STREAM_HEAD_MAX 26
/*
 * How many bytes of the next answer tell its length: up to MC_STREAM_HEAD_MAX, and nothing of what
 * a PLC's devices hold is among them. 1 before any request.
 */
size_t mc_stream_answer_head(const struct mc_stream *stream);

/*
 * The frame that mc_stream_split() just described was forwarded (or answered). `bytes` still
 * holds the whole frame; of an answer, the bytes that told its length are enough.
 */
void mc_stream_passed(struct mc_stream *stream, enum mc_direction direction, const uint8_t *bytes,
		      const struct mc_frame *frame);

#endif
