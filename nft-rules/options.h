/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of mcseal-nft. */
#ifndef MCSEAL_NFT_OPTIONS_H
#define MCSEAL_NFT_OPTIONS_H

#include <stdbool.h>

#define EXIT_DIFFERENT 1 /* diff: not the same; apply --confirm: taken back */
#define EXIT_ERROR     2 /* nothing was changed */

struct options {
	const char *command;
	const char *config; /* path */
	bool json;
	bool guard;     /* print, remove */
	bool admission; /* print */
	bool observe;   /* print, apply */
	bool restore;   /* watch */
	int confirm;    /* apply: seconds; 0 = at once */
};

/* Exits by itself on --help, --version and mistakes (EXIT_ERROR). */
void options_parse(int argc, char **argv, struct options *options);

#endif
