/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/check.h"

#include "ctl/output.h"
#include "doctor/program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAEMON "mcseald"

int check_run(const struct options *options)
{
	char path[PROGRAM_PATH_SIZE];
	char program[] = DAEMON, option[] = "--check", end_of_options[] = "--";
	char *file = options->word_count > 0 ? options->words[0] : NULL;
	char *const arguments[] = {program, option, end_of_options, file, NULL};

	program_find(DAEMON, path);
	execvp(path, arguments);
	return output_fail(path, errno == ENOENT ? "is neither beside this program nor in PATH: is "
						   "it installed?"
						 : strerrordesc_np(errno));
}
