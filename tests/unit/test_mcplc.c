/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated PLC's answers, byte for byte, against frames of independent clients and manuals,
 * its limits and end codes; and whatever it answers against what daemon/mc says is to be expected.
 */
#include "mcplc_memory.h"
#include "mcplc_cpu.h"
#include "mcplc_access.h"
#include "mcplc_1e.h"
#include "mcplc_request.h"

#include "mc_fixture.h"
#include "mc_vectors.h"

#include <errno.h>
#include <stdio.h>

struct plc {
	struct mcplc_cpu cpu;
	struct mcplc_link link;
	struct mcplc_outcome outcome;
	uint8_t answer[MCPLC_ANSWER_SIZE];
};

static void plc_start(struct plc *plc)
{
	memset(plc, 0, sizeof(*plc));
	plc->cpu = (struct mcplc_cpu){.memory = mcplc_memory_new(),
				      .model = "Q03UDVCPU",
				      .model_code = 0x0366,
				      .model_code_1e = 0xf3};
	assert_non_null(plc->cpu.memory);
}

static void plc_stop(struct plc *plc)
{
	mcplc_memory_free(plc->cpu.memory);
}

/* The answer is there: it must be what daemon/mc would have said before. */
static void check_told(const struct plc *plc)
{
	const struct mc_request *request = &plc->outcome.request;
	struct mc_access access;
	struct mc_echo echo;
	uint16_t end_code;

	if (plc->outcome.action != MCPLC_ANSWER)
		return;
	mc_access_read(request, NULL, NULL, &access);
	mc_answer_expect(&echo, request, &access);
	assert_int_equal(mc_answer_fits(&echo, plc->answer, plc->outcome.length,
					plc->outcome.length, &end_code),
			 MC_ANSWER_FITS);
	assert_int_equal(end_code, plc->outcome.end_code);
}

static void run_bytes(struct plc *plc, const uint8_t *bytes, size_t size)
{
	const struct mc_stream stream = {.monitor_1e = {2, 2}};
	struct mc_frame frame;

	assert_int_equal(mc_stream_split(&stream, MC_REQUEST, bytes, size, 8200, &frame),
			 MC_SPLIT_FRAME);
	assert_int_equal(frame.length, size);
	assert_int_equal(mcplc_request_execute(&plc->cpu, &plc->link, bytes, size, plc->answer,
					       &plc->outcome),
			 0);
	check_told(plc);
}

static void run(struct plc *plc, enum mc_code code, const char *text)
{
	uint8_t bytes[MC_VECTOR_SIZE];

	run_bytes(plc, bytes, mc_vector_bytes(code, text, bytes));
}

static void expect(struct plc *plc, enum mc_code code, const char *request, const char *answer)
{
	uint8_t bytes[MC_VECTOR_SIZE];
	size_t size = mc_vector_bytes(code, answer, bytes);

	run(plc, code, request);
	assert_int_equal(plc->outcome.length, size);
	assert_memory_equal(plc->answer, bytes, size);
}

static void expect_end(struct plc *plc, enum mc_code code, const char *request, uint16_t end_code)
{
	run(plc, code, request);
	assert_int_equal(plc->outcome.end_code, end_code);
}

/* "D100=1,2": the devices hold exactly that. */
static void check_memory(struct plc *plc, const char *text)
{
	struct mcplc_memory *wanted = mcplc_memory_new();
	const struct mc_device *device;
	char name[16];
	uint32_t number;
	size_t values = 1;

	assert_non_null(wanted);
	assert_int_equal(mcplc_memory_set_text(wanted, text), 0);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, "="), text);
	assert_int_equal(mc_device_parse(name, &device, &number), 0);
	for (const char *at = text; (at = strchr(at, ',')); at++)
		values++;
	for (uint32_t i = number; i < number + values; i++) {
		if (device->kind == MC_DEVICE_BIT)
			assert_int_equal(mcplc_memory_bit(plc->cpu.memory, device, i),
					 mcplc_memory_bit(wanted, device, i));
		else
			assert_int_equal(mcplc_memory_word(plc->cpu.memory, device, i),
					 mcplc_memory_word(wanted, device, i));
	}
	mcplc_memory_free(wanted);
}

