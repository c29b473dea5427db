/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of MELSEC CPUs: names, codes, kinds, and how their numbers are written.
 *
 * Source: MELSEC Communication Protocol Reference Manual, device code lists (Q/L and iQ-R);
 * FX3U-ENET-ADP User's Manual (1E codes).
 */
#ifndef MCSEAL_MC_MC_DEVICE_H
#define MCSEAL_MC_MC_DEVICE_H

#include "mc/mc_number.h"

/* "LSTN4294967295" and the zero byte fit. */
#define MC_DEVICE_TEXT_SIZE 16

enum mc_device_kind {
	MC_DEVICE_BIT,
	MC_DEVICE_WORD,
	MC_DEVICE_DWORD, /* 32 bits a point; iQ-R only */
};

struct mc_device {
	char name[5];
	enum mc_device_kind kind;
	uint8_t base;       /* 10 or 16: how people and iQ-R ASCII frames write the number */
	uint8_t base_short; /* the same in Q/L ASCII frames; differs for ZR only */
	uint8_t code;       /* Q/L form, 1 byte; 0 = the device has none */
	uint16_t code_long; /* iQ-R form, 2 bytes */
	char ascii[3];      /* Q/L form, 2 characters; "" = none */
	char ascii_long[5]; /* iQ-R form, 4 characters */
	uint16_t code_1e;   /* 0 = none */
	bool extended_only; /* G, HG: only with an extension specification (subcommand 008x) */
	bool timer_contact; /* contact or coil of a timer or counter: no word access (4032) */
};

/* How a device stands in a 3E/4E request: subcommands 0000/0001 or 0002/0003. */
enum mc_device_form {
	MC_DEVICE_SHORT, /* Q/L: number 3 bytes, code 1 byte; ASCII code 2, number 6 characters */
	MC_DEVICE_LONG,  /* iQ-R: number 4 bytes, code 2 bytes; ASCII code 4, number 8 characters */
};

/* Look-ups return NULL for an unknown code. The table is constant. */
const struct mc_device *mc_device_by_code(enum mc_device_form form, uint16_t code);
/* `text` as in the frame, 2 or 4 characters; a fill character may be '*' or a blank. */
const struct mc_device *mc_device_by_ascii(enum mc_device_form form, const uint8_t *text);
const struct mc_device *mc_device_by_1e(uint16_t code);
/* "D", "STN" or its short form "SN"; upper case. */
const struct mc_device *mc_device_by_name(const char *name);
/* Walks over the table: i = 0, 1, ...; NULL after the last one. */
const struct mc_device *mc_device_at(size_t i);
/* Position in the table, for arrays indexed by device. */
size_t mc_device_index(const struct mc_device *device);

/*
 * One device specification from a request. False when the reader failed or the number is no
 * number (reader->error says which); otherwise true, with *device NULL when the code is unknown.
 */
bool mc_device_read(struct mc_reader *reader, enum mc_device_form form,
		    const struct mc_device **device, uint32_t *number);
/* The same from a 1E request: number 4 bytes, code 2 bytes; in ASCII code first, all hex. */
bool mc_device_read_1e(struct mc_reader *reader, const struct mc_device **device, uint32_t *number);
/* Sets writer->error when the device has no code in this form or the number does not fit. */
void mc_device_write(struct mc_writer *writer, enum mc_device_form form,
		     const struct mc_device *device, uint32_t number);
void mc_device_write_1e(struct mc_writer *writer, const struct mc_device *device, uint32_t number);

/*
 * "D100", "x1f", "W1A0", "ZR10", "TN5": the longest device name that leaves a number. Lower case
 * is accepted: people type it. -EINVAL: not a device.
 */
int mc_device_parse(const char *text, const struct mc_device **device, uint32_t *number);
/* `text` holds MC_DEVICE_TEXT_SIZE bytes; returns it. */
const char *mc_device_print(const struct mc_device *device, uint32_t number, char *text);

#endif
