/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/options.h"

#include "base/error.h"
#include "config/config.h"

#include <argp.h>
#include <string.h>

const char *argp_program_version = "mcseal " MCSEAL_VERSION;

static const struct argp_option rows[] = {
	{"socket", KEY_SOCKET, "PATH", 0, "the daemon's control_socket (" CONFIG_CONTROL_SOCKET ")",
	 0},
	{"output", KEY_OUTPUT, "FILE", 0, "metrics: into FILE, which always is a whole one", 1},
	{"http", KEY_HTTP, NULL, 0,
	 "metrics: answer an HTTP request on stdin, for a socket unit of systemd", 1},
	{"json", KEY_JSON, NULL, 0, "status: for programs", 1},
	{"refused", KEY_REFUSED, NULL, 0, "learn: allow what was refused, too", 1},
	{0},
};

/* What the parser fills, and by what it judges. */
struct parse {
	struct options *options;
	const struct command *commands;
	size_t count;
	const char *given[2]; /* options of single commands */
	int given_keys[2];
	size_t given_count;
};

static const struct command *find(const struct parse *parse, const char *name)
{
	for (size_t i = 0; i < parse->count; i++) {
		if (strcmp(parse->commands[i].name, name) == 0)
			return &parse->commands[i];
	}
	return NULL;
}

static void refuse_command(const struct parse *parse, const char *name, struct argp_state *state)
{
	char known[256];
	size_t used = 0;

	for (size_t i = 0; i < parse->count && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					 i > 0 ? ", " : "", parse->commands[i].name);
	if (name == NULL)
		argp_error(state, "a command is missing: %s", known);
	else
		argp_error(state, "there is no command \"%s\", expected one of: %s", name, known);
}

static void check(const struct parse *parse, struct argp_state *state)
{
	const struct options *options = parse->options;
	const struct command *command = options->command;

	for (size_t i = 0; i < parse->given_count; i++)
		if (command->keys[0] != parse->given_keys[i] &&
		    command->keys[1] != parse->given_keys[i])
			argp_error(state, "--%s does not go with %s", parse->given[i],
				   command->name);
	if (options->word_count > 0 && !command->takes_words)
		argp_error(state, "'%s' is one word too many", options->words[0]);
	if (options->http && options->output != NULL)
		argp_error(state, "--http and --output do not go together");
}

static void take_words(struct parse *parse, struct argp_state *state)
{
	struct options *options = parse->options;
	char **words = state->argv + state->next;

	options->command = find(parse, words[0]);
	options->words = words + 1;
	options->word_count = (size_t)(state->argc - state->next) - 1;
	if (options->command != NULL)
		check(parse, state);
	else
		refuse_command(parse, words[0], state);
}

static void note(struct parse *parse, int key, const char *name)
{
	if (parse->given_count == ARRAY_SIZE(parse->given))
		return;
	parse->given[parse->given_count] = name;
	parse->given_keys[parse->given_count++] = key;
}

static error_t take(int key, char *text, struct argp_state *state)
{
	struct parse *parse = state->input;
	struct options *options = parse->options;

	switch (key) {
	case KEY_SOCKET:
		options->socket = text;
		return 0;
	case KEY_OUTPUT:
		options->output = text;
		note(parse, key, "output");
		return 0;
	case KEY_HTTP:
		options->http = true;
		note(parse, key, "http");
		return 0;
	case KEY_JSON:
		options->json = true;
		note(parse, key, "json");
		return 0;
	case KEY_REFUSED:
		options->refused = true;
		note(parse, key, "refused");
		return 0;
	case ARGP_KEY_ARGS:
		take_words(parse, state);
		return 0;
	case ARGP_KEY_NO_ARGS:
		refuse_command(parse, NULL, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void options_parse(struct options *options, const struct command *commands, size_t count, int argc,
		   char **argv)
{
	static const struct argp argp = {
		.options = rows,
		.parser = take,
		.args_doc = "COMMAND [WORD...]",
		.doc = "Asks a running mcseald, and works with what it wrote.\v"
		       "  metrics         what it has counted, in Prometheus' text format\n"
		       "  status          what it can, whom it serves, which PLCs\n"
		       "  reload          reads its configuration again; says what is wrong with "
		       "it\n"
		       "  learn [FILE...] policies that would allow what the audit lines of "
		       "FILEs,\n"
		       "                  or of stdin, tell: journalctl -u mcseald | mcseal learn\n"
		       "\n"
		       "Exit status: 0 done; 1 not, and stderr says why; 2 wrong usage. See "
		       "docs/mcseal.md.",
	};
	struct parse parse = {.options = options, .commands = commands, .count = count};

	*options = (struct options){.socket = CONFIG_CONTROL_SOCKET};
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &parse);
}