static void prepare(struct plc *plc, const struct mc_vector *vector)
{
	for (size_t i = 0; i < ARRAY_SIZE(vector->memory) && vector->memory[i]; i++)
		assert_int_equal(mcplc_memory_set_text(plc->cpu.memory, vector->memory[i]), 0);
	if (vector->password)
		snprintf(plc->cpu.password, sizeof(plc->cpu.password), "%s", vector->password);
	plc->link.unlocked = vector->unlocked;
	if (vector->stopped)
		mcplc_cpu_enter(&plc->cpu, MCPLC_STOP);
}

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < MC_VECTOR_COUNT; i++) {
		const struct mc_vector *vector = &MC_VECTORS[i];
		struct plc plc;

		plc_start(&plc);
		prepare(&plc, vector);
		if (vector->monitors)
			run(&plc, vector[-1].code, vector[-1].request);
		if (vector->answer)
			expect(&plc, vector->code, vector->request, vector->answer);
		else
			run(&plc, vector->code, vector->request);
		assert_int_equal(plc.outcome.action, vector->answer ? MCPLC_ANSWER : MCPLC_RESET);
		assert_int_equal(plc.outcome.end_code, vector->end_code);
		assert_int_equal(plc.outcome.request.command, vector->command);
		for (size_t k = 0; k < ARRAY_SIZE(vector->after) && vector->after[k]; k++)
			check_memory(&plc, vector->after[k]);
		plc_stop(&plc);
	}
}

/* Every command that is carried out is answered with just as much as daemon/mc says. */
static void test_sizes_that_are_told(void **state)
{
	static const enum mc_family FAMILIES[] = {MC_FAMILY_3E, MC_FAMILY_4E};
	static struct composed it;
	uint8_t bytes[8200];

	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		enum mc_code code = kind % 2 ? MC_CODE_ASCII : MC_CODE_BINARY;
		struct plc plc;

		plc_start(&plc);
		for (size_t i = 0; i < ARRAY_SIZE(MC_SAMPLES); i++) {
			const struct mc_sample *sample = &MC_SAMPLES[i];
			struct mc_access access =
				compose_sample(&it, FAMILIES[kind / 2], code, sample);
			uint16_t told = mc_answer_size(&it.request, &access);
			struct mc_answer answer;

			run_bytes(&plc, bytes,
				  mc_frame_put_request(&it.request, bytes, sizeof(bytes)));
			assert_int_equal(plc.outcome.end_code, sample->lacking ? 0xc059 : 0);
			if (sample->lacking || told == MC_ANSWER_ANY)
				continue;
			assert_int_equal(mc_frame_parse_answer(plc.answer, plc.outcome.length, code,
							       &answer),
					 0);
			assert_int_equal(answer.data_size, told);
		}
		plc_stop(&plc);
	}
}

static void test_log_names_devices(void **state)
{
	struct plc plc;

	(void)state;
	plc_start(&plc);
	run(&plc, MC_CODE_BINARY, "500000ffff03000c00100001040000640000a80200");
	assert_string_equal(plc.outcome.devices, "D100..D101");
	run(&plc, MC_CODE_BINARY, "500000ffff03000c00100001040000640000900200");
	assert_string_equal(plc.outcome.devices, "M100..M131");
	run(&plc, MC_CODE_BINARY, "500000ffff030011001000021401000232000090002f00009d01");
	assert_string_equal(plc.outcome.devices, "M50,Y2F");
	plc_stop(&plc);
}

/* Body after the 3E binary header: length, timer, command, subcommand, data. */
static void expect_body(struct plc *plc, const char *body, uint16_t end_code)
{
	char request[2 * MC_VECTOR_SIZE];
	unsigned size = (unsigned)strlen(body) / 2 + 2;

	snprintf(request, sizeof(request), "500000ffff0300%02x%02x1000%s", size & 0xff, size >> 8,
		 body);
	expect_end(plc, MC_CODE_BINARY, request, end_code);
}

struct refusal {
	const char *body;
	uint16_t end_code;
};

