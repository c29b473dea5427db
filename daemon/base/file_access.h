/* SPDX-License-Identifier: Apache-2.0 */
/* Why a file can not be opened, told so that somebody can do something about it. */
#ifndef MCSEAL_BASE_FILE_ACCESS_H
#define MCSEAL_BASE_FILE_ACCESS_H

#include <stdbool.h>

/* May this user write `path` (absolute), or make it where it is not there yet? 0 or -errno. */
int file_try_write(const char *path);
/*
 * The text of `error` (-errno of an open(2)); of -EACCES for a file whose modes would allow it,
 * that it is the confinement which does not, and what helps. Constant.
 */
const char *file_denial(const char *path, bool write, int error);

#endif
