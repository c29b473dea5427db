/* SPDX-License-Identifier: Apache-2.0 */
/* What a name that is not known was meant to be. */
#ifndef MCSEAL_CONFIG_CONFIG_GUESS_H
#define MCSEAL_CONFIG_CONFIG_GUESS_H

#include "config/config_option.h"

/* The option or section of `section` whose name is nearly `name`; NULL: none is close. */
const char *config_guess_name(const struct config_section *section, const char *name);
/* The name of the section, anywhere in the file, that has an option or section `name`, or NULL. */
const char *config_guess_owner(const char *name);

#endif