static void test_end_codes(void **state)
{
	static const struct refusal REFUSALS[] = {
		{"01040000640000a8c003", 0x0000}, /* 960 words */
		{"01040000640000a8c103", 0xc051}, /* 961 */
		{"01040000640000a80000", 0xc051},
		{"010401000000009c001c", 0x0000}, /* 7168 bits */
		{"010401000000009c011c", 0xc052},
		{"01040000ffff00a80100", 0x0000}, /* the last D */
		{"01040000ffff00a80200", 0xc056},
		{"01040000000001a80100", 0x4031},
		{"01040000640000ab0100", 0xc05b}, /* G without extension */
		{"01040000640000ff0100", 0xc05b}, /* no such code */
		{"01040000640000c10100", 0x4032}, /* TS by words */
		{"01040100640000a80100", 0xc05c},
		{"01040000640000a801", 0xc061},
		{"01040000640000a8010000", 0xc061},
		{"01048000640000a80100", 0xc059},
		{"01040400640000a80100", 0xc059},
		{"01060000", 0xc059},
		{"03040000c100", 0xc053},
		{"030400000000", 0xc053},
		{"030402006100", 0xc053}, /* iQ-R: 96 */
		{"0214010000", 0xc054},
		{"02140100bd", 0xc054},
		{"0214010001640000a801", 0xc05c},
		{"02140100016400009002", 0xc060},
		{"01140100640000900100"
		 "20",
		 0xc060},
		{"021400000000", 0xc053},
		{"060400007900", 0xc053}, /* 121 blocks */
		{"060400000100640000a8c103", 0xc051},
		{"060400000001640000a80100", 0xc05c}, /* a bit block of words */
		{"02080000", 0xc05d},
		{"051000000100", 0x4013}, /* latch clear in RUN */
		{"061000000100", 0x4013},
		{"011000000200"
		 "0000",
		 0xc05c},
		{"19060000050041424347"
		 "45",
		 0xc05c}, /* G is no digit */
		{"19060000050041424361"
		 "45",
		 0xc05c}, /* upper case only */
		{"19060000060041424344"
		 "45",
		 0xc061},
		{"13060000ff7f00000100", 0x0000},
		{"13060000ff7f00000200", 0xc056},
		{"17160000", 0x0000},
	};
	struct plc plc;

	(void)state;
	plc_start(&plc);
	for (size_t i = 0; i < ARRAY_SIZE(REFUSALS); i++)
		expect_body(&plc, REFUSALS[i].body, REFUSALS[i].end_code);
	plc_stop(&plc);
}

static void test_ascii_end_codes(void **state)
{
	struct plc plc;

	(void)state;
	plc_start(&plc);
	expect_end(&plc, MC_CODE_ASCII, "500000FF03FF000018001004010000D*00010A0001", 0xc050);
	expect_end(&plc, MC_CODE_ASCII, "500000FF03FF000018001004010000X*00010A0001", 0x0000);
	expect_end(&plc, MC_CODE_ASCII, "500000FF03FF000018001004010000D    1000001", 0x0000);
	expect_end(&plc, MC_CODE_ASCII, "500000FF03FF000018001004010000Q*0001000001", 0xc05b);
	expect_end(&plc, MC_CODE_ASCII, "500000FF03FF000018001004010001M*0000000E01", 0xc052);
	plc_stop(&plc);
}

static void test_refused_write_changes_nothing(void **state)
{
	struct plc plc;

	(void)state;
	plc_start(&plc);
	/* D110 is fine, the second one is not there. */
	expect_body(&plc,
		    "0214000002006e0000a850050000"
		    "01a85005",
		    0x4031);
	check_memory(&plc, "D110=0");
	/* The values end too early. */
	expect_body(&plc, "01140000640000a8030095190212", 0xc061);
	check_memory(&plc, "D100=0,0,0");
	expect_body(&plc,
		    "06140000020064"
		    "0000a801000100"
		    "640000a80200"
		    "0200",
		    0xc061);
	check_memory(&plc, "D100=0,0");
	plc_stop(&plc);
}

static void test_iqr_forms(void **state)
{
	struct plc plc;

	(void)state;
	plc_start(&plc);
	expect_body(&plc,
		    "021402000101"
		    "64000000a8003412"
		    "0a0000005200efbeadde",
		    0);
	check_memory(&plc, "D100=0x1234");
	run(&plc, MC_CODE_BINARY,
	    "500000ffff030014001000030402000101"
	    "64000000a800"
	    "0a0000005200");
	assert_int_equal(plc.outcome.length, 11 + 6);
	assert_memory_equal(plc.answer + 11, "\x34\x12\xef\xbe\xad\xde", 6);
	/* Two bytes of state. */
	expect_body(&plc,
		    "02140300"
		    "01"
		    "6400000090000100",
		    0);
	check_memory(&plc, "M100=1");
	plc_stop(&plc);
}

