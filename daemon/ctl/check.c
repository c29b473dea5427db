/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/check.h"

#include "base/clock.h"
#include "base/error.h"
#include "ctl/findings.h"
#include "ctl/output.h"
#include "doctor/program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAEMON       "mcseald"
#define TIME_ALLOWED (120 * CLOCK_SEC) /* a token may be slow */

/* Its words for people, as findings. */
static int run_for_programs(const char *path, const char *const arguments[])
{
	struct program_result result;
	int error = program_run(path, arguments, clock_now() + TIME_ALLOWED, &result), status;

	if (error < 0)
		status = output_fail(path, strerrordesc_np(-error));
	else if (findings_print(result.output, result.status == 0, stdout) < 0)
		status = output_fail("check", "out of memory");
	else
		status = output_end();
	free(result.output);
	return status == EXIT_DONE && result.status != 0 ? EXIT_FAILED : status;
}

int check_run(const struct options *options)
{
	char path[PROGRAM_PATH_SIZE];
	char program[] = DAEMON, option[] = "--check", end_of_options[] = "--";
	char *file = options->word_count > 0 ? options->words[0] : NULL;
	char *arguments[] = {program, option, end_of_options, file, NULL};

	program_find(DAEMON, path);
	if (options->json)
		return run_for_programs(path, (const char *const *)arguments);
	execvp(path, arguments);
	return output_fail(path, errno == ENOENT ? "is neither beside this program nor in PATH: is "
						   "it installed?"
						 : strerrordesc_np(errno));
}
