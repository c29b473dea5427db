/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The characters of a configuration file to tokens, comments left out: the first step of reading
 * it, see "Syntax" in docs/mcseald.conf.md.
 */
#ifndef MCSEAL_CONFIG_CONFIG_TEXT_H
#define MCSEAL_CONFIG_CONFIG_TEXT_H

#include "config/config_report.h"

#include <stdbool.h>
#include <stddef.h>

/* Any other kind of token is its one character: = , { or } */
#define CONFIG_TOKEN_END    '\0'
#define CONFIG_TOKEN_WORD   'w' /* a name or an unquoted value */
#define CONFIG_TOKEN_STRING 's'
#define CONFIG_TOKEN_FAULT  'f' /* refused, and said so: stands where a value was meant */

struct config_token {
	const char *text; /* in the file's text; of a string what stands between the quotes */
	int length;
	int line;
	int block; /* of {: how many tokens later its } comes; 0: never */
	char kind;
};

struct config_tokens {
	struct config_token *items; /* CONFIG_TOKEN_END comes last; freed by the caller */
	size_t count;
	bool cut; /* the rest of the file was not read (reported) */
};

/* Faults are reported and stepped over. 0 or -ENOMEM. `tokens` is zeroed before. */
int config_text_read(const char *text, struct config_report *report, struct config_tokens *tokens);

#endif
