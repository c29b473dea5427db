/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "mc/mc_frame.h"
#include "mc/mc_number.h"
#include "mc_vectors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Taken apart and put together again, every request is what it was. */
static void test_requests_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < MC_VECTOR_COUNT; i++) {
		const struct mc_vector *vector = &MC_VECTORS[i];
		uint8_t bytes[MC_VECTOR_SIZE];
		uint8_t out[MC_VECTOR_SIZE];
		size_t size = mc_vector_bytes(vector->code, vector->request, bytes);
		struct mc_request request;

		assert_int_equal(mc_frame_parse_request(bytes, size, &request), 0);
		assert_int_equal(request.family, vector->family);
		assert_int_equal(request.code, vector->code);
		assert_int_equal(request.command, vector->command);
		assert_int_equal(mc_frame_put_request(&request, out, sizeof(out)), size);
		assert_memory_equal(out, bytes, size);
		assert_int_equal(mc_frame_put_request(&request, out, size), size);
		assert_int_equal(mc_frame_put_request(&request, out, size - 1), 0);
	}
}

/* Answers: parsed, and built again from request and parsed data. */
static void test_answers_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < MC_VECTOR_COUNT; i++) {
		const struct mc_vector *vector = &MC_VECTORS[i];
		uint8_t question[MC_VECTOR_SIZE];
		uint8_t bytes[MC_VECTOR_SIZE];
		uint8_t out[MC_VECTOR_SIZE];
		struct mc_request request;
		struct mc_answer answer;
		size_t size;

		size = mc_vector_bytes(vector->code, vector->request, question);
		assert_int_equal(mc_frame_parse_request(question, size, &request), 0);
		if (!vector->answer)
			continue;
		size = mc_vector_bytes(vector->code, vector->answer, bytes);
		assert_int_equal(mc_frame_parse_answer(bytes, size, vector->code, &answer), 0);
		assert_int_equal(answer.family, vector->family);
		assert_int_equal(answer.end_code, vector->end_code);
		if (answer.end_code) {
			assert_int_equal(mc_frame_put_error(&request, answer.end_code,
							    answer.abnormal_code, out, size - 1),
					 0);
			assert_int_equal(mc_frame_put_error(&request, answer.end_code,
							    answer.abnormal_code, out, sizeof(out)),
					 size);
		} else {
			assert_int_equal(mc_frame_put_answer(&request, answer.data,
							     answer.data_size, out, size - 1),
					 0);
			assert_int_equal(mc_frame_put_answer(&request, answer.data,
							     answer.data_size, out, sizeof(out)),
					 size);
		}
		assert_memory_equal(out, bytes, size);
	}
}

static void test_header_fields(void **state)
{
	uint8_t bytes[MC_VECTOR_SIZE];
	size_t size = mc_vector_bytes(MC_CODE_BINARY,
				      "54003412000001abe003020c00200001140200"
				      "0102030405",
				      bytes);
	struct mc_request request;

	(void)state;
	/* The length field says one more than there is. */
	assert_int_equal(mc_frame_parse_request(bytes, size, &request), -EBADMSG);
	size = mc_vector_bytes(MC_CODE_BINARY,
			       "54003412000001abe003020b00200001140200"
			       "0102030405",
			       bytes);
	assert_int_equal(mc_frame_parse_request(bytes, size, &request), 0);
	assert_int_equal(request.family, MC_FAMILY_4E);
	assert_memory_equal(request.serial, "\x34\x12", 2);
	assert_int_equal(request.route.network, 0x01);
	assert_int_equal(request.route.pc, 0xab);
	assert_int_equal(request.route.module, 0x03e0);
	assert_int_equal(request.route.station, 0x02);
	assert_int_equal(request.timer, 0x20);
	assert_int_equal(request.command, 0x1401);
	assert_int_equal(request.subcommand, 0x0002);
	assert_int_equal(request.data_size, 5);
}

