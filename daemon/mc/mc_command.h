/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MC commands with the class a policy thinks in, and what end codes mean, in words.
 *
 * Sources: MELSEC Communication Protocol Reference Manual; FX3U-ENET-ADP User's Manual (1E);
 * QnUCPU User's Manual (Communication via Built-in Ethernet Port), error codes.
 */
#ifndef MCSEAL_MC_MC_COMMAND_H
#define MCSEAL_MC_MC_COMMAND_H

#include "mc/mc_stream.h"

enum mc_class {
	MC_CLASS_READ,
	MC_CLASS_WRITE,   /* changes a device, buffer or label */
	MC_CLASS_CONTROL, /* changes the state of the CPU or module */
	MC_CLASS_FILE_READ,
	MC_CLASS_FILE_WRITE,
	MC_CLASS_SECURITY, /* remote password; the data must never reach a log */
	MC_CLASS_DIAGNOSTIC,
	MC_CLASS_OTHER, /* known, but of no class that a policy can allow as a whole */
	MC_CLASSES
};

struct mc_command {
	uint16_t code;
	enum mc_class class;
	const char *name;
};

/* NULL = unknown: refuse where a policy is active. 1E has its own one-byte commands. */
const struct mc_command *mc_command_find(enum mc_family family, uint16_t code);
/* "read", "write", "control", "file-read", ... */
const char *mc_command_class_name(enum mc_class class);
/*
 * What a 3E/4E end code or a 1E complete code means; never NULL ("unknown end code", or the
 * range it is in).
 */
const char *mc_command_end_code_name(enum mc_family family, uint16_t end_code);

#endif
