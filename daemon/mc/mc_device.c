/* SPDX-License-Identifier: Apache-2.0 */
#include "mc/mc_device.h"
#include "base/error.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	DIGITS_SHORT = 6,
	DIGITS_LONG = 8,
	NAME_SHORT = 2,
	NAME_LONG = 4,
	NUMBER_SHORT_MAX = 0xffffff,
};

#define BIT   MC_DEVICE_BIT
#define WORD  MC_DEVICE_WORD
#define DWORD MC_DEVICE_DWORD

/* name, kind, base, base_short, code, code_long, ascii, ascii_long, code_1e, extended, contact */
static const struct mc_device DEVICES[] = {
	{"SM", BIT, 10, 10, 0x91, 0x0091, "SM", "SM**", 0, false, false},
	{"SD", WORD, 10, 10, 0xa9, 0x00a9, "SD", "SD**", 0, false, false},
	{"X", BIT, 16, 16, 0x9c, 0x009c, "X*", "X***", 0x5820, false, false},
	{"Y", BIT, 16, 16, 0x9d, 0x009d, "Y*", "Y***", 0x5920, false, false},
	{"M", BIT, 10, 10, 0x90, 0x0090, "M*", "M***", 0x4d20, false, false},
	{"L", BIT, 10, 10, 0x92, 0x0092, "L*", "L***", 0, false, false},
	{"F", BIT, 10, 10, 0x93, 0x0093, "F*", "F***", 0x4620, false, false},
	{"V", BIT, 10, 10, 0x94, 0x0094, "V*", "V***", 0, false, false},
	{"B", BIT, 16, 16, 0xa0, 0x00a0, "B*", "B***", 0x4220, false, false},
	{"D", WORD, 10, 10, 0xa8, 0x00a8, "D*", "D***", 0x4420, false, false},
	{"W", WORD, 16, 16, 0xb4, 0x00b4, "W*", "W***", 0x5720, false, false},
	{"TS", BIT, 10, 10, 0xc1, 0x00c1, "TS", "TS**", 0x5453, false, true},
	{"TC", BIT, 10, 10, 0xc0, 0x00c0, "TC", "TC**", 0x5443, false, true},
	{"TN", WORD, 10, 10, 0xc2, 0x00c2, "TN", "TN**", 0x544e, false, false},
	{"STS", BIT, 10, 10, 0xc7, 0x00c7, "SS", "STS*", 0, false, true},
	{"STC", BIT, 10, 10, 0xc6, 0x00c6, "SC", "STC*", 0, false, true},
	{"STN", WORD, 10, 10, 0xc8, 0x00c8, "SN", "STN*", 0, false, false},
	{"CS", BIT, 10, 10, 0xc4, 0x00c4, "CS", "CS**", 0x4353, false, true},
	{"CC", BIT, 10, 10, 0xc3, 0x00c3, "CC", "CC**", 0x4343, false, true},
	{"CN", WORD, 10, 10, 0xc5, 0x00c5, "CN", "CN**", 0x434e, false, false},
	{"SB", BIT, 16, 16, 0xa1, 0x00a1, "SB", "SB**", 0, false, false},
	{"SW", WORD, 16, 16, 0xb5, 0x00b5, "SW", "SW**", 0, false, false},
	{"S", BIT, 10, 10, 0x98, 0x0098, "S*", "S***", 0x5320, false, false},
	{"DX", BIT, 16, 16, 0xa2, 0x00a2, "DX", "DX**", 0, false, false},
	{"DY", BIT, 16, 16, 0xa3, 0x00a3, "DY", "DY**", 0, false, false},
	{"Z", WORD, 10, 10, 0xcc, 0x00cc, "Z*", "Z***", 0, false, false},
	{"R", WORD, 10, 10, 0xaf, 0x00af, "R*", "R***", 0x5220, false, false},
	/* Hexadecimal in the manual's Q/L list, decimal on iQ-R. */
	{"ZR", WORD, 10, 16, 0xb0, 0x00b0, "ZR", "ZR**", 0, false, false},
	{"G", WORD, 10, 10, 0xab, 0x00ab, "G*", "G***", 0, true, false},
	{"HG", WORD, 10, 10, 0, 0x002e, "", "HG**", 0, true, false},
	{"LTS", BIT, 10, 10, 0, 0x0051, "", "LTS*", 0, false, true},
	{"LTC", BIT, 10, 10, 0, 0x0050, "", "LTC*", 0, false, true},
	{"LTN", DWORD, 10, 10, 0, 0x0052, "", "LTN*", 0, false, false},
	{"LSTS", BIT, 10, 10, 0, 0x0059, "", "LSTS", 0, false, true},
	{"LSTC", BIT, 10, 10, 0, 0x0058, "", "LSTC", 0, false, true},
	{"LSTN", DWORD, 10, 10, 0, 0x005a, "", "LSTN", 0, false, false},
	{"LCS", BIT, 10, 10, 0, 0x0055, "", "LCS*", 0, false, true},
	{"LCC", BIT, 10, 10, 0, 0x0054, "", "LCC*", 0, false, true},
	{"LCN", DWORD, 10, 10, 0, 0x0056, "", "LCN*", 0, false, false},
	{"LZ", DWORD, 10, 10, 0, 0x0062, "", "LZ**", 0, false, false},
	{"RD", WORD, 10, 10, 0, 0x002c, "", "RD**", 0, false, false},
};

