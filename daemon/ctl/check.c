/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/check.h"

#include "base/error.h"
#include "ctl/output.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define DAEMON "mcseald"

/* Where it may be, seen from our own folder: the build's, and bin beside sbin. */
static const char *const PLACES[] = {"/" DAEMON, "/../sbin/" DAEMON};

/* Of this program, without a slash at the end. 0 or -errno. */
static int own_folder(char *folder, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", folder, size - 1);
	char *slash;

	if (length < 0)
		return -errno;
	folder[length] = '\0';
	slash = strrchr(folder, '/');
	if (slash == NULL)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

int check_run(const struct options *options)
{
	char folder[PATH_MAX], path[PATH_MAX + 32];
	char program[] = DAEMON, option[] = "--check", end_of_options[] = "--";
	char *file = options->word_count > 0 ? options->words[0] : NULL;
	char *const arguments[] = {program, option, end_of_options, file, NULL};

	for (size_t i = 0; i < ARRAY_SIZE(PLACES) && own_folder(folder, sizeof(folder)) == 0; i++) {
		snprintf(path, sizeof(path), "%s%s", folder, PLACES[i]);
		execv(path, arguments);
		if (errno != ENOENT)
			return output_fail(path, strerrordesc_np(errno));
	}
	/* Installed elsewhere (SBINDIR). */
	execvp(program, arguments);
	return output_fail(DAEMON, errno == ENOENT ? "is neither beside this program nor in PATH: "
						     "is it installed?"
						   : strerrordesc_np(errno));
}
