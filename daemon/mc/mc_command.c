/* SPDX-License-Identifier: Apache-2.0 */
#include "mc/mc_command.h"
#include "base/error.h"

static const struct mc_command COMMANDS[] = {
	{0x0101, MC_CLASS_READ, "CPU model"},
	{0x0201, MC_CLASS_FILE_READ, "file information"},
	{0x0202, MC_CLASS_FILE_READ, "file information with header"},
	{0x0203, MC_CLASS_FILE_READ, "file search"},
	{0x0204, MC_CLASS_FILE_READ, "file usage"},
	{0x0205, MC_CLASS_FILE_READ, "drive usage"},
	{0x0206, MC_CLASS_FILE_READ, "file read"},
	{0x0401, MC_CLASS_READ, "batch read"},
	{0x0403, MC_CLASS_READ, "random read"},
	{0x0406, MC_CLASS_READ, "block read"},
	{0x041a, MC_CLASS_READ, "label array read"},
	{0x041c, MC_CLASS_READ, "label random read"},
	{0x0601, MC_CLASS_READ, "intelligent module buffer read"},
	{0x0613, MC_CLASS_READ, "buffer memory read"},
	{0x0619, MC_CLASS_DIAGNOSTIC, "loopback test"},
	{0x0630, MC_CLASS_READ, "CPU monitoring registration"},
	{0x0631, MC_CLASS_READ, "CPU monitoring cancellation"},
	{0x0801, MC_CLASS_READ, "monitor registration"},
	{0x0802, MC_CLASS_READ, "monitor"},
	{0x0808, MC_CLASS_FILE_WRITE, "file lock"},
	{0x0e30, MC_CLASS_OTHER, "node search"},
	{0x0e31, MC_CLASS_CONTROL, "IP address set"},
	{0x0e32, MC_CLASS_OTHER, "device information comparison"},
	{0x0e33, MC_CLASS_OTHER, "parameter read"},
	{0x0e34, MC_CLASS_CONTROL, "parameter write"},
	{0x0e35, MC_CLASS_CONTROL, "parameter write start"},
	{0x0e36, MC_CLASS_CONTROL, "parameter write end"},
	{0x0e37, MC_CLASS_CONTROL, "parameter write cancel"},
	{0x0e38, MC_CLASS_CONTROL, "parameter set"},
	{0x0e39, MC_CLASS_CONTROL, "parameter set"},
	{0x0e3a, MC_CLASS_CONTROL, "parameter set"},
	{0x0e44, MC_CLASS_OTHER, "status read"},
	{0x0e45, MC_CLASS_OTHER, "status read"},
	{0x0e53, MC_CLASS_OTHER, "communication setting read"},
	{0x1001, MC_CLASS_CONTROL, "remote RUN"},
	{0x1002, MC_CLASS_CONTROL, "remote STOP"},
	{0x1003, MC_CLASS_CONTROL, "remote PAUSE"},
	{0x1005, MC_CLASS_CONTROL, "remote latch clear"},
	{0x1006, MC_CLASS_CONTROL, "remote RESET"},
	{0x1202, MC_CLASS_FILE_WRITE, "file create"},
	{0x1203, MC_CLASS_FILE_WRITE, "file write"},
	{0x1204, MC_CLASS_FILE_WRITE, "file information change"},
	{0x1205, MC_CLASS_FILE_WRITE, "file delete"},
	{0x1206, MC_CLASS_FILE_WRITE, "file copy"},
	{0x1207, MC_CLASS_FILE_WRITE, "file defragment"},
	{0x1401, MC_CLASS_WRITE, "batch write"},
	{0x1402, MC_CLASS_WRITE, "random write"},
	{0x1406, MC_CLASS_WRITE, "block write"},
	{0x141a, MC_CLASS_WRITE, "label array write"},
	{0x141b, MC_CLASS_WRITE, "label random write"},
	{0x1601, MC_CLASS_WRITE, "intelligent module buffer write"},
	{0x1613, MC_CLASS_WRITE, "buffer memory write"},
	{0x1617, MC_CLASS_CONTROL, "clear error"},
	{0x1619, MC_CLASS_CONTROL, "clear error history"},
	{0x1630, MC_CLASS_SECURITY, "remote password unlock"},
	{0x1631, MC_CLASS_SECURITY, "remote password lock"},
	{0x1810, MC_CLASS_FILE_READ, "directory read"},
	{0x1811, MC_CLASS_FILE_READ, "directory search"},
	{0x1820, MC_CLASS_FILE_WRITE, "file new"},
	{0x1822, MC_CLASS_FILE_WRITE, "file delete"},
	{0x1824, MC_CLASS_FILE_WRITE, "file copy"},
	{0x1825, MC_CLASS_FILE_WRITE, "file attributes"},
	{0x1826, MC_CLASS_FILE_WRITE, "file creation date"},
	{0x1827, MC_CLASS_FILE_WRITE, "file open"},
	{0x1828, MC_CLASS_FILE_READ, "file read"},
	{0x1829, MC_CLASS_FILE_WRITE, "file write"},
	{0x182a, MC_CLASS_FILE_WRITE, "file close"},
	{0x2101, MC_CLASS_OTHER, "on-demand"},
	{0x3070, MC_CLASS_OTHER, "indicator display"},
};

