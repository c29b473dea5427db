/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any stream of requests into the simulated PLC: it survives, and whatever it answers is exactly
 * one frame as mc_stream.c and mc_frame.c read it, of the size that mc_answer.c told before, and
 * fits no other request. Requests also survive being taken apart and put together again.
 */
#include "mcplc_memory.h"
#include "mcplc_cpu.h"
#include "mcplc_access.h"
#include "mcplc_1e.h"
#include "mcplc_request.h"

#include "mc/mc_answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_MAX 8200

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* Made once and cleared for each input: small devices, so that edges are near. */
static struct mcplc_memory *small_memory(void)
{
	static struct mcplc_memory *memory;

	if (!memory) {
		memory = mcplc_memory_new();
		check(memory);
		check(mcplc_memory_limit_text(memory, "D=1200,M=7200,X=512,Y=100,ZR=300,V=0") == 0);
	}
	mcplc_memory_clear(memory, true);
	return memory;
}

static void check_round_trip(const uint8_t *bytes, const struct mc_frame *frame)
{
	static uint8_t out[FRAME_MAX];
	struct mc_request request;
	struct mc_request again;
	size_t size;

	if (mc_frame_parse_request(bytes, frame->length, &request) < 0)
		return;
	check(request.family == frame->family && request.code == frame->code);
	size = mc_frame_put_request(&request, out, sizeof(out));
	check(size == frame->length);
	check(mc_frame_parse_request(out, size, &again) == 0);
	check(again.command == request.command && again.subcommand == request.subcommand &&
	      again.timer == request.timer && again.data_size == request.data_size &&
	      mc_frame_route_equal(&again.route, &request.route) &&
	      memcmp(again.data, request.data, request.data_size) == 0);
}

static void check_answer(struct mc_stream *stream, const uint8_t *bytes,
			 const struct mcplc_outcome *outcome)
{
	struct mc_answer answer;
	struct mc_frame frame;

	check(mc_stream_split(stream, MC_ANSWER, bytes, outcome->length, FRAME_MAX, &frame) ==
	      MC_SPLIT_FRAME);
	check(frame.length == outcome->length);
	check(mc_frame_parse_answer(bytes, frame.length, frame.code, &answer) == 0);
	check(answer.end_code == outcome->end_code);
	check(strlen(outcome->devices) < sizeof(outcome->devices));
	mc_stream_passed(stream, MC_ANSWER, bytes, &frame);
}

/* Any bytes in the place of an answer, in memory of just their size. */
static void check_any_head(const struct mc_echo *echo, const uint8_t *bytes, size_t length)
{
	size_t size = length < MC_ANSWER_HEAD_MAX ? length : MC_ANSWER_HEAD_MAX;
	uint8_t *copy = malloc(size ? size : 1);
	enum mc_answer_fit fit;
	uint16_t end_code;

	check(copy);
	memcpy(copy, bytes, size);
	fit = mc_answer_fits(echo, copy, size, length, &end_code);
	check((fit == MC_ANSWER_SHORT) == (size < mc_answer_head(echo)));
	check(fit < MC_ANSWER_FIT_COUNT && *mc_answer_fit_name(fit) != 0);
	free(copy);
}

/* The PLC's own answer fits. One byte more does not, nor another's serial number. */
static void check_told(const struct mc_echo *echo, uint8_t *answer,
		       const struct mcplc_outcome *outcome)
{
	bool sized = outcome->end_code == 0 && echo->size != MC_ANSWER_ANY;
	size_t serial_at = echo->code == MC_CODE_ASCII ? 4 : 2;
	uint16_t end_code;

	check(mc_answer_fits(echo, answer, mc_answer_head(echo), outcome->length, &end_code) ==
	      MC_ANSWER_FITS);
	check(end_code == outcome->end_code);
	check(mc_answer_fits(echo, answer, mc_answer_head(echo), outcome->length + 1, &end_code) ==
	      (sized ? MC_ANSWER_LENGTH : MC_ANSWER_FITS));
	if (echo->family != MC_FAMILY_4E)
		return;
	answer[serial_at] ^= 1;
	check(mc_answer_fits(echo, answer, outcome->length, outcome->length, &end_code) ==
	      MC_ANSWER_SERIAL);
	answer[serial_at] ^= 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static struct mcplc_cpu cpu;
	struct mcplc_link link = {.unlocked = false};
	struct mc_stream stream = {.family = MC_FAMILY_NONE};
	struct mc_frame frame;

	cpu = (struct mcplc_cpu){.memory = small_memory(), .model = "Q03UDVCPU"};
	if (size > 0 && input[0] & 1)
		memcpy(cpu.password, "1234", 5);
	for (size_t at = 1; at < size; at += frame.length) {
		uint8_t answer[MCPLC_ANSWER_SIZE];
		struct mcplc_outcome outcome;
		struct mc_access access;
		struct mc_echo echo;
		int error;

		if (mc_stream_split(&stream, MC_REQUEST, input + at, size - at, FRAME_MAX,
				    &frame) != MC_SPLIT_FRAME)
			break;
		check_round_trip(input + at, &frame);
		error = mcplc_request_execute(&cpu, &link, input + at, frame.length, answer,
					      &outcome);
		check(error == 0 || error == -EBADMSG);
		if (error)
			break; /* the connection ends */
		mc_access_read(&outcome.request, NULL, NULL, &access);
		mc_answer_expect(&echo, &outcome.request, &access);
		check_any_head(&echo, input + at, size - at);
		if (outcome.action == MCPLC_RESET)
			break;
		mc_stream_passed(&stream, MC_REQUEST, input + at, &frame);
		check_answer(&stream, answer, &outcome);
		check_told(&echo, answer, &outcome);
	}
	return 0;
}
