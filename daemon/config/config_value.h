/* SPDX-License-Identifier: Apache-2.0 */
/* How one value of the file is read, printed and freed: a type per kind of value. */
#ifndef MCSEAL_CONFIG_CONFIG_VALUE_H
#define MCSEAL_CONFIG_CONFIG_VALUE_H

#include "config/config_option.h"
#include "config/config_report.h"

#include <stdbool.h>
#include <stdio.h>

/* Where a value stands, for messages. */
struct config_place {
	struct config_report *report;
	const struct config_option *option; /* a title has one with the section's name */
	int line;
};

struct config_type {
	const char *expected; /* as in "..., expected <this>" */
	size_t size;          /* of the value in the struct */
	/*
	 * Writes *value and returns 0; or -EINVAL (the caller reports `expected`), -ERANGE (the
	 * caller reports the range), -ENOMEM, or 1 when it has reported the fault itself.
	 */
	int (*read)(const struct config_place *place, const char *text, void *value);
	void (*print)(const struct config_option *option, const void *value, FILE *file);
	void (*release)(void *value);       /* NULL: nothing to free */
	bool (*present)(const void *value); /* NULL: always */
};

extern const struct config_type config_type_string;
extern const struct config_type config_type_name;
extern const struct config_type config_type_number; /* unsigned int */
extern const struct config_type config_type_port;   /* uint16_t */
extern const struct config_type config_type_mark;   /* uint32_t */
extern const struct config_type config_type_seconds;
extern const struct config_type config_type_whole_seconds;
extern const struct config_type config_type_flag; /* bool */
extern const struct config_type config_type_word; /* an enum, by the option's words */
extern const struct config_type config_type_role; /* bool, by the option's words */
extern const struct config_type config_type_address;
extern const struct config_type config_type_host;
extern const struct config_type config_type_prefix;
extern const struct config_type config_type_destination;
extern const struct config_type config_type_user;
extern const struct config_type config_type_cgroup;
extern const struct config_type config_type_interface;
extern const struct config_type config_type_path;   /* absolute; the file is not looked at */
extern const struct config_type config_type_socket; /* absolute, or "" for none */
extern const struct config_type config_type_match;
/* What policies are made of, see config_policy.c. */
extern const struct config_type config_type_command;
extern const struct config_type config_type_points;
extern const struct config_type config_type_access_route;
extern const struct config_type config_type_policy_choice;
/* Paths: the file is looked at, see config_file.c. */
extern const struct config_type config_type_certificate;
extern const struct config_type config_type_key;
extern const struct config_type config_type_ca;
extern const struct config_type config_type_crl;
extern const struct config_type config_type_folder;
extern const struct config_type config_type_log;    /* is written; need not be there yet */
extern const struct config_type config_type_secret; /* one line of text, as private as a key */

/* Reads `text` into *value and reports what is wrong. 0, 1 (reported) or -ENOMEM. */
int config_value_read(const struct config_place *place, const char *text, void *value);

/* Room for `count` zeroed items of `size` bytes each; the list's count stays 0. 0 or -ENOMEM. */
int config_list_allocate(struct config_list *list, size_t count, size_t size);

/* A quoted string of the file. */
void config_value_print_string(const char *text, FILE *file);

/* char * values, shared by the types that are one. */
int config_value_copy(const char *text, void *value);
void config_value_print_text(const struct config_option *option, const void *value, FILE *file);
void config_value_free_text(void *value);
bool config_value_has_text(const void *value);

#endif