static const struct mc_command COMMANDS_1E[] = {
	{0x00, MC_CLASS_READ, "batch read bits"},
	{0x01, MC_CLASS_READ, "batch read words"},
	{0x02, MC_CLASS_WRITE, "batch write bits"},
	{0x03, MC_CLASS_WRITE, "batch write words"},
	{0x04, MC_CLASS_WRITE, "random write bits"},
	{0x05, MC_CLASS_WRITE, "random write words"},
	{0x06, MC_CLASS_READ, "monitor registration bits"},
	{0x07, MC_CLASS_READ, "monitor registration words"},
	{0x08, MC_CLASS_READ, "monitor bits"},
	{0x09, MC_CLASS_READ, "monitor words"},
	{0x0e, MC_CLASS_WRITE, "special module buffer read"},
	{0x0f, MC_CLASS_WRITE, "special module buffer write"},
	{0x13, MC_CLASS_CONTROL, "remote RUN"},
	{0x14, MC_CLASS_CONTROL, "remote STOP"},
	{0x15, MC_CLASS_READ, "PLC model"},
	{0x16, MC_CLASS_DIAGNOSTIC, "loopback test"},
	/* Sizes of the next five are not documented well enough to look inside: never reads. */
	{0x17, MC_CLASS_WRITE, "extension file register"},
	{0x18, MC_CLASS_WRITE, "extension file register"},
	{0x19, MC_CLASS_WRITE, "extension file register"},
	{0x1a, MC_CLASS_WRITE, "extension file register"},
	{0x1b, MC_CLASS_WRITE, "extension file register"},
	{0x60, MC_CLASS_WRITE, "fixed buffer"},
	{0x61, MC_CLASS_READ, "random access buffer read"},
	{0x62, MC_CLASS_WRITE, "random access buffer write"},
};

const struct mc_command *mc_command_find(enum mc_family family, uint16_t code)
{
	bool is_1e = family == MC_FAMILY_1E;
	const struct mc_command *table = is_1e ? COMMANDS_1E : COMMANDS;
	size_t count = is_1e ? ARRAY_SIZE(COMMANDS_1E) : ARRAY_SIZE(COMMANDS);

	for (size_t i = 0; i < count; i++) {
		if (table[i].code == code)
			return &table[i];
	}
	return NULL;
}

