/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of mcseal. */
#ifndef MCSEAL_CTL_OPTIONS_H
#define MCSEAL_CTL_OPTIONS_H

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>

enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* said on stderr */
	EXIT_USAGE = 2,
};

#define OPTIONS_OF_COMMAND 3
#define OPTIONS_ANY_WORDS  ((size_t)-1)

struct options;

struct command {
	const char *name;
	int (*run)(const struct options *options); /* an exit status */
	const char *word;                          /* that it cannot do without; NULL: none */
	size_t words_max;
	int keys[OPTIONS_OF_COMMAND]; /* the options that go with it; 0: none */
};

enum option_key {
	KEY_SOCKET = 's',
	KEY_OUTPUT = 'o',
	KEY_CONFIG = 'c',
	KEY_HTTP = 256,
	KEY_REFUSED,
	KEY_JSON,
	KEY_WATCH,
	KEY_NOW,
	KEY_TIMEOUT,
	KEY_UNDO,
	KEY_PLC,
};

struct options {
	const struct command *command;
	const char *socket;
	char **words; /* behind the command */
	size_t word_count;
	const char *output; /* NULL: stdout */
	bool http, refused, json, watch, now, undo;
	const char *config;   /* of doctor */
	bool plcs;            /* doctor: PLCs are asked, too ... */
	const char *plc;      /* ... this one alone; NULL: all */
	unsigned int timeout; /* seconds; 0: none */
	clock_us interval;    /* of --watch */
};

/* Ends the program, with a message or --help, unless *options is what one of `commands` takes. */
void options_parse(struct options *options, const struct command *commands, size_t count, int argc,
		   char **argv);

#endif