/* A client that writes the serial in another digit order gets its own characters back. */
static void test_ascii_serial_is_opaque(void **state)
{
	static const char REQUEST[] = "5400x9Z-000000FF03FF000018001004010000D*0001000001";
	struct mc_request request;
	uint8_t out[64];
	size_t size;

	(void)state;
	assert_int_equal(
		mc_frame_parse_request((const uint8_t *)REQUEST, strlen(REQUEST), &request), 0);
	size = mc_frame_put_error(&request, 0xc059, 0, out, sizeof(out));
	assert_int_equal(size, MC_FRAME_ERROR_SIZE);
	assert_memory_equal(out, "D400x9Z-000000FF03FF000016C05900FF03FF0004010000", size);
}

static void test_malformed(void **state)
{
	static const char *const BAD[] = {
		"500000FF03FF000018001004010000D*00010000010", /* one too many */
		"500000FF03FF000018001004010000D*000100000",   /* one too few */
		"500000FF03FF0000180010040x0000D*0001000001",
		"500000F?03FF000018001004010000D*0001000001",
		"5000",
		"00FF00",
		"",
	};
	struct mc_request request;
	struct mc_answer answer;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++)
		assert_int_equal(
			mc_frame_parse_request((const uint8_t *)BAD[i], strlen(BAD[i]), &request),
			-EBADMSG);
	assert_int_equal(mc_frame_parse_answer((const uint8_t *)"D00000FF03FF0000030000", 22,
					       MC_CODE_ASCII, &answer),
			 -EBADMSG);
	assert_int_equal(
		mc_frame_parse_answer((const uint8_t *)"\x00\x00", 2, MC_CODE_BINARY, &answer),
		-EBADMSG);
}

/* Some gear leaves the error information block out. */
static void test_error_without_block(void **state)
{
	uint8_t bytes[MC_VECTOR_SIZE];
	size_t size = mc_vector_bytes(MC_CODE_BINARY, "d00000ffff0300020059c0", bytes);
	struct mc_answer answer;

	(void)state;
	assert_int_equal(mc_frame_parse_answer(bytes, size, MC_CODE_BINARY, &answer), 0);
	assert_int_equal(answer.end_code, 0xc059);
	assert_false(answer.has_error_block);
	size = mc_vector_bytes(MC_CODE_BINARY, "d00000ffff03000b005cc000ffff030001040100", bytes);
	assert_int_equal(mc_frame_parse_answer(bytes, size, MC_CODE_BINARY, &answer), 0);
	assert_true(answer.has_error_block);
	assert_int_equal(answer.error_command, 0x0401);
	assert_int_equal(answer.error_subcommand, 0x0001);
	assert_true(mc_frame_route_equal(&answer.error_route, &MC_ROUTE_OWN));
}

/* The data of an answer may already lie in the buffer, before or behind its place. */
static void test_data_inside_the_buffer(void **state)
{
	const struct mc_request request = {
		.family = MC_FAMILY_3E, .code = MC_CODE_BINARY, .route = MC_ROUTE_OWN};

	(void)state;
	for (size_t at = 0; at < 40; at++) {
		uint8_t out[64];

		memcpy(out + at, "0123456789", 10);
		assert_int_equal(mc_frame_put_answer(&request, out + at, 10, out, sizeof(out)), 21);
		assert_memory_equal(out + 11, "0123456789", 10);
	}
}

static void test_length_field_overflow(void **state)
{
	static uint8_t data[65536];
	static uint8_t out[70000];
	struct mc_request request = {
		.family = MC_FAMILY_3E, .route = MC_ROUTE_OWN, .data = data, .data_size = 65529};

	(void)state;
	assert_int_equal(mc_frame_put_request(&request, out, sizeof(out)), 65535 + 9);
	request.data_size++;
	assert_int_equal(mc_frame_put_request(&request, out, sizeof(out)), 0);
}

