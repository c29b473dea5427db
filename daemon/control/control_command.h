/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be asked at the control socket: one row for each command. docs/mcseal.md tells them.
 */
#ifndef MCSEAL_CONTROL_CONTROL_COMMAND_H
#define MCSEAL_CONTROL_CONTROL_COMMAND_H

#include "confine/confine.h"
#include "control/reload.h"
#include "plant/plant.h"
#include "proxy/capabilities.h"
#include "proxy/counters.h"

#include <stdio.h>
#include <sys/socket.h>

struct drains;

/* What commands look at; main.c's, all of it outlives the socket. */
struct control_context {
	struct reload *running;
	const struct capabilities *capabilities;
	const struct confinement *confinement;
	struct plant *plant;
	struct counters *counters;
	time_t started; /* CLOCK_REALTIME, seconds */
	struct drains *drains;
};

enum { CONTROL_LATER = 1 };

/* What a command that ends with CONTROL_LATER leaves behind, for when the workers have done it. */
struct control_later {
	int descriptor; /* readable then */
	void *what;
	/* As run(). Not called when nobody waits for the answer any more. */
	int (*answer)(void *what, FILE *body, struct control_context *context);
	/* Called once in any case, after answer(). Waits for workers that are still at it. */
	void (*drop)(void *what);
};

/* While its command runs. */
struct control_question {
	const char *command;
	const char *arguments; /* what followed the name, "" if nothing */
	struct ucred asker;
	FILE *body;
	struct control_later later;
};

struct control_command {
	const char *name;
	/*
	 * Writes the answer to the body. 0; -errno when it could not: then the body holds one line
	 * for people instead, without its end; or CONTROL_LATER with question->later. On the main
	 * thread: it must not wait for long.
	 */
	int (*run)(struct control_question *question, struct control_context *context);
};

struct control_commands {
	const struct control_command *rows;
	size_t count;
};

/* The daemon's. */
extern const struct control_commands control_commands;

#endif
