/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request would touch, before a PLC sees it: its command, every device range, and whether
 * the frame means what it says.
 *
 * The lengths and counts of a frame are compared with one another: the advisories on MELSEC
 * Ethernet of the last years are contradictions between them (quantity, length, offset, type).
 * Pure: no I/O, no allocation, constant tables.
 *
 * Sources: MELSEC Communication Protocol Reference Manual (commands, limits of appendix 5);
 * FX3U-ENET-ADP and QnUCPU (built-in Ethernet) User's Manuals (1E).
 */
#ifndef MCSEAL_MC_MC_ACCESS_H
#define MCSEAL_MC_MC_ACCESS_H

#include "mc/mc_command.h"
#include "mc/mc_device.h"
#include "mc/mc_frame.h"

/* What is wrong with a frame; the names are those of logs and counters. */
enum mc_rule {
	MC_RULE_NONE,
	MC_RULE_LENGTH,     /* longer or shorter than its counts say */
	MC_RULE_COUNT,      /* no points, too many, or beyond the last number of a device */
	MC_RULE_SHAPE,      /* a device or field of a kind that the command does not have */
	MC_RULE_COMMAND,    /* not in the table */
	MC_RULE_SUBCOMMAND, /* not in the table for this command */
	MC_RULES
};

/* Points first..last of a device, both inside, counted as the device is: bits for bit devices. */
struct mc_range {
	const struct mc_device *device;
	uint32_t first, last;
	bool write;
};

struct mc_access {
	const struct mc_command *command; /* NULL: MC_RULE_COMMAND */
	/* Of the command; but CONTROL where it writes special relays or registers (SM, SD). */
	enum mc_class class;
	enum mc_rule rule;
	uint16_t end_code; /* that a PLC would answer with: 3E/4E end code, 1E complete code */
	/*
	 * It touches what device ranges cannot describe, or describes it in a way that is not
	 * understood here: labels, buffer memory, files, passwords, some 1E commands.
	 */
	bool opaque;
	/* Opaque, too: it reads what was registered before, by whomever, for a PLC has one list. */
	bool monitor;
	uint32_t ranges; /* how many were visited */
	uint32_t points; /* of all of them */
	/* What is read or written, as values: states of bits and words, a double word being two. */
	uint32_t bits, words;
	bool halves; /* single words of a device of 32 bits: how many bytes is told nowhere */
};

/* Called for each range in the order of the frame. */
typedef void mc_access_visit(void *context, const struct mc_range *range);

/*
 * Reads a request as mc_frame_parse_request() gave it. `visit` may be NULL. When access->rule is
 * set, ranges in front of the fault may have been visited: the frame as a whole must not pass.
 */
void mc_access_read(const struct mc_request *request, mc_access_visit *visit, void *context,
		    struct mc_access *access);

/* A value that is written: 1 bit, or 8, 16 or 32 bits. */
typedef void mc_access_value(void *context, uint32_t value, unsigned int bits);

/*
 * The same, and what it writes: `value` is called for each value behind the visit of the range that
 * it is for. Buffer memory has values and no ranges. What is not looked into (files, labels,
 * passwords) has neither.
 */
void mc_access_read_values(const struct mc_request *request, mc_access_visit *visit,
			   mc_access_value *value, void *context, struct mc_access *access);

/* Is it for the station that the PLC's port belongs to: 00, FF, 03FF, 00; in 1E only PC FF? */
bool mc_access_is_own(enum mc_family family, const struct mc_route *route);

/* "length", "count", ...; "none". */
const char *mc_access_rule_name(enum mc_rule rule);

#endif
