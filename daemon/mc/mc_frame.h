/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields of whole 3E, 4E and 1E frames: taken apart and put together, in both codes.
 *
 * Where a frame ends is mc_stream.h's business: everything here gets exactly one whole frame.
 * What stands behind the command and subcommand is left to the caller (mc_number.h reads it).
 *
 * Source: MELSEC Communication Protocol Reference Manual, message formats; FX3U-ENET-ADP User's
 * Manual (1E).
 */
#ifndef MCSEAL_MC_MC_FRAME_H
#define MCSEAL_MC_MC_FRAME_H

#include "mc/mc_stream.h"

/* Header, timer, command and subcommand of the longest kind (4E ASCII). */
#define MC_FRAME_OVERHEAD   38
/* The longest error answer (4E ASCII): header, end code, error information block. */
#define MC_FRAME_ERROR_SIZE 48

/* Access route: whom a frame is for. The own station's CPU is 00, FF, 03FF, 00. */
struct mc_route {
	uint8_t network; /* 00 = own */
	uint8_t pc;      /* PC (station) number; FF = own CPU; the only field a 1E frame has */
	uint16_t module; /* request destination module I/O number; 03FF = own or control CPU */
	uint8_t station; /* multidrop station number */
};

#define MC_ROUTE_OWN ((struct mc_route){0x00, 0xff, 0x03ff, 0x00})

struct mc_request {
	enum mc_family family;
	enum mc_code code;
	/*
	 * 4E: the serial number as it stands on the wire (2 bytes, or 4 characters in ASCII
	 * code). Clients differ in its digit order: compare and echo it, as text in ASCII code.
	 */
	uint8_t serial[4];
	struct mc_route route;
	uint16_t timer;   /* 250 ms units; 0 = wait without limit */
	uint16_t command; /* 1E: the command byte */
	uint16_t subcommand;
	/* What follows the subcommand (1E: the timer), in wire form; not owned. */
	const uint8_t *data;
	size_t data_size;
};

struct mc_answer {
	enum mc_family family;
	enum mc_code code;
	uint8_t serial[4];
	struct mc_route route; /* not in 1E: all zero */
	uint16_t end_code;     /* 0 = normal; 1E: the complete code */
	uint8_t command_1e;    /* 1E: command of the request; else 0 */
	const uint8_t *data;   /* after end code and error block; not owned */
	size_t data_size;
	/*
	 * With end_code != 0, when the error information block is there (some gear leaves it
	 * out): the responding station and the refused command. 1E: abnormal_code with 5B.
	 */
	bool has_error_block;
	struct mc_route error_route;
	uint16_t error_command;
	uint16_t error_subcommand;
	uint8_t abnormal_code;
};

/*
 * A whole request of `length` bytes, as mc_stream_split() measured it. -EBADMSG: no request of
 * a known kind, a wrong length, or ASCII that is not hexadecimal in the header.
 */
int mc_frame_parse_request(const uint8_t *bytes, size_t length, struct mc_request *request);
/*
 * The same for an answer; a 1E answer says nothing about its code: the caller says what the
 * request was in (`code`; not looked at when the answer is 3E or 4E).
 */
int mc_frame_parse_answer(const uint8_t *bytes, size_t length, enum mc_code code,
			  struct mc_answer *answer);

/*
 * The encoders write one frame at `out` and return its size, or 0 when `size` bytes are too few
 * or the data length field (16 bits) is. `data` may lie inside `out`.
 */
size_t mc_frame_put_request(const struct mc_request *request, uint8_t *out, size_t size);
/* A normal answer to `request` (its family, code, serial and route are echoed) with `data`. */
size_t mc_frame_put_answer(const struct mc_request *request, const uint8_t *data, size_t data_size,
			   uint8_t *out, size_t size);
/*
 * An error answer: 3E/4E with the error information block, 1E with `end_code` as complete code
 * and, if that is 5B, `abnormal_code` (else ignored).
 */
size_t mc_frame_put_error(const struct mc_request *request, uint16_t end_code,
			  uint8_t abnormal_code, uint8_t *out, size_t size);

/* "00-FF-03FF-00": network, PC, module, station, in hexadecimal. */
#define MC_ROUTE_TEXT_SIZE sizeof("00-FF-03FF-00")
/* `text` holds MC_ROUTE_TEXT_SIZE bytes; returns it. */
const char *mc_frame_route_print(const struct mc_route *route, char *text);
/* -EINVAL: not of that form. */
int mc_frame_route_parse(const char *text, struct mc_route *route);
bool mc_frame_route_equal(const struct mc_route *a, const struct mc_route *b);
/* "3E", "4E", "1E" or "-"; "binary" or "ascii". */
const char *mc_frame_family_name(enum mc_family family);
const char *mc_frame_code_name(enum mc_code code);

#endif