static void test_numbers(void **state)
{
	struct mc_reader reader = {
		.code = MC_CODE_ASCII, .at = (const uint8_t *)"12aB0gFF", .left = 8};
	struct mc_writer writer;
	uint8_t out[12];
	uint32_t value;

	(void)state;
	assert_int_equal(mc_reader_number(&reader, 2), 0x12ab);
	assert_int_equal(mc_reader_number(&reader, 1), 0);
	assert_int_equal(reader.error, MC_NUMBER_DIGIT); /* "0g" */
	assert_int_equal(mc_reader_number(&reader, 1), 0);
	reader = (struct mc_reader){
		.code = MC_CODE_BINARY, .at = (const uint8_t *)"\x01\x02\x03", .left = 3};
	assert_int_equal(mc_reader_number(&reader, 3), 0x030201);
	assert_true(mc_reader_done(&reader));
	assert_null(mc_reader_raw(&reader, 1));
	assert_int_equal(reader.error, MC_NUMBER_SHORT);
	assert_true(mc_number_from_hex((const uint8_t *)"FFFFFFFF", 8, &value));
	assert_int_equal(value, 0xffffffff);
	writer = (struct mc_writer){.code = MC_CODE_ASCII, .at = out, .left = sizeof(out)};
	mc_writer_number(&writer, 0x1234abcd, 4);
	mc_writer_number(&writer, 5, 1);
	mc_writer_number(&writer, 0x1ff, 1);
	assert_int_equal(writer.error, MC_NUMBER_OK);
	assert_memory_equal(out, "1234ABCD05FF", 12);
	mc_writer_number(&writer, 0, 1);
	assert_int_equal(writer.error, MC_NUMBER_SHORT);
}

static void test_routes_as_text(void **state)
{
	static const char *const BAD[] = {
		"",
		"00-FF-03FF",
		"00-FF-03FF-0",
		"00-FF-03FF-000",
		"00-FF-03FF-00 ",
		"0-FF-03FF-00",
		"00-FF-3FF-00",
		"00-FFF-03FF-00",
		"00:FF:03FF:00",
		"0x-FF-03FF-00",
		"+0-FF-03FF-00",
	};
	const struct mc_route route = {0x01, 0x2a, 0x03e0, 0x1f};
	char text[MC_ROUTE_TEXT_SIZE];
	struct mc_route read;

	(void)state;
	assert_string_equal(mc_frame_route_print(&route, text), "01-2A-03E0-1F");
	assert_int_equal(mc_frame_route_parse(text, &read), 0);
	assert_true(mc_frame_route_equal(&read, &route));
	assert_int_equal(mc_frame_route_parse("00-ff-03ff-00", &read), 0);
	assert_true(mc_frame_route_equal(&read, &MC_ROUTE_OWN));
	assert_false(mc_frame_route_equal(&read, &route));
	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++)
		assert_int_equal(mc_frame_route_parse(BAD[i], &read), -EINVAL);
	/* What was there before is left alone. */
	assert_true(mc_frame_route_equal(&read, &MC_ROUTE_OWN));
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(mc_frame_family_name(MC_FAMILY_1E), "1E");
	assert_string_equal(mc_frame_family_name(MC_FAMILY_3E), "3E");
	assert_string_equal(mc_frame_family_name(MC_FAMILY_4E), "4E");
	assert_string_equal(mc_frame_family_name(MC_FAMILY_NONE), "-");
	assert_string_equal(mc_frame_code_name(MC_CODE_BINARY), "binary");
	assert_string_equal(mc_frame_code_name(MC_CODE_ASCII), "ascii");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_round_trip),
		cmocka_unit_test(test_answers_round_trip),
		cmocka_unit_test(test_header_fields),
		cmocka_unit_test(test_ascii_serial_is_opaque),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_error_without_block),
		cmocka_unit_test(test_data_inside_the_buffer),
		cmocka_unit_test(test_length_field_overflow),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_routes_as_text),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
