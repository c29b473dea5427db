/* SPDX-License-Identifier: Apache-2.0 */
/* A password from where it cannot be seen: never from the command line. The caller wipes it. */
#ifndef MCPING_PASSWORD_H
#define MCPING_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

/* iQ-R passwords have up to 32 characters (MELSEC Communication Protocol Reference Manual). */
#define PASSWORD_SIZE 256

/* The file's first line without its end. False: errno says why (ENODATA: the line is empty). */
bool password_from_file(const char *path, char password[PASSWORD_SIZE]);
/*
 * The file if one is named, else $MCPING_PASSWORD, else asked at the terminal. False: errno says
 * why (ENOTTY: nothing of the three).
 */
bool password_get(const char *path, char password[PASSWORD_SIZE]);

#endif
