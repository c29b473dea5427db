/* SPDX-License-Identifier: Apache-2.0 */
#include "mc/mc_answer.h"

#include "base/error.h"
#include "mc/mc_number.h"

#include <string.h>

_Static_assert(sizeof(struct mc_echo) <= 12, "every session has one");

/* --- what follows the end code --------------------------------------------------------------- */

enum content {
	CONTENT_NONE,
	CONTENT_VALUES, /* of every point that the request names, in its order */
	CONTENT_SAME,   /* the data of the request */
};

struct content_row {
	uint16_t command;
	enum content content;
};

/*
 * What clients poll with stands first. Not here, so that anything may come: the CPU's model (0101),
 * the buffers of other modules (0601), what somebody registered before (0802), remote RESET (1006:
 * an answer or none), labels, files, and commands that no manual at hand tells the answer of.
 */
static const struct content_row CONTENTS[] = {
	{0x0401, CONTENT_VALUES}, {0x0403, CONTENT_VALUES}, {0x0406, CONTENT_VALUES},
	{0x1401, CONTENT_NONE},   {0x1402, CONTENT_NONE},   {0x1406, CONTENT_NONE},
	{0x0613, CONTENT_VALUES}, {0x0619, CONTENT_SAME},   {0x0801, CONTENT_NONE},
	{0x1001, CONTENT_NONE},   {0x1002, CONTENT_NONE},   {0x1003, CONTENT_NONE},
	{0x1005, CONTENT_NONE},   {0x1601, CONTENT_NONE},   {0x1613, CONTENT_NONE},
	{0x1617, CONTENT_NONE},   {0x1630, CONTENT_NONE},   {0x1631, CONTENT_NONE},
};

/* Bits: two in a byte, an odd one alone; in ASCII a character each. */
static uint16_t values_size(enum mc_code code, const struct mc_access *access)
{
	uint32_t size = code == MC_CODE_ASCII ? access->bits + 4 * access->words
					      : (access->bits + 1) / 2 + 2 * access->words;

	/* The limits of points keep it far below MC_ANSWER_ANY. */
	return access->halves ? MC_ANSWER_ANY : (uint16_t)size;
}

static uint16_t content_size(enum content content, const struct mc_request *request,
			     const struct mc_access *access)
{
	switch (content) {
	case CONTENT_NONE:
		break;
	case CONTENT_VALUES:
		return values_size(request->code, access);
	case CONTENT_SAME:
		return (uint16_t)request->data_size;
	}
	return 0;
}

uint16_t mc_answer_size(const struct mc_request *request, const struct mc_access *access)
{
	if (request->family == MC_FAMILY_1E || access->rule != MC_RULE_NONE)
		return MC_ANSWER_ANY;
	for (size_t i = 0; i < ARRAY_SIZE(CONTENTS); i++) {
		if (CONTENTS[i].command == request->command)
			return content_size(CONTENTS[i].content, request, access);
	}
	return MC_ANSWER_ANY;
}

/* --- the head of an answer ------------------------------------------------------------------- */

struct head {
	const char *subheader;
	uint8_t subheader_size; /* 1E has none, but its command */
	uint8_t mark_size;      /* of a serial number; it stands behind the subheader */
	uint8_t end_code_at;
	uint8_t size; /* up to and including the end code */
};

/* By enum mc_family and enum mc_code. */
static const struct head HEADS[][2] = {
	[MC_FAMILY_NONE] = {{NULL, 0, 0, 0, 0}, {NULL, 0, 0, 0, 0}},
	[MC_FAMILY_1E] = {{NULL, 0, 0, 1, 2}, {NULL, 0, 0, 2, 4}},
	[MC_FAMILY_3E] = {{"\xd0\x00", 2, 0, 9, 11}, {"D000", 4, 0, 18, 22}},
	[MC_FAMILY_4E] = {{"\xd4\x00", 2, 2, 13, 15}, {"D400", 4, 4, 26, MC_ANSWER_HEAD_MAX}},
};

enum { ANSWER_1E = 0x80 };

void mc_answer_expect(struct mc_echo *echo, const struct mc_request *request,
		      const struct mc_access *access)
{
	*echo = (struct mc_echo){.size = mc_answer_size(request, access),
				 .family = (uint8_t)request->family,
				 .code = (uint8_t)request->code};
	if (request->family == MC_FAMILY_1E)
		echo->mark[0] = (uint8_t)request->command;
	else
		memcpy(echo->mark, request->serial, sizeof(echo->mark));
}

static const struct head *head_of(const struct mc_echo *echo)
{
	return &HEADS[echo->family][echo->code];
}

size_t mc_answer_head(const struct mc_echo *echo)
{
	return head_of(echo)->size;
}

/* The bytes at `at` up to `end` as one number; false: ASCII that is not hexadecimal. */
static bool number_at(enum mc_code code, const uint8_t *bytes, size_t at, size_t end,
		      uint32_t *number)
{
	size_t size = end - at;
	struct mc_reader reader = {.code = code, .at = bytes + at, .left = size};

	*number = mc_reader_number(&reader, code == MC_CODE_ASCII ? size / 2 : size);
	return mc_reader_done(&reader);
}

static bool is_answer(const struct mc_echo *echo, const uint8_t *head)
{
	const struct head *form = head_of(echo);
	uint32_t command;

	if (form->subheader != NULL)
		return memcmp(head, form->subheader, form->subheader_size) == 0;
	return number_at(echo->code, head, 0, form->end_code_at, &command) &&
	       command == (echo->mark[0] | (uint32_t)ANSWER_1E);
}

/*
 * Byte for byte. But a PLC that takes the characters for a number writes it in capitals, and some
 * clients use small letters: in ASCII code the same number will do.
 */
static bool is_marked(const struct mc_echo *echo, const uint8_t *head)
{
	const struct head *form = head_of(echo);
	const uint8_t *mark = head + form->subheader_size;
	uint32_t asked, answered;

	if (memcmp(mark, echo->mark, form->mark_size) == 0)
		return true;
	return echo->code == MC_CODE_ASCII &&
	       mc_number_from_hex(echo->mark, form->mark_size, &asked) &&
	       mc_number_from_hex(mark, form->mark_size, &answered) && asked == answered;
}

enum mc_answer_fit mc_answer_fits(const struct mc_echo *echo, const uint8_t *head, size_t size,
				  size_t length, uint16_t *end_code)
{
	const struct head *form = head_of(echo);
	uint32_t number;

	*end_code = 0;
	if (size < form->size)
		return MC_ANSWER_SHORT;
	if (!is_answer(echo, head))
		return MC_ANSWER_SUBHEADER;
	if (!is_marked(echo, head))
		return MC_ANSWER_SERIAL;
	if (!number_at(echo->code, head, form->end_code_at, form->size, &number))
		return MC_ANSWER_END_CODE;
	*end_code = (uint16_t)number;
	if (number == 0 && echo->size != MC_ANSWER_ANY && length != form->size + echo->size)
		return MC_ANSWER_LENGTH;
	return MC_ANSWER_FITS;
}

const char *mc_answer_fit_name(enum mc_answer_fit fit)
{
	static const char *const NAMES[MC_ANSWER_FIT_COUNT] = {
		[MC_ANSWER_FITS] = "none",
		[MC_ANSWER_SHORT] = "answer-short",
		[MC_ANSWER_SUBHEADER] = "answer-subheader",
		[MC_ANSWER_SERIAL] = "answer-serial",
		[MC_ANSWER_END_CODE] = "answer-end-code",
		[MC_ANSWER_LENGTH] = "answer-length",
	};

	return NAMES[fit];
}
