/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of mcseal. */
#ifndef MCSEAL_CTL_OPTIONS_H
#define MCSEAL_CTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* said on stderr */
	EXIT_USAGE = 2,
};

struct options;

struct command {
	const char *name;
	int (*run)(const struct options *options); /* an exit status */
	bool takes_words;
	int keys[2]; /* the options that go with it; 0: none */
};

enum option_key {
	KEY_SOCKET = 's',
	KEY_OUTPUT = 'o',
	KEY_HTTP = 256,
	KEY_REFUSED,
	KEY_JSON,
};

struct options {
	const struct command *command;
	const char *socket;
	char **words; /* behind the command */
	size_t word_count;
	const char *output; /* NULL: stdout */
	bool http, refused, json;
};

/* Ends the program, with a message or --help, unless *options is what one of `commands` takes. */
void options_parse(struct options *options, const struct command *commands, size_t count, int argc,
		   char **argv);

#endif
