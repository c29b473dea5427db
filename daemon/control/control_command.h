/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be asked at the control socket: one row for each command. docs/mcseal.md tells them.
 */
#ifndef MCSEAL_CONTROL_CONTROL_COMMAND_H
#define MCSEAL_CONTROL_CONTROL_COMMAND_H

#include "control/reload.h"
#include "plant/plant.h"
#include "proxy/capabilities.h"
#include "proxy/counters.h"

#include <stdio.h>

/* What commands look at; main.c's, all of it outlives the socket. */
struct control_context {
	struct reload *running;
	const struct capabilities *capabilities;
	struct plant *plant;
	struct counters *counters;
	time_t started; /* CLOCK_REALTIME, seconds */
};

struct control_command {
	const char *name;
	/*
	 * Writes the answer to `body`. 0, or -errno when it could not: then `body` holds one line
	 * for people instead, without its end. `arguments` is what followed the name, "" if
	 * nothing. On the main thread: it must not wait for long.
	 */
	int (*run)(FILE *body, const char *arguments, struct control_context *context);
};

struct control_commands {
	const struct control_command *rows;
	size_t count;
};

/* The daemon's. */
extern const struct control_commands control_commands;

#endif
