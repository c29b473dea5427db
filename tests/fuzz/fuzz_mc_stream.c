/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frame boundaries never depend on how the bytes arrive. A conversation (request, answer,
 * request, ...) is split twice, once with all bytes there, once cut as the input says; both
 * must give the same frames and the same end.
 *
 * Input: seed of the cuts (1 byte), length of the requests (2 bytes, big-endian), the requests,
 * then the answers. Bytes are handed over in blocks of exactly their size, so that the address
 * sanitizer sees one byte read too many.
 */
#include "base/bytes.h"
#include "mc/mc_stream.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_MAX  8200
#define FRAMES_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

struct record {
	size_t count;
	struct mc_frame frames[FRAMES_MAX];
	enum mc_split last;
};

struct flow {
	const uint8_t *bytes;
	size_t size;
	size_t start;   /* of the frame to be found */
	size_t visible; /* end of what has arrived */
};

static void check(bool holds)
{
	if (!holds)
		abort();
}

static size_t next_cut(uint32_t *seed)
{
	if (*seed == 0)
		return SIZE_MAX; /* no cuts */
	*seed = *seed * 1103515245 + 12345;
	return 1 + (*seed >> 16) % 13;
}

static enum mc_split split_copy(const struct mc_stream *stream, enum mc_direction direction,
				const struct flow *flow, struct mc_frame *frame)
{
	size_t size = flow->visible - flow->start;
	uint8_t *copy = malloc(size ? size : 1);
	enum mc_split result;

	check(copy);
	memcpy(copy, flow->bytes + flow->start, size);
	result = mc_stream_split(stream, direction, copy, size, FRAME_MAX, frame);
	if (result == MC_SPLIT_MORE)
		check(frame->need > size && frame->need <= FRAME_MAX);
	if (result == MC_SPLIT_FRAME)
		check(frame->length <= size && frame->length >= 2);
	free(copy);
	return result;
}

/* One frame of one direction; what has arrived grows by cuts while more is needed. */
static enum mc_split find_frame(const struct mc_stream *stream, enum mc_direction direction,
				struct flow *flow, uint32_t *seed, struct mc_frame *frame)
{
	size_t needed = 0;

	for (;;) {
		size_t left = flow->size - flow->visible;
		enum mc_split result = split_copy(stream, direction, flow, frame);
		size_t cut;

		if (result == MC_SPLIT_FRAME)
			check(needed <= frame->length);
		if (result != MC_SPLIT_MORE || left == 0)
			return result;
		check(frame->need >= needed);
		needed = frame->need;
		cut = next_cut(seed);
		flow->visible += cut < left ? cut : left;
	}
}

static void converse(const uint8_t *requests, size_t requests_size, const uint8_t *answers,
		     size_t answers_size, uint32_t seed, struct record *record)
{
	struct flow flows[2] = {[MC_REQUEST] = {.bytes = requests, .size = requests_size},
				[MC_ANSWER] = {.bytes = answers, .size = answers_size}};
	struct mc_stream stream = {.family = MC_FAMILY_NONE};
	enum mc_direction direction = MC_REQUEST;

	record->count = 0;
	do {
		struct mc_frame *frame = &record->frames[record->count];
		struct flow *flow = &flows[direction];

		record->last = find_frame(&stream, direction, flow, &seed, frame);
		if (record->last != MC_SPLIT_FRAME)
			return;
		mc_stream_passed(&stream, direction, flow->bytes + flow->start, frame);
		flow->start += frame->length;
		direction = direction == MC_REQUEST ? MC_ANSWER : MC_REQUEST;
	} while (++record->count < FRAMES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static struct record whole;
	static struct record cut;
	size_t requests;

	if (size < 3)
		return 0;
	requests = get_be16(input + 1);
	if (requests > size - 3)
		requests = size - 3;
	converse(input + 3, requests, input + 3 + requests, size - 3 - requests, 0, &whole);
	converse(input + 3, requests, input + 3 + requests, size - 3 - requests, input[0] + 1u,
		 &cut);
	/* In turn, a request never has to wait. */
	check(whole.last != MC_SPLIT_WAIT);
	check(whole.last == cut.last && whole.count == cut.count);
	for (size_t i = 0; i < whole.count; i++)
		check(whole.frames[i].length == cut.frames[i].length &&
		      whole.frames[i].family == cut.frames[i].family &&
		      whole.frames[i].code == cut.frames[i].code);
	return 0;
}
