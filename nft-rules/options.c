/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options.h"

#include "base/error.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *argp_program_version = "mcseal-nft " MCSEAL_VERSION;

enum {
	KEY_GUARD = 256,
	KEY_ADMISSION,
	KEY_OBSERVE,
	KEY_RESTORE,
	KEY_CONFIRM,
};

static const struct argp_option rows[] = {
	{"config", 'c', "FILE", 0, "mcseald's configuration (/etc/mcseal/mcseald.conf)", 0},
	{"json", 'j', NULL, 0, "Answer in JSON", 0},
	{"guard", KEY_GUARD, NULL, 0,
	 "print: only the guard, for the boot configuration; remove: the guard, too", 1},
	{"admission", KEY_ADMISSION, NULL, 0,
	 "print: what other firewalls of this machine must let in", 1},
	{"observe", KEY_OBSERVE, NULL, 0,
	 "print, apply: count and log what would be blocked or redirected, change nothing", 1},
	{"confirm", KEY_CONFIRM, "SECONDS", 0, "apply: take it back unless it is confirmed in time",
	 1},
	{"restore", KEY_RESTORE, NULL, 0, "watch: put the rules back when somebody changes them",
	 1},
	{0},
};

/* Which option goes with which command. */
static const struct {
	const char *name;
	int keys[2];
} commands[] = {
	{"print", {KEY_GUARD, KEY_OBSERVE}},
	{"print", {KEY_ADMISSION, 0}},
	{"check", {0, 0}},
	{"diff", {KEY_OBSERVE, 0}},
	{"apply", {KEY_OBSERVE, KEY_CONFIRM}},
	{"confirm", {0, 0}},
	{"remove", {KEY_GUARD, 0}},
	{"watch", {KEY_RESTORE, 0}},
};

static const struct {
	int key;
	const char *name;
} names[] = {
	{KEY_GUARD, "--guard"},     {KEY_ADMISSION, "--admission"}, {KEY_OBSERVE, "--observe"},
	{KEY_RESTORE, "--restore"}, {KEY_CONFIRM, "--confirm"},
};

static bool fits(const char *command, int key)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, command) == 0 &&
		    (key == 0 || commands[i].keys[0] == key || commands[i].keys[1] == key))
			return true;
	}
	return false;
}

static bool is_given(const struct options *options, int key)
{
	switch (key) {
	case KEY_GUARD:
		return options->guard;
	case KEY_ADMISSION:
		return options->admission;
	case KEY_OBSERVE:
		return options->observe;
	case KEY_RESTORE:
		return options->restore;
	default:
		return options->confirm != 0;
	}
}

static void check_command(const struct options *options, struct argp_state *state)
{
	if (options->command == NULL)
		argp_error(state, "a command is missing: print, check, diff, apply, confirm, "
				  "remove or watch");
	else if (!fits(options->command, 0))
		argp_error(state,
			   "there is no command \"%s\", expected print, check, diff, apply, "
			   "confirm, remove or watch",
			   options->command);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (is_given(options, names[i].key) && !fits(options->command, names[i].key))
			argp_error(state, "%s does not go with %s", names[i].name,
				   options->command);
	}
	if (options->admission && (options->guard || options->observe))
		argp_error(state, "--admission stands alone");
}

static int seconds(const char *text, struct argp_state *state)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value < 1 || value > 3600)
		argp_error(state, "--confirm: '%s' is not valid, expected 1 to 3600 seconds", text);
	return (int)value;
}

static error_t take(int key, char *text, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'c':
		options->config = text;
		break;
	case 'j':
		options->json = true;
		break;
	case KEY_GUARD:
		options->guard = true;
		break;
	case KEY_ADMISSION:
		options->admission = true;
		break;
	case KEY_OBSERVE:
		options->observe = true;
		break;
	case KEY_RESTORE:
		options->restore = true;
		break;
	case KEY_CONFIRM:
		options->confirm = seconds(text, state);
		break;
	case ARGP_KEY_ARG:
		if (options->command != NULL)
			argp_error(state, "'%s' is one word too many", text);
		options->command = text;
		break;
	case ARGP_KEY_END:
		check_command(options, state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

void options_parse(int argc, char **argv, struct options *options)
{
	static const struct argp argp = {
		.options = rows,
		.parser = take,
		.args_doc = "COMMAND",
		.doc = "The nftables rules that belong to mcseald's configuration.\v"
		       "  print    the rules as a commented file for nft -f\n"
		       "  check    would the kernel take them, and do they fit this machine?\n"
		       "  diff     what apply would change: + added, - removed\n"
		       "  apply    installs or updates them in one transaction\n"
		       "  confirm  keeps what an apply --confirm has installed\n"
		       "  remove   removes the redirect; the guard stays\n"
		       "  watch    tells who changes the rules, until it is stopped\n"
		       "\n"
		       "Exit status: 0 done, or nothing differs; 1 diff: something differs, apply: "
		       "taken back; 2 a mistake or a fault, nothing was changed. See docs/nft.md.",
	};

	*options = (struct options){.config = "/etc/mcseal/mcseald.conf"};
	argp_err_exit_status = EXIT_ERROR;
	argp_parse(&argp, argc, argv, 0, NULL, options);
}