static void test_password(void **state)
{
	static const char READ[] = "500000ffff03000c00100001040000640000a80100";
	static const char WRONG[] = "500000ffff03000c00100030160000040031323335";
	static const char RIGHT[] = "500000ffff03000c00100030160000040031323334";
	static const char LOCK[] = "500000ffff03000c00100031160000040031323334";
	struct plc plc;

	(void)state;
	plc_start(&plc);
	snprintf(plc.cpu.password, sizeof(plc.cpu.password), "1234");
	expect_end(&plc, MC_CODE_BINARY, READ, 0xc201);
	expect_end(&plc, MC_CODE_BINARY,
		   "01ff0a0064000000204402"
		   "00",
		   0x5b);
	expect_end(&plc, MC_CODE_BINARY, WRONG, 0xc200);
	expect_end(&plc, MC_CODE_BINARY, READ, 0xc201);
	expect_end(&plc, MC_CODE_BINARY, RIGHT, 0);
	expect_end(&plc, MC_CODE_BINARY, READ, 0);
	expect_end(&plc, MC_CODE_BINARY, LOCK, 0);
	expect_end(&plc, MC_CODE_BINARY, READ, 0xc201);
	expect_end(&plc, MC_CODE_ASCII, "500000FF03FF00001400101630000000041234", 0);
	plc.link = (struct mcplc_link){.unlocked = false}; /* another connection */
	expect_end(&plc, MC_CODE_BINARY, READ, 0xc201);
	plc_stop(&plc);
}

static void test_route(void **state)
{
	static const char OTHER[] = "500001020003000c00100001040000640000a80100";
	struct plc plc;

	(void)state;
	plc_start(&plc);
	expect(&plc, MC_CODE_BINARY, OTHER,
	       "d00001020003000b005fc00102000300"
	       "01040000");
	plc.cpu.stations[plc.cpu.station_count++] = (struct mc_route){1, 2, 0x300, 0};
	expect(&plc, MC_CODE_BINARY, OTHER,
	       "d000010200030004000000"
	       "0000");
	plc_stop(&plc);
}

static void test_cpu_state(void **state)
{
	struct plc plc;

	(void)state;
	plc_start(&plc);
	mcplc_memory_set_text(plc.cpu.memory, "D1=1");
	mcplc_memory_set_text(plc.cpu.memory, "L1=1");
	mcplc_memory_set_text(plc.cpu.memory, "R1=1");
	expect_body(&plc, "021000000100", 0);
	assert_int_equal(plc.cpu.state, MCPLC_STOP);
	check_memory(&plc, "SD203=2");
	expect_body(&plc, "0110000001000100", 0); /* clear all but latched */
	assert_int_equal(plc.cpu.state, MCPLC_RUN);
	check_memory(&plc, "D1=0");
	check_memory(&plc, "L1=1");
	check_memory(&plc, "ZR1=1");
	expect_end(&plc, MC_CODE_BINARY, "14ff0a00", 0);
	assert_int_equal(plc.cpu.state, MCPLC_STOP);
	expect_body(&plc, "051000000100", 0);
	check_memory(&plc, "L1=0");
	expect_body(&plc, "061000000100", 0);
	assert_int_equal(plc.outcome.action, MCPLC_RESET);
	assert_int_equal(plc.cpu.state, MCPLC_RUN);
	plc_stop(&plc);
}

static void test_monitor_is_shared(void **state)
{
	struct plc plc;

	(void)state;
	plc_start(&plc);
	mcplc_memory_set_text(plc.cpu.memory, "D1=1,2");
	expect_body(&plc, "010800000100010000a8", 0);
	expect_body(&plc, "010800000100020000a8", 0);
	expect(&plc, MC_CODE_BINARY, "500000ffff03000600100002080000",
	       "d00000ffff030004000000"
	       "0200");
	plc_stop(&plc);
}

