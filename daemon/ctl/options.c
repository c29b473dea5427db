/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/options.h"

#include "base/error.h"
#include "config/config.h"

#include <argp.h>
#include <errno.h>
#include <string.h>

#define CONFIG_PATH      "/etc/mcseal/mcseald.conf"
#define INTERVAL_DEFAULT (2 * CLOCK_SEC)
#define INTERVAL_MIN     0.1 /* seconds */
#define INTERVAL_MAX     86400.0

const char *argp_program_version = "mcseal " MCSEAL_VERSION;

static const struct argp_option rows[] = {
	{"socket", KEY_SOCKET, "PATH", 0, "the daemon's control_socket (" CONFIG_CONTROL_SOCKET ")",
	 0},
	{"json", KEY_JSON, NULL, 0,
	 "status, sessions, reload, close, drain, log-level, check, doctor: for programs", 1},
	{"watch", KEY_WATCH, NULL, 0,
	 "sessions: again and again, every SECONDS (2) that stand behind the command", 1},
	{"now", KEY_NOW, NULL, 0, "close: in the middle of a request, if need be", 1},
	{"timeout", KEY_TIMEOUT, "SECONDS", 0, "drain: then tell the sessions that are left to end",
	 1},
	{"undo", KEY_UNDO, NULL, 0, "drain: take connections again", 1},
	{"output", KEY_OUTPUT, "FILE", 0, "metrics: into FILE, which always is a whole one", 1},
	{"http", KEY_HTTP, NULL, 0,
	 "metrics: answer an HTTP request on stdin, for a socket unit of systemd", 1},
	{"config", KEY_CONFIG, "FILE", 0, "doctor: the configuration (" CONFIG_PATH ")", 1},
	{"plc", KEY_PLC, "NAME", OPTION_ARG_OPTIONAL,
	 "doctor: one read of each PLC, or of that one; it takes a connection of the PLC", 1},
	{"refused", KEY_REFUSED, NULL, 0, "learn: allow what was refused, too", 1},
	{0},
};

/* What the parser fills, and by what it judges. */
struct parse {
	struct options *options;
	const struct command *commands;
	size_t count;
	const char *given[OPTIONS_OF_COMMAND + 1]; /* options of single commands */
	int given_keys[OPTIONS_OF_COMMAND + 1];
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

static bool takes_option(const struct command *command, int key)
{
	for (size_t i = 0; i < OPTIONS_OF_COMMAND; i++)
		if (command->keys[i] == key)
			return true;
	return false;
}

/* The word behind `sessions --watch`. */
static void take_interval(struct options *options, struct argp_state *state)
{
	char *end;
	double seconds = strtod(options->words[0], &end);

	if (end == options->words[0] || *end != '\0' ||
	    !(seconds >= INTERVAL_MIN && seconds <= INTERVAL_MAX))
		argp_error(state, "'%s' is not a number of seconds from %g to %g",
			   options->words[0], INTERVAL_MIN, INTERVAL_MAX);
	options->interval = (clock_us)(seconds * (double)CLOCK_SEC);
}

static void check_words(struct options *options, struct argp_state *state)
{
	const struct command *command = options->command;
	bool paced = takes_option(command, KEY_WATCH);
	size_t most = paced && !options->watch ? 0 : command->words_max;

	/* "drain $NAME" without a NAME is not "drain": everything. */
	for (size_t i = 0; i < options->word_count; i++)
		if (*options->words[i] == '\0')
			argp_error(state, "%s: an empty word", command->name);
	if (options->word_count == 0 && command->word != NULL)
		argp_error(state, "%s: %s is missing", command->name, command->word);
	if (options->word_count > most)
		argp_error(state, "'%s' is one word too many", options->words[most]);
	if (paced && options->word_count > 0)
		take_interval(options, state);
}

static void check(const struct parse *parse, struct argp_state *state)
{
	struct options *options = parse->options;
	const struct command *command = options->command;

	for (size_t i = 0; i < parse->given_count; i++)
		if (!takes_option(command, parse->given_keys[i]))
			argp_error(state, "--%s does not go with %s", parse->given[i],
				   command->name);
	check_words(options, state);
	if (options->http && options->output != NULL)
		argp_error(state, "--http and --output do not go together");
	if (options->undo && options->timeout > 0)
		argp_error(state, "--undo and --timeout do not go together");
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

static void take_timeout(struct options *options, const char *text, struct argp_state *state)
{
	unsigned long seconds;
	char *end;

	errno = 0;
	seconds = strtoul(text, &end, 10);
	if (*text < '1' || *text > '9' || *end != '\0' || errno != 0 || seconds > 604800)
		argp_error(state, "--timeout: '%s' is not a number of seconds from 1 to 604800",
			   text);
	options->timeout = (unsigned int)seconds;
}

static error_t take(int key, char *text, struct argp_state *state)
{
	struct parse *parse = state->input;
	struct options *options = parse->options;

	for (const struct argp_option *row = rows; row->name != NULL; row++)
		if (row->key == key && key != KEY_SOCKET)
			note(parse, key, row->name);
	switch (key) {
	case KEY_SOCKET:
		options->socket = text;
		return 0;
	case KEY_OUTPUT:
		options->output = text;
		return 0;
	case KEY_HTTP:
		options->http = true;
		return 0;
	case KEY_JSON:
		options->json = true;
		return 0;
	case KEY_WATCH:
		options->watch = true;
		return 0;
	case KEY_NOW:
		options->now = true;
		return 0;
	case KEY_TIMEOUT:
		take_timeout(options, text, state);
		return 0;
	case KEY_UNDO:
		options->undo = true;
		return 0;
	case KEY_CONFIG:
		options->config = text;
		return 0;
	case KEY_PLC:
		options->plcs = true;
		options->plc = text;
		return 0;
	case KEY_REFUSED:
		options->refused = true;
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
		       "  status              what it can, whom it serves, which PLCs\n"
		       "  sessions            who is connected to what, and how\n"
		       "  metrics             what it has counted, in Prometheus' text format\n"
		       "  reload              reads its configuration again; says what is wrong "
		       "with it\n"
		       "  drain [LISTENER]    takes no connections there, or nowhere; an edge's or "
		       "a\n"
		       "                      gateway's name\n"
		       "  close SESSION       ends one session between two requests, by its "
		       "number\n"
		       "  log-level [LEVEL]   what is logged until its next start: error, "
		       "warning,\n"
		       "                      info, debug\n"
		       "  check [FILE]        says everything that is wrong with a configuration\n"
		       "  doctor              looks at the whole way to the PLC, and says what to "
		       "do\n"
		       "  learn [FILE...]     policies that would allow what the audit lines of "
		       "FILEs,\n"
		       "                      or of stdin, tell: journalctl -u mcseald | mcseal "
		       "learn\n"
		       "\n"
		       "Exit status: 0 done; 1 not, and stderr says why; 2 wrong usage. See "
		       "docs/mcseal.md.",
	};
	struct parse parse = {.options = options, .commands = commands, .count = count};

	*options = (struct options){.socket = CONFIG_CONTROL_SOCKET,
				    .config = CONFIG_PATH,
				    .interval = INTERVAL_DEFAULT};
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &parse);
}
