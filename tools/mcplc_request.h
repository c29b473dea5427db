/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One whole MC request in, one whole answer out: what the simulated PLC does with it. No I/O.
 *
 * End codes are those of the Q/iQ-R manuals; where those leave a choice it is written beside the
 * check. A request is either carried out as a whole or not at all.
 */
#ifndef MCSEAL_TOOLS_MCPLC_REQUEST_H
#define MCSEAL_TOOLS_MCPLC_REQUEST_H

#include "mc/mc_number.h"
#include "mcplc_cpu.h"

/* Holds every answer: 7168 bits in binary code are 3584 bytes, 960 words in ASCII 3840. */
#define MCPLC_ANSWER_SIZE 4096

enum mcplc_action {
	MCPLC_ANSWER, /* send it */
	MCPLC_RESET,  /* no answer: the CPU resets and all connections drop */
};

struct mcplc_outcome {
	enum mcplc_action action;
	size_t length; /* of the answer */
	struct mc_request request;
	uint16_t end_code;
	char devices[256]; /* for people: "D100..D101, M50"; "" when there are none */
};

/* A request at work; shared by the files that carry out commands. */
struct mcplc_job {
	struct mcplc_cpu *cpu;
	struct mcplc_link *link;
	const struct mc_request *request;
	struct mc_reader reader; /* over the request's data */
	struct mc_writer writer; /* over the answer's data */
	struct mcplc_outcome *outcome;
	uint8_t abnormal_code; /* 1E, with complete code 5B */
};

enum mcplc_unit {
	MCPLC_BITS,
	MCPLC_WORDS,
	MCPLC_DWORDS,
};

/* 3E and 4E end codes. */
enum {
	MCPLC_OK = 0x0000,
	MCPLC_CPU_STATE = 0x4013,
	MCPLC_NO_DEVICE = 0x4030,
	MCPLC_OUT_OF_RANGE = 0x4031,
	MCPLC_CONTACT = 0x4032,
	MCPLC_NOT_HEX = 0xc050,
	MCPLC_POINTS_WORDS = 0xc051,
	MCPLC_POINTS_BITS = 0xc052,
	MCPLC_POINTS_RANDOM = 0xc053,
	MCPLC_POINTS_RANDOM_BITS = 0xc054,
	MCPLC_BEYOND_END = 0xc056,
	MCPLC_NOT_SUPPORTED = 0xc059,
	MCPLC_NOT_THIS_WAY = 0xc05b,
	MCPLC_CONTENT = 0xc05c,
	MCPLC_NO_MONITOR = 0xc05d,
	MCPLC_NO_TARGET = 0xc05f,
	MCPLC_BIT_DATA = 0xc060,
	MCPLC_LENGTH = 0xc061,
	MCPLC_PASSWORD = 0xc200,
	MCPLC_LOCKED = 0xc201,
};

/*
 * Carries out the request of `length` bytes that mc_stream_split() found and writes the answer
 * (MCPLC_ANSWER_SIZE bytes at `answer`). Negative: it is no request after all (-EBADMSG).
 */
int mcplc_request_execute(struct mcplc_cpu *cpu, struct mcplc_link *link, const uint8_t *bytes,
			  size_t length, uint8_t *answer, struct mcplc_outcome *outcome);

/* Appends "D100" or "D100..D109" to what the log will say; number counts `points` by `unit`. */
void mcplc_request_note(struct mcplc_job *job, const struct mc_device *device, uint32_t number,
			uint32_t points, enum mcplc_unit unit);
/* How many device numbers one point of `unit` covers: 16 for a word of a bit device. */
uint32_t mcplc_request_span(const struct mc_device *device, enum mcplc_unit unit);
/* The end code for a reader that failed or has bytes left over; 0 when it is used up. */
uint16_t mcplc_request_finished(const struct mc_reader *reader);

#endif
