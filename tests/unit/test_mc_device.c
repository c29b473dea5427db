/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "mc/mc_command.h"
#include "mc/mc_device.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct text {
	const char *text;
	const char *name; /* NULL: not a device */
	uint32_t number;
};

static void test_text(void **state)
{
	static const struct text TEXTS[] = {
		{"D100", "D", 100},
		{"M0", "M", 0},
		{"X1F", "X", 0x1f},
		{"W1A0", "W", 0x1a0},
		{"ZR10", "ZR", 10},
		{"TN5", "TN", 5},
		{"d100", "D", 100},
		{"x1f", "X", 0x1f},
		{"DX10", "DX", 0x10},
		{"BA0", "B", 0xa0},
		{"BABCDEF", "B", 0xabcdef},
		{"SD203", "SD", 203},
		{"SC5", "STC", 5},
		{"STN7", "STN", 7},
		{"LSTN4294967295", "LSTN", ~0u},
		{"D4294967296", NULL, 0},
		{"D", NULL, 0},
		{"100", NULL, 0},
		{"D1F", NULL, 0},
		{"Q1", NULL, 0},
		{"D-1", NULL, 0},
		{"D 1", NULL, 0},
		{"", NULL, 0},
		{"D1.0", NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(TEXTS); i++) {
		const struct mc_device *device = NULL;
		uint32_t number = 0;
		int result = mc_device_parse(TEXTS[i].text, &device, &number);

		assert_int_equal(result, TEXTS[i].name ? 0 : -EINVAL);
		if (!TEXTS[i].name)
			continue;
		assert_string_equal(device->name, TEXTS[i].name);
		assert_int_equal(number, TEXTS[i].number);
	}
}

/* The table contradicts itself nowhere: every code leads back to its device. */
static void test_table(void **state)
{
	const struct mc_device *device;
	size_t i;

	(void)state;
	for (i = 0; (device = mc_device_at(i)); i++) {
		char text[MC_DEVICE_TEXT_SIZE];
		const struct mc_device *found;
		uint32_t number;

		assert_int_equal(mc_device_index(device), i);
		assert_ptr_equal(mc_device_by_name(device->name), device);
		assert_int_equal(strlen(device->ascii_long), 4);
		assert_ptr_equal(mc_device_by_code(MC_DEVICE_LONG, device->code_long), device);
		assert_ptr_equal(
			mc_device_by_ascii(MC_DEVICE_LONG, (const uint8_t *)device->ascii_long),
			device);
		assert_int_equal(device->code != 0, strlen(device->ascii) == 2);
		if (device->code) {
			assert_ptr_equal(mc_device_by_code(MC_DEVICE_SHORT, device->code), device);
			assert_ptr_equal(
				mc_device_by_ascii(MC_DEVICE_SHORT, (const uint8_t *)device->ascii),
				device);
			assert_int_equal(device->code, device->code_long);
		}
		if (device->code_1e)
			assert_ptr_equal(mc_device_by_1e(device->code_1e), device);
		assert_int_equal(
			mc_device_parse(mc_device_print(device, 0x99, text), &found, &number), 0);
		assert_ptr_equal(found, device);
		assert_int_equal(number, 0x99);
	}
	assert_true(i > 35);
	assert_null(mc_device_by_code(MC_DEVICE_SHORT, 0));
	assert_null(mc_device_by_1e(0));
	assert_null(mc_device_by_name(""));
}

struct wire {
	enum mc_code code;
	enum mc_device_form form;
	const char *device;
	const char *bytes;
	size_t size;
};

static void test_in_frames(void **state)
{
	static const struct wire WIRES[] = {
		{MC_CODE_BINARY, MC_DEVICE_SHORT, "D100", "\x64\x00\x00\xa8", 4},
		{MC_CODE_BINARY, MC_DEVICE_LONG, "D100", "\x64\x00\x00\x00\xa8\x00", 6},
		{MC_CODE_BINARY, MC_DEVICE_LONG, "LTN1", "\x01\x00\x00\x00\x52\x00", 6},
		{MC_CODE_ASCII, MC_DEVICE_SHORT, "D100", "D*000100", 8},
		{MC_CODE_ASCII, MC_DEVICE_SHORT, "X1F", "X*00001F", 8},
		{MC_CODE_ASCII, MC_DEVICE_LONG, "D100", "D***00000100", 12},
		{MC_CODE_ASCII, MC_DEVICE_SHORT, "STN1", "SN000001", 8},
		{MC_CODE_ASCII, MC_DEVICE_LONG, "STN1", "STN*00000001", 12},
		{MC_CODE_ASCII, MC_DEVICE_SHORT, "ZR26", "ZR00001A", 8},
		{MC_CODE_ASCII, MC_DEVICE_LONG, "ZR26", "ZR**00000026", 12},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(WIRES); i++) {
		const struct wire *wire = &WIRES[i];
		uint8_t out[16];
		struct mc_writer writer = {.code = wire->code, .at = out, .left = sizeof(out)};
		struct mc_reader reader = {
			.code = wire->code, .at = (const uint8_t *)wire->bytes, .left = wire->size};
		const struct mc_device *wanted;
		const struct mc_device *device;
		uint32_t wanted_number;
		uint32_t number;

		assert_int_equal(mc_device_parse(wire->device, &wanted, &wanted_number), 0);
		mc_device_write(&writer, wire->form, wanted, wanted_number);
		assert_int_equal(writer.error, MC_NUMBER_OK);
		assert_int_equal(sizeof(out) - writer.left, wire->size);
		assert_memory_equal(out, wire->bytes, wire->size);
		assert_true(mc_device_read(&reader, wire->form, &device, &number));
		assert_true(mc_reader_done(&reader));
		assert_ptr_equal(device, wanted);
		assert_int_equal(number, wanted_number);
	}
}

static void test_cannot_be_written(void **state)
{
	uint8_t out[16];
	struct mc_writer writer = {.code = MC_CODE_BINARY, .at = out, .left = sizeof(out)};

	(void)state;
	mc_device_write(&writer, MC_DEVICE_SHORT, mc_device_by_name("LTN"), 1);
	assert_int_equal(writer.error, MC_NUMBER_SHORT);
	writer = (struct mc_writer){.code = MC_CODE_BINARY, .at = out, .left = sizeof(out)};
	mc_device_write(&writer, MC_DEVICE_SHORT, mc_device_by_name("D"), 1 << 24);
	assert_int_equal(writer.error, MC_NUMBER_SHORT);
	writer = (struct mc_writer){.code = MC_CODE_ASCII, .at = out, .left = sizeof(out)};
	mc_device_write(&writer, MC_DEVICE_SHORT, mc_device_by_name("D"), 1000000);
	assert_int_equal(writer.error, MC_NUMBER_SHORT);
	writer = (struct mc_writer){.code = MC_CODE_BINARY, .at = out, .left = sizeof(out)};
	mc_device_write_1e(&writer, mc_device_by_name("ZR"), 1);
	assert_int_equal(writer.error, MC_NUMBER_SHORT);
}

static void test_1e(void **state)
{
	static const char *const WIRES[] = {"\x64\x00\x00\x00\x20\x4d", "4D2000000064"};
	static const size_t SIZES[] = {6, 12};

	(void)state;
	for (int code = MC_CODE_BINARY; code <= MC_CODE_ASCII; code++) {
		uint8_t out[16];
		struct mc_writer writer = {.code = code, .at = out, .left = sizeof(out)};
		struct mc_reader reader = {
			.code = code, .at = (const uint8_t *)WIRES[code], .left = SIZES[code]};
		const struct mc_device *device;
		uint32_t number;

		mc_device_write_1e(&writer, mc_device_by_name("M"), 100);
		assert_int_equal(sizeof(out) - writer.left, SIZES[code]);
		assert_memory_equal(out, WIRES[code], SIZES[code]);
		assert_true(mc_device_read_1e(&reader, &device, &number));
		assert_string_equal(device->name, "M");
		assert_int_equal(number, 100);
	}
}

static void test_ascii_digits(void **state)
{
	static const char *const BAD[] = {"D*0001 0", "D*00010A", "X*0000G0", "D*      ",
					  "D*-00001"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
		struct mc_reader reader = {
			.code = MC_CODE_ASCII, .at = (const uint8_t *)BAD[i], .left = 8};
		const struct mc_device *device;
		uint32_t number;

		assert_false(mc_device_read(&reader, MC_DEVICE_SHORT, &device, &number));
		assert_int_equal(reader.error, MC_NUMBER_DIGIT);
	}
}

static void test_commands(void **state)
{
	(void)state;
	assert_int_equal(mc_command_find(MC_FAMILY_3E, 0x0401)->class, MC_CLASS_READ);
	assert_int_equal(mc_command_find(MC_FAMILY_4E, 0x1402)->class, MC_CLASS_WRITE);
	assert_int_equal(mc_command_find(MC_FAMILY_3E, 0x1002)->class, MC_CLASS_CONTROL);
	assert_int_equal(mc_command_find(MC_FAMILY_3E, 0x1630)->class, MC_CLASS_SECURITY);
	assert_int_equal(mc_command_find(MC_FAMILY_1E, 0x14)->class, MC_CLASS_CONTROL);
	assert_int_equal(mc_command_find(MC_FAMILY_1E, 0x03)->class, MC_CLASS_WRITE);
	assert_null(mc_command_find(MC_FAMILY_1E, 0x0401));
	assert_null(mc_command_find(MC_FAMILY_3E, 0x1403));
	assert_string_equal(mc_command_class_name(MC_CLASS_FILE_WRITE), "file-write");
	assert_string_equal(mc_command_end_code_name(MC_FAMILY_3E, 0xc201),
			    "locked by remote password");
	assert_string_equal(mc_command_end_code_name(MC_FAMILY_3E, 0x4abc),
			    "error found by the CPU");
	assert_string_equal(mc_command_end_code_name(MC_FAMILY_1E, 0x50), "command unknown");
	assert_string_equal(mc_command_end_code_name(MC_FAMILY_3E, 0xffff), "unknown end code");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),      cmocka_unit_test(test_table),
		cmocka_unit_test(test_in_frames), cmocka_unit_test(test_cannot_be_written),
		cmocka_unit_test(test_1e),        cmocka_unit_test(test_ascii_digits),
		cmocka_unit_test(test_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
