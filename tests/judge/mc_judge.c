/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What daemon/mc says of request frames, for a test to compare with another decoder: lines of
 * hexadecimal on standard input, one line of JSON for each on standard output.
 *
 *   {"rule":"frame"}     no frame, or not exactly one
 *   {"family":"3E","code":"binary","route":[0,255,1023,0],"own":1,"command":1025,"subcommand":0,
 *    "rule":"none","class":"read","opaque":0,"ranges":[["D",100,101,0]],"points":2,"answer":4}
 *
 * (on one line; in 1E the route is the PC number alone). Ranges: device, first, last, written?
 * Answer: bytes of the wire behind end code 0000; -1: any.
 */
#include "mc/mc_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* Two counts of one byte each are the most that a frame has. */
#define RANGES_MAX 512

struct verdict {
	struct mc_range ranges[RANGES_MAX];
	size_t count;
	struct mc_access access;
};

static void remember(void *context, const struct mc_range *range)
{
	struct verdict *verdict = context;

	if (verdict->count < ARRAY_SIZE(verdict->ranges))
		verdict->ranges[verdict->count] = *range;
	verdict->count++;
}

static void print_head(const struct mc_request *request)
{
	const struct mc_route *route = &request->route;

	printf("{\"family\":\"%s\",\"code\":\"%s\",\"route\":[",
	       mc_frame_family_name(request->family), mc_frame_code_name(request->code));
	if (request->family == MC_FAMILY_1E)
		printf("%u", route->pc);
	else
		printf("%u,%u,%u,%u", route->network, route->pc, route->module, route->station);
	printf("],\"own\":%d,\"command\":%u,\"subcommand\":%u,",
	       mc_access_is_own(request->family, route), request->command, request->subcommand);
}

static void print_ranges(const struct verdict *verdict)
{
	printf("\"ranges\":[");
	for (size_t i = 0; i < verdict->count && i < ARRAY_SIZE(verdict->ranges); i++) {
		const struct mc_range *range = &verdict->ranges[i];

		printf("%s[\"%s\",%u,%u,%d]", i > 0 ? "," : "", range->device->name, range->first,
		       range->last, range->write);
	}
	putchar(']');
}

static void judge(const struct mc_stream *stream, const uint8_t *bytes, size_t size)
{
	struct verdict verdict = {.count = 0};
	struct mc_request request;
	struct mc_frame frame;
	enum mc_split split = mc_stream_split(stream, MC_REQUEST, bytes, size, SIZE_MAX, &frame);
	uint16_t answer;

	if (split != MC_SPLIT_FRAME || frame.length != size ||
	    mc_frame_parse_request(bytes, size, &request) != 0) {
		puts("{\"rule\":\"frame\"}");
		return;
	}
	mc_access_read(&request, remember, &verdict, &verdict.access);
	print_head(&request);
	printf("\"rule\":\"%s\",\"class\":\"%s\",\"opaque\":%d,",
	       mc_access_rule_name(verdict.access.rule),
	       verdict.access.command ? mc_command_class_name(verdict.access.class) : "-",
	       verdict.access.opaque);
	print_ranges(&verdict);
	answer = mc_answer_size(&request, &verdict.access);
	printf(",\"points\":%u,\"answer\":%d}\n", verdict.access.points,
	       answer == MC_ANSWER_ANY ? -1 : answer);
}

static void pass(struct mc_stream *stream, enum mc_direction direction, const char *bytes,
		 size_t size)
{
	struct mc_frame frame;

	if (mc_stream_split(stream, direction, (const uint8_t *)bytes, size, SIZE_MAX, &frame) !=
	    MC_SPLIT_FRAME)
		abort();
	mc_stream_passed(stream, direction, (const uint8_t *)bytes, &frame);
}

/* One point of M, one of D: without a registration, 1E's 08 and 09 have no answer to wait for. */
static void register_monitors(struct mc_stream *stream)
{
	pass(stream, MC_REQUEST, "\x06\xff\x10\0\1\0\0\0\0\0 M", 12);
	pass(stream, MC_ANSWER, "\x86\0", 2);
	pass(stream, MC_REQUEST, "\x07\xff\x10\0\1\0\0\0\0\0 D", 12);
	pass(stream, MC_ANSWER, "\x87\0", 2);
}

static bool bytes_from_hex(const char *digits, uint8_t *bytes, size_t size)
{
	uint32_t value;

	for (size_t i = 0; i < size; i++) {
		if (!mc_number_from_hex((const uint8_t *)digits + 2 * i, 2, &value))
			return false;
		bytes[i] = (uint8_t)value;
	}
	return true;
}

/* From memory of just its size: a sanitizer sees who reads on. */
static bool judge_line(const struct mc_stream *stream, const char *line)
{
	size_t digits = strcspn(line, "\n"), size = digits / 2;
	uint8_t *bytes = malloc(size > 0 ? size : 1);
	bool good = bytes && digits % 2 == 0 && bytes_from_hex(line, bytes, size);

	if (good)
		judge(stream, bytes, size);
	else
		fprintf(stderr, "mc_judge: not hexadecimal: %.40s\n", line);
	free(bytes);
	return good;
}

int main(void)
{
	cleanup_free char *line = NULL;
	struct mc_stream stream = {0};
	size_t room = 0;

	register_monitors(&stream);
	while (getline(&line, &room, stdin) > 0) {
		if (!judge_line(&stream, line))
			return EXIT_FAILURE;
	}
	return fflush(stdout) == 0 && !ferror(stdin) ? EXIT_SUCCESS : EXIT_FAILURE;
}