static void test_1e_complete_codes(void **state)
{
	static const struct refusal REFUSALS[] = {
		{"00ff0a0064000000204d0000", 0x00}, /* 256 bits */
		{"01ff0a0064000000214402"
		 "00",
		 0x56},
		{"00ff0a0064000000204408"
		 "00",
		 0x58}, /* bits of a word device */
		{"01ff0a0064000000204d02"
		 "00",
		 0x58}, /* M100 by words: no multiple of 16 */
		{"01ff0a0060000000204d80"
		 "00",
		 0x00},
		{"01ff0a0060000000204d81"
		 "00",
		 0x57},
		{"01ff0a00ffff0000204402"
		 "00",
		 0x57},
		{"02ff0a0064000000204d01"
		 "0020",
		 0x58},
		{"04ff0a00010064000000204d02", 0x58},
		{"04ff0a00010064000000204d01", 0x00},
		{"15fe0a00", 0x5b},
		{"16ff0a0003414243", 0x00},
		{"16ff0a0000", 0x58},
		{"60000100"
		 "1234",
		 0x5b}, /* PC number 00 */
	};
	struct plc plc;

	(void)state;
	plc_start(&plc);
	for (size_t i = 0; i < ARRAY_SIZE(REFUSALS); i++)
		expect_end(&plc, MC_CODE_BINARY, REFUSALS[i].body, REFUSALS[i].end_code);
	expect(&plc, MC_CODE_BINARY, "16ff0a0003414243", "960003414243");
	expect_end(&plc, MC_CODE_ASCII, "01FF000A4420000000GG0200", 0x54);
	plc_stop(&plc);
}

static void test_1e_odd_bits_and_monitor(void **state)
{
	struct plc plc;

	(void)state;
	plc_start(&plc);
	mcplc_memory_set_text(plc.cpu.memory, "M100=1,1,1");
	expect(&plc, MC_CODE_ASCII, "00FF000A4D20000000640300", "80001110");
	expect(&plc, MC_CODE_BINARY, "00ff0a0064000000204d0300", "80001110");
	expect(&plc, MC_CODE_ASCII, "02FF000A4D200000006403000100", "8200");
	check_memory(&plc, "M100=0,1,0");
	expect(&plc, MC_CODE_BINARY, "06ff0a00010065000000204d", "8600");
	expect(&plc, MC_CODE_BINARY, "08ff0a00", "880010");
	expect(&plc, MC_CODE_ASCII, "07FF000A0100442000000064", "8700");
	expect(&plc, MC_CODE_ASCII, "09FF000A", "89000000");
	plc_stop(&plc);
}

static void test_device_limits(void **state)
{
	struct plc plc;

	(void)state;
	plc_start(&plc);
	assert_int_equal(mcplc_memory_limit_text(plc.cpu.memory, "D=200,V=0"), 0);
	expect_body(&plc, "01040000c70000a80100", 0);
	expect_body(&plc, "01040000c80000a80100", 0x4031);
	expect_body(&plc, "01040100000000940100", 0x4030);
	assert_int_equal(mcplc_memory_set_text(plc.cpu.memory, "D200=1"), -EINVAL);
	assert_int_equal(mcplc_memory_set_text(plc.cpu.memory, "D199=65536"), -EINVAL);
	assert_int_equal(mcplc_memory_set_text(plc.cpu.memory, "M1=2"), -EINVAL);
	assert_int_equal(mcplc_memory_set_text(plc.cpu.memory, "D1"), -EINVAL);
	assert_int_equal(mcplc_memory_limit_text(plc.cpu.memory, "D=-1"), -EINVAL);
	plc_stop(&plc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_sizes_that_are_told),
		cmocka_unit_test(test_log_names_devices),
		cmocka_unit_test(test_end_codes),
		cmocka_unit_test(test_ascii_end_codes),
		cmocka_unit_test(test_refused_write_changes_nothing),
		cmocka_unit_test(test_iqr_forms),
		cmocka_unit_test(test_password),
		cmocka_unit_test(test_route),
		cmocka_unit_test(test_cpu_state),
		cmocka_unit_test(test_monitor_is_shared),
		cmocka_unit_test(test_1e_complete_codes),
		cmocka_unit_test(test_1e_odd_bits_and_monitor),
		cmocka_unit_test(test_device_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