const struct mc_device *mc_device_at(size_t i)
{
	return i < ARRAY_SIZE(DEVICES) ? &DEVICES[i] : NULL;
}

size_t mc_device_index(const struct mc_device *device)
{
	return (size_t)(device - DEVICES);
}

const struct mc_device *mc_device_by_code(enum mc_device_form form, uint16_t code)
{
	for (size_t i = 0; i < ARRAY_SIZE(DEVICES); i++) {
		uint16_t own = form == MC_DEVICE_LONG ? DEVICES[i].code_long : DEVICES[i].code;

		if (own == code && own != 0)
			return &DEVICES[i];
	}
	return NULL;
}

/* '*' is what the manual writes; it allows a blank in its place. */
static bool ascii_name_equal(const char *name, const uint8_t *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (text[i] != (uint8_t)name[i] && !(name[i] == '*' && text[i] == ' '))
			return false;
	}
	return true;
}

const struct mc_device *mc_device_by_ascii(enum mc_device_form form, const uint8_t *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(DEVICES); i++) {
		const struct mc_device *device = &DEVICES[i];

		if (form == MC_DEVICE_LONG && ascii_name_equal(device->ascii_long, text, NAME_LONG))
			return device;
		if (form == MC_DEVICE_SHORT && device->ascii[0] &&
		    ascii_name_equal(device->ascii, text, NAME_SHORT))
			return device;
	}
	return NULL;
}

const struct mc_device *mc_device_by_1e(uint16_t code)
{
	for (size_t i = 0; i < ARRAY_SIZE(DEVICES); i++) {
		if (DEVICES[i].code_1e == code && code != 0)
			return &DEVICES[i];
	}
	return NULL;
}

const struct mc_device *mc_device_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(DEVICES); i++) {
		if (strcmp(DEVICES[i].name, name) == 0)
			return &DEVICES[i];
	}
	/* SS, SC, SN: the only two-character frame codes that are no names already. */
	if (strlen(name) == NAME_SHORT)
		return mc_device_by_ascii(MC_DEVICE_SHORT, (const uint8_t *)name);
	return NULL;
}

/* --- in frames ------------------------------------------------------------------------------- */

/* Digits in `base`, of which leading ones may be blanks. */
static bool number_from_text(const uint8_t *text, size_t digits, uint8_t base, uint32_t *number)
{
	size_t i = 0;

	*number = 0;
	while (i + 1 < digits && text[i] == ' ')
		i++;
	for (; i < digits; i++) {
		uint32_t digit;

		if (!mc_number_from_hex(text + i, 1, &digit) || digit >= base)
			return false;
		*number = *number * base + digit;
	}
	return true;
}

static bool read_ascii(struct mc_reader *reader, enum mc_device_form form,
		       const struct mc_device **device, uint32_t *number)
{
	size_t digits = form == MC_DEVICE_LONG ? DIGITS_LONG : DIGITS_SHORT;
	const uint8_t *name =
		mc_reader_raw(reader, form == MC_DEVICE_LONG ? NAME_LONG : NAME_SHORT);
	const uint8_t *text = mc_reader_raw(reader, digits);
	uint8_t base = 16;

	if (!name || !text)
		return false;
	*device = mc_device_by_ascii(form, name);
	if (*device)
		base = form == MC_DEVICE_LONG ? (*device)->base : (*device)->base_short;
	if (!number_from_text(text, digits, base, number))
		reader->error = MC_NUMBER_DIGIT;
	return !reader->error;
}