const char *mc_command_class_name(enum mc_class class)
{
	static const char *const NAMES[] = {
		[MC_CLASS_READ] = "read",
		[MC_CLASS_WRITE] = "write",
		[MC_CLASS_CONTROL] = "control",
		[MC_CLASS_FILE_READ] = "file-read",
		[MC_CLASS_FILE_WRITE] = "file-write",
		[MC_CLASS_SECURITY] = "security",
		[MC_CLASS_DIAGNOSTIC] = "diagnostic",
		[MC_CLASS_OTHER] = "other",
	};

	_Static_assert(ARRAY_SIZE(NAMES) == MC_CLASS_OTHER + 1, "every class has a name");
	return NAMES[class];
}

struct end_code {
	uint16_t first;
	uint16_t last;
	const char *name;
};

/* Single codes stand before the ranges that hold them. */
static const struct end_code END_CODES[] = {
	{0x0000, 0x0000, "normal"},
	{0x0050, 0x0050, "subheader of an unknown kind"},
	{0x0054, 0x0054, "ASCII and binary code mismatch"},
	{0x0055, 0x0055, "write in RUN is not enabled"},
	{0x4013, 0x4013, "not possible in the present state of the CPU"},
	{0x4030, 0x4030, "device cannot be used"},
	{0x4031, 0x4031, "device number outside the configured range"},
	{0x4032, 0x4032, "timer or counter contact or coil cannot be accessed by words"},
	{0x4043, 0x4043, "module number wrong"},
	{0x4080, 0x4080, "module does not match"},
	{0x40c0, 0x40c0, "label unknown or not released"},
	{0x413e, 0x413e, "state of the file or target forbids it"},
	{0x414a, 0x414a, "state of the file or target forbids it"},
	{0x4000, 0x4fff, "error found by the CPU"},
	{0xc050, 0xc050, "ASCII data that is not hexadecimal"},
	{0xc051, 0xc054, "number of points out of range"},
	{0xc055, 0xc055, "file data length out of range"},
	{0xc056, 0xc056, "request exceeds the highest address"},
	{0xc058, 0xc058, "length after ASCII to binary conversion does not fit the data"},
	{0xc059, 0xc059, "command or subcommand not supported"},
	{0xc05b, 0xc05b, "device cannot be read or written this way"},
	{0xc05c, 0xc05c, "request content wrong"},
	{0xc05d, 0xc05d, "monitor not registered"},
	{0xc05f, 0xc05f, "request cannot be executed for this target"},
	{0xc060, 0xc060, "bit data wrong"},
	{0xc061, 0xc061, "data length does not match the data"},
	{0xc06f, 0xc06f, "ASCII and binary code mismatch"},
	{0xc075, 0xc075, "label data wrong"},
	{0xc200, 0xc200, "remote password wrong"},
	{0xc201, 0xc201, "locked by remote password"},
	{0xc204, 0xc204, "another device holds the unlock"},
	{0xc207, 0xc207, "file environment"},
	{0xc810, 0xc810, "remote password wrong"},
};

static const struct end_code COMPLETE_CODES[] = {
	{0x00, 0x00, "normal"},
	{0x50, 0x50, "command unknown"},
	{0x54, 0x54, "ASCII data that is not hexadecimal"},
	{0x56, 0x56, "device wrong"},
	{0x57, 0x57, "points beyond the limit or address exceeded"},
	{0x58, 0x58, "head device, length or number of points wrong"},
	{0x5b, 0x5b, "CPU cannot process the request (see the abnormal code)"},
	{0x60, 0x60, "monitoring timer expired"},
};

const char *mc_command_end_code_name(enum mc_family family, uint16_t end_code)
{
	bool is_1e = family == MC_FAMILY_1E;
	const struct end_code *table = is_1e ? COMPLETE_CODES : END_CODES;
	size_t count = is_1e ? ARRAY_SIZE(COMPLETE_CODES) : ARRAY_SIZE(END_CODES);

	for (size_t i = 0; i < count; i++) {
		if (end_code >= table[i].first && end_code <= table[i].last)
			return table[i].name;
	}
	return "unknown end code";
}
