/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

#include "base/error.h"
#include "doctor/program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RULES_PROGRAM "mcseal-nft"
#define REFUSED       2 /* its exit status for faults and missing rights */
#define GUARD_TABLE   "table inet mcseal_guard"

/* Runs `mcseal-nft -c FILE COMMAND`. False: it has said why not. */
static bool ask(struct examination *examination, const char *command, struct program_result *result)
{
	const char *const arguments[] = {RULES_PROGRAM, "-c", examination->request->path, command,
					 NULL};
	char path[PROGRAM_PATH_SIZE];
	int error;

	program_find(RULES_PROGRAM, path);
	error = program_run(path, arguments, examination->deadline, result);
	if (error == -ENOENT)
		examination_say(examination, FINDING_FAILED, NULL,
				"install it beside mcseal, or where PATH finds it",
				RULES_PROGRAM " is not installed: whether plain MC is kept from "
					      "leaving this machine is not known");
	else if (error < 0)
		examination_say(examination, FINDING_FAILED, NULL, NULL, "%s %s: %s", RULES_PROGRAM,
				command,
				error == -ETIMEDOUT ? "no answer in time"
						    : strerrordesc_np(-error));
	return error == 0;
}

static void strip(const struct program_result *result)
{
	for (size_t i = 0; i < result->size; i++)
		if (result->output[i] == '\n')
			result->output[i] = i + 1 < result->size ? ';' : '\0';
}

/* Lines that begin with `sign`; the first of them, too. */
static size_t count(const struct program_result *result, char sign)
{
	size_t lines = 0;

	for (const char *at = result->output; at != NULL && *at != '\0';) {
		lines += *at == sign;
		at = strchr(at, '\n');
		at = at != NULL ? at + 1 : NULL;
	}
	return lines;
}

static void tell_difference(struct examination *examination, const struct program_result *diff)
{
	size_t missing = count(diff, '+'), foreign = count(diff, '-');
	char cure[FINDING_CURE_SIZE];

	if (diff->status == REFUSED) {
		bool forbidden = strstr(diff->output, "CAP_NET_ADMIN") != NULL;

		strip(diff);
		examination_say(examination, forbidden ? FINDING_NOT_ASKED : FINDING_FAILED, NULL,
				forbidden ? "as root: mcseal doctor" : NULL, "%s", diff->output);
		return;
	}
	snprintf(cure, sizeof(cure), "mcseal-nft%s diff; mcseal-nft%s apply --confirm 60",
		 examination->option, examination->option);
	if (strstr(diff->output, "+ " GUARD_TABLE) != NULL)
		examination_say(examination, FINDING_FAILED, "guard", cure,
				"is not loaded: plain MC may pass this machine");
	else
		examination_say(examination, FINDING_OK, "guard", NULL, "is loaded");
	if (missing + foreign > 0)
		examination_say(examination, FINDING_FAILED, "rules", cure,
				"are not those of the configuration: %zu rules, sets or elements "
				"missing, %zu too many",
				missing, foreign);
	else
		examination_say(examination, FINDING_OK, "rules", NULL,
				"are those of the configuration");
}

/* Each warning of `mcseal-nft check`. */
static void tell_fit(struct examination *examination, const struct program_result *check)
{
	char *rest = NULL, cure[FINDING_CURE_SIZE];
	bool said = false;

	for (char *line = strtok_r(check->output, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		bool is_warning = strncmp(line, "warning: ", 9) == 0;
		const char *guard = strstr(line, ": the guard does not come back at boot");

		if (!is_warning)
			continue;
		said = true;
		cure[0] = '\0';
		if (guard != NULL)
			snprintf(cure, sizeof(cure), "mcseal-nft%s print --guard > %s",
				 examination->option,
				 examination->config->nft.guard_file != NULL
					 ? examination->config->nft.guard_file
					 : "FILE");
		examination_say(examination, FINDING_WARNING, "machine", cure, "%s", line + 9);
	}
	if (!said && check->status == 0)
		examination_say(examination, FINDING_OK, "machine", NULL,
				"nothing else here is in the way of the rules");
}

void examine_rules(struct examination *examination)
{
	struct program_result diff, check = {.output = NULL};

	if (ask(examination, "diff", &diff)) {
		tell_difference(examination, &diff);
		if (diff.status != REFUSED && ask(examination, "check", &check))
			tell_fit(examination, &check);
	}
	free(diff.output);
	free(check.output);
}
