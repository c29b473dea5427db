/* SPDX-License-Identifier: Apache-2.0 */
/* Every file and folder that a configuration names and the daemon opens, along the option tables.
 */
#ifndef MCSEAL_CONFIG_CONFIG_FILES_H
#define MCSEAL_CONFIG_CONFIG_FILES_H

#include "config/config.h"

enum config_use {
	CONFIG_USE_READ,   /* certificates, keys, passwords */
	CONFIG_USE_WRITE,  /* is appended to, and made anew when it is gone */
	CONFIG_USE_SOCKET, /* is made and removed */
	CONFIG_USE_FOLDER, /* confine_folders: a folder, for whatever */
};

/*
 * Calls `visit` for each absolute path, in the order of the tables, until it returns other than 0;
 * returns that. The configuration's own file is not among them.
 */
int config_each_file(const struct config *config,
		     int (*visit)(void *context, enum config_use use, const char *path),
		     void *context);

#endif
