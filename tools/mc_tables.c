/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mc_tables: prints the tables of daemon/mc - commands, devices, end codes.
 *
 *     mc_tables lua         the module that the Wireshark dissector beside it (tools/wireshark)
 *                           reads: a frame is called there what mcseal's journal calls it
 *     mc_tables markdown    docs/mc.md, for those who write policies
 *
 * The look-ups of daemon/mc are asked for every number there is; nothing is listed here.
 */
#include "mc/mc_command.h"
#include "mc/mc_device.h"

#include <stdio.h>
#include <string.h>

/* Command codes and end codes are 16 bits wide. */
#define NUMBERS 0x10000u

static const char *const KINDS[] = {
	[MC_DEVICE_BIT] = "bit",
	[MC_DEVICE_WORD] = "word",
	[MC_DEVICE_DWORD] = "dword",
};

/* The families that have tables of their own; 4E has those of 3E. */
static const enum mc_family FAMILIES[] = {MC_FAMILY_3E, MC_FAMILY_1E};

static const char *family_key(enum mc_family family)
{
	return family == MC_FAMILY_1E ? "1E" : "3E";
}

static void print_commands(enum mc_family family)
{
	printf("\t[\"%s\"] = {\n", family_key(family));
	for (unsigned int code = 0; code < NUMBERS; code++) {
		const struct mc_command *command = mc_command_find(family, (uint16_t)code);

		if (command != NULL)
			printf("\t\t[0x%04X] = { name = \"%s\", class = \"%s\" },\n", code,
			       command->name, mc_command_class_name(command->class));
	}
	printf("\t},\n");
}

/* Runs of codes with one name; what has no name is left out. */
static void print_end_codes(enum mc_family family)
{
	/* FFFF stands in no manual: its name is that of all unknown codes. */
	const char *unknown = mc_command_end_code_name(family, NUMBERS - 1);
	unsigned int first = 0;

	printf("\t[\"%s\"] = {\n", family_key(family));
	for (unsigned int code = 1; code < NUMBERS; code++) {
		const char *name = mc_command_end_code_name(family, (uint16_t)first);

		if (strcmp(name, mc_command_end_code_name(family, (uint16_t)code)) == 0)
			continue;
		if (strcmp(name, unknown) != 0)
			printf("\t\t{ first = 0x%04X, last = 0x%04X, name = \"%s\" },\n", first,
			       code - 1, name);
		first = code;
	}
	printf("\t},\n");
}

static void print_device(const struct mc_device *device)
{
	printf("\t{ name = \"%s\", kind = \"%s\", base = %u, base_short = %u,\n", device->name,
	       KINDS[device->kind], device->base, device->base_short);
	printf("\t  code = 0x%02X, code_long = 0x%04X, ascii = \"%s\", ascii_long = \"%s\",\n",
	       device->code, device->code_long, device->ascii, device->ascii_long);
	printf("\t  code_1e = 0x%04X, timer_contact = %s, extended_only = %s },\n", device->code_1e,
	       device->timer_contact ? "true" : "false", device->extended_only ? "true" : "false");
}

static void print_lua(void)
{
	printf("-- SPDX-License-Identifier: Apache-2.0\n"
	       "-- Made by tools/mc_tables.c from the tables of daemon/mc: change "
	       "those.\n"
	       "local tables = {}\n"
	       "\n-- By family (4E has those of 3E) and code.\ntables.commands = {\n");
	for (size_t i = 0; i < sizeof(FAMILIES) / sizeof(FAMILIES[0]); i++)
		print_commands(FAMILIES[i]);
	printf("}\n\n-- End codes (3E, 4E) and complete codes (1E), by rising code.\n"
	       "tables.end_codes = {\n");
	for (size_t i = 0; i < sizeof(FAMILIES) / sizeof(FAMILIES[0]); i++)
		print_end_codes(FAMILIES[i]);
	printf("}\n\n-- Codes of 0 and \"\": the device has none in that form.\n"
	       "tables.devices = {\n");
	for (size_t i = 0; mc_device_at(i) != NULL; i++)
		print_device(mc_device_at(i));
	printf("}\n\nreturn tables\n");
}

/* --- for people ----------------------------------------------------------------------------- */

static void print_command_rows(enum mc_family family, int digits)
{
	for (unsigned int code = 0; code < NUMBERS; code++) {
		const struct mc_command *command = mc_command_find(family, (uint16_t)code);

		if (command == NULL)
			continue;
		printf("| `%0*X` | %s | `%s` |\n", digits, code, command->name,
		       mc_command_class_name(command->class));
	}
}

static void print_device_row(const struct mc_device *device)
{
	printf("| `%s` | %s | %s | ", device->name, KINDS[device->kind],
	       device->base == 16 ? "hexadecimal" : "decimal");
	if (device->code != 0)
		printf("`%02X` `%s` | ", device->code, device->ascii);
	else
		printf("- | ");
	printf("`%04X` `%s` | ", device->code_long, device->ascii_long);
	if (device->code_1e != 0)
		printf("`%04X` |\n", device->code_1e);
	else
		printf("- |\n");
}

static void print_markdown(void)
{
	printf("# Commands and devices\n\n"
	       "What a policy can name, and what the log calls it. This page is made from the "
	       "tables that the gateway itself decides by (`make tables`).\n\n"
	       "## Commands of 3E and 4E frames\n\n| command | name | class |\n|---|---|---|\n");
	print_command_rows(MC_FAMILY_3E, 4);
	printf("\n## Commands of 1E frames\n\n| command | name | class |\n|---|---|---|\n");
	print_command_rows(MC_FAMILY_1E, 2);
	printf("\n`other` are commands that are known and of no class that a policy can allow as a "
	       "whole; they can be named in `commands`, like those that are not known at all.\n\n"
	       "## Devices\n\nThe codes are those of binary and ASCII frames.\n\n"
	       "| device | points | numbered | 3E, 4E | iQ-R subcommands | 1E |\n"
	       "|---|---|---|---|---|---|\n");
	for (size_t i = 0; mc_device_at(i) != NULL; i++)
		print_device_row(mc_device_at(i));
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "lua") == 0) {
		print_lua();
	} else if (argc == 2 && strcmp(argv[1], "markdown") == 0) {
		print_markdown();
	} else {
		fprintf(stderr, "usage: mc_tables lua|markdown\n");
		return 2;
	}
	return fflush(stdout) != 0 || ferror(stdout) ? 1 : 0;
}
