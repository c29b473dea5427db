/* SPDX-License-Identifier: Apache-2.0 */
/* The file's text to struct config, option by option: the only user of libconfuse. */
#ifndef MCSEAL_CONFIG_CONFIG_PARSE_H
#define MCSEAL_CONFIG_CONFIG_PARSE_H

#include "config/config.h"
#include "config/config_report.h"

/*
 * Fills *config (zeroed before) from `text`. Faults go to `report`: 0 also when there were some,
 * and then values are missing. -EINVAL: some of the file could not be read (reported), the rest
 * was filled; it cannot be judged as a whole. -ENOMEM. Not reentrant: libconfuse's scanner has
 * global state.
 */
int config_parse(const char *text, struct config_report *report, struct config *config);

#endif
