/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The characters of a configuration file, before the parser sees them.
 *
 * libconfuse 3.3 counts the line of a comment twice, refuses a comment inside a list, puts
 * environment variables into values, and stays inside a string for the next file when one is
 * not closed. So comments are blanked here and what is not in our (smaller) language is refused:
 * see "Syntax" in docs/mcseald.conf.md.
 */
#ifndef MCSEAL_CONFIG_CONFIG_TEXT_H
#define MCSEAL_CONFIG_CONFIG_TEXT_H

#include "config/config_report.h"

#include <stddef.h>

/*
 * Lines of the opening braces of sections, in the order of their closing braces: libconfuse
 * forgets the first line of a section and tells when one has ended.
 */
struct config_text_sections {
	int *lines; /* freed by the caller */
	size_t count;
};

/*
 * Blanks the comments of `text` in place; lines keep their numbers. 0, -EINVAL (reported) or
 * -ENOMEM.
 */
int config_text_clean(char *text, struct config_report *report,
		      struct config_text_sections *sections);

#endif