bool mc_device_read(struct mc_reader *reader, enum mc_device_form form,
		    const struct mc_device **device, uint32_t *number)
{
	size_t code_size = form == MC_DEVICE_LONG ? 2 : 1;

	*device = NULL;
	if (reader->code == MC_CODE_ASCII)
		return read_ascii(reader, form, device, number);
	*number = mc_reader_number(reader, form == MC_DEVICE_LONG ? 4 : 3);
	*device = mc_device_by_code(form, (uint16_t)mc_reader_number(reader, code_size));
	return !reader->error;
}

bool mc_device_read_1e(struct mc_reader *reader, const struct mc_device **device, uint32_t *number)
{
	uint16_t code;

	*device = NULL;
	if (reader->code == MC_CODE_ASCII) {
		code = (uint16_t)mc_reader_number(reader, 2);
		*number = mc_reader_number(reader, 4);
	} else {
		*number = mc_reader_number(reader, 4);
		code = (uint16_t)mc_reader_number(reader, 2);
	}
	if (!reader->error)
		*device = mc_device_by_1e(code);
	return !reader->error;
}

static void write_ascii(struct mc_writer *writer, enum mc_device_form form,
			const struct mc_device *device, uint32_t number)
{
	bool is_long = form == MC_DEVICE_LONG;
	uint8_t base = is_long ? device->base : device->base_short;
	int digits = is_long ? DIGITS_LONG : DIGITS_SHORT;
	char text[16];
	int size = snprintf(text, sizeof(text), base == 16 ? "%0*X" : "%0*u", digits, number);

	if (size != digits) {
		writer->error = MC_NUMBER_SHORT;
		return;
	}
	mc_writer_raw(writer, is_long ? device->ascii_long : device->ascii,
		      is_long ? NAME_LONG : NAME_SHORT);
	mc_writer_raw(writer, text, (size_t)digits);
}

void mc_device_write(struct mc_writer *writer, enum mc_device_form form,
		     const struct mc_device *device, uint32_t number)
{
	bool is_long = form == MC_DEVICE_LONG;

	if (!is_long && (device->code == 0 || number > NUMBER_SHORT_MAX)) {
		writer->error = MC_NUMBER_SHORT;
		return;
	}
	if (writer->code == MC_CODE_ASCII) {
		write_ascii(writer, form, device, number);
		return;
	}
	mc_writer_number(writer, number, is_long ? 4 : 3);
	mc_writer_number(writer, is_long ? device->code_long : device->code, is_long ? 2 : 1);
}

void mc_device_write_1e(struct mc_writer *writer, const struct mc_device *device, uint32_t number)
{
	if (device->code_1e == 0) {
		writer->error = MC_NUMBER_SHORT;
		return;
	}
	if (writer->code == MC_CODE_ASCII)
		mc_writer_number(writer, device->code_1e, 2);
	mc_writer_number(writer, number, 4);
	if (writer->code == MC_CODE_BINARY)
		mc_writer_number(writer, device->code_1e, 2);
}

/* --- for people ------------------------------------------------------------------------------ */

static bool number_from_people(const char *text, uint8_t base, uint32_t *number)
{
	uint64_t value = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		uint8_t upper = (uint8_t)toupper((unsigned char)*text);
		uint32_t digit;

		if (!mc_number_from_hex(&upper, 1, &digit) || digit >= base)
			return false;
		value = value * base + digit;
		if (value > UINT32_MAX)
			return false;
	}
	*number = (uint32_t)value;
	return true;
}

int mc_device_parse(const char *text, const struct mc_device **device, uint32_t *number)
{
	char name[NAME_LONG + 1] = "";
	size_t letters = 0;

	while (letters < NAME_LONG && isalpha((unsigned char)text[letters])) {
		name[letters] = (char)toupper((unsigned char)text[letters]);
		letters++;
	}
	/* Longest name first: "DX10" is a DX, "BA0" the B with the number A0. */
	for (; letters > 0; letters--) {
		const struct mc_device *found;

		name[letters] = '\0';
		found = mc_device_by_name(name);
		if (found && number_from_people(text + letters, found->base, number)) {
			*device = found;
			return 0;
		}
	}
	return -EINVAL;
}

const char *mc_device_print(const struct mc_device *device, uint32_t number, char *text)
{
	if (device->base == 16)
		snprintf(text, MC_DEVICE_TEXT_SIZE, "%s%X", device->name, number);
	else
		snprintf(text, MC_DEVICE_TEXT_SIZE, "%s%u", device->name, number);
	return text;
}
