/* SPDX-License-Identifier: Apache-2.0 */
/* Another program, run to its end and listened to. */
#ifndef MCSEAL_DOCTOR_PROGRAM_H
#define MCSEAL_DOCTOR_PROGRAM_H

#include "base/clock.h"

#include <limits.h>
#include <stddef.h>

#define PROGRAM_PATH_SIZE (PATH_MAX + 32)

struct program_result {
	int status;   /* of its exit; 128 + N after signal N */
	char *output; /* stdout and stderr, NUL-terminated; to be freed */
	size_t size;
};

/*
 * The program of that name that is installed with this one: beside it, in the build's folder, or
 * in sbin beside bin; else the name alone, for PATH. `path` has PROGRAM_PATH_SIZE bytes.
 */
void program_find(const char *name, char *path);
/*
 * Runs it with `arguments` (NULL-terminated, [0] its name) and nothing on stdin. 0 with *result;
 * -ETIMEDOUT: killed at the deadline; -ENOENT and other -errno: not started. Blocks until then.
 */
int program_run(const char *path, const char *const arguments[], clock_us deadline,
		struct program_result *result);

#endif
