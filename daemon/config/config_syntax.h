/* SPDX-License-Identifier: Apache-2.0 */
/* Statements: what of a file's text can be understood, written anew for the parser. */
#ifndef MCSEAL_CONFIG_CONFIG_SYNTAX_H
#define MCSEAL_CONFIG_CONFIG_SYNTAX_H

#include "config/config_report.h"

#include <stdbool.h>

/* Stands for a value or a title that was refused and reported. No text of a file holds it. */
#define CONFIG_SYNTAX_REFUSED "\001"

struct config_syntax {
	char *text; /* freed by the caller */
	bool cut;   /* some of the file was not read (reported): it cannot be judged as a whole */
};

/*
 * Reports every fault in the syntax of `text` and every name that config_option.c does not know,
 * and writes what is left, each token in its line of the file, in plain forms only:
 *
 *   OPTION += { "VALUE", ... }
 *   SECTION "NUMBER LINE TITLE" { ... }
 *
 * Once for each time an option is set; NUMBER makes each title unique and LINE is the section's
 * first. 0 or -ENOMEM.
 */
int config_syntax_read(const char *text, struct config_report *report,
		       struct config_syntax *syntax);

#endif
