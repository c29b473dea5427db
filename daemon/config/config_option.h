/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option tables: every section and option of the file once, with its type, default, range
 * and place in struct config. Reading, printing, freeing and the test of the documentation all
 * walk these tables; a new option is one new row (and a paragraph in docs/mcseald.conf.md).
 */
#ifndef MCSEAL_CONFIG_CONFIG_OPTION_H
#define MCSEAL_CONFIG_CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_type;

/* A value written as one of a few words. */
struct config_word {
	const char *text; /* NULL ends the list */
	int value;
};

/*
 * How lists of any type look in the structs: a pointer to the items and, right behind, their
 * number. The tables reach them through this one view, hence may_alias.
 */
struct config_list {
	char *items;
	size_t count;
} __attribute__((may_alias));

struct config_option {
	const char *name;
	const struct config_type *type; /* config_value.h */
	const char *fallback;           /* the default as in the file; NULL: none */
	size_t offset;                  /* of the value in the section's struct */
	size_t line_offset;             /* of an int that takes its line; 0: nowhere */
	bool list;                      /* several values: a config_list stands at offset */
	bool required;
	int64_t minimum, maximum; /* of numbers, in the unit of the struct */
	const struct config_word *words;
};

struct config_section {
	const char *name;
	/*
	 * With a title there may be many: a config_list of its structs stands at `offset` of the
	 * parent's struct. Without, there is one, and its struct itself stands there.
	 */
	const struct config_type *title;
	size_t offset;
	size_t size; /* of its struct */
	size_t title_offset;
	size_t line_offset;
	const struct config_option *options;
	size_t option_count;
	const struct config_section *sections;
	size_t section_count;
};

/* The file itself; its struct is struct config. */
extern const struct config_section config_root;

#endif
