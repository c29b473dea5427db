/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A table says for each command which subcommands it has and how its data is laid out; there is
 * one small reader for each layout. They walk over the data with mc_reader, which notices its end
 * and characters that are no digits, and call found() for each device range. What is left over at
 * the end, or was missing, is MC_RULE_LENGTH. The first fault counts.
 *
 * Word access to a bit device touches 16 of its points for each word. A 32-bit entry of a random
 * read touches two words, or 32 bits, or one point of a device that has 32 bits itself.
 *
 * Points are limited as the most capable CPUs limit them; a smaller one refuses for itself.
 */
#include "mc/mc_access.h"

#include "base/error.h"

#include <string.h>

enum layout {
	LAYOUT_NONE, /* no data at all */
	LAYOUT_BATCH_READ,
	LAYOUT_BATCH_WRITE,
	LAYOUT_RANDOM_READ,
	LAYOUT_RANDOM_WRITE,
	LAYOUT_BLOCK_READ,
	LAYOUT_BLOCK_WRITE,
	LAYOUT_BUFFER_READ, /* buffer memory of the own module */
	LAYOUT_BUFFER_WRITE,
	LAYOUT_MODULE_READ, /* buffer memory of an intelligent function module */
	LAYOUT_MODULE_WRITE,
	LAYOUT_MONITOR, /* nothing: what was registered before is read, by whomever it was */
	LAYOUT_LOOPBACK,
	LAYOUT_RUN,
	LAYOUT_PAUSE,
	LAYOUT_MODE,   /* the number 1 of two bytes */
	LAYOUT_OPAQUE, /* not looked into */
};

#define SUB(n)      (1U << (n))
#define SUB_WORDS   (SUB(0) | SUB(2)) /* Q/L and iQ-R forms */
#define SUB_DEVICES (SUB(0) | SUB(1) | SUB(2) | SUB(3))
#define SUB_ANY     0U

struct layout_row {
	uint16_t code;
	enum layout layout;
	unsigned int subcommands; /* bits; SUB_ANY: not looked at */
};

/* Commands that are not here are LAYOUT_OPAQUE. */
static const struct layout_row LAYOUTS[] = {
	{0x0101, LAYOUT_NONE, SUB(0)},
	{0x0401, LAYOUT_BATCH_READ, SUB_DEVICES},
	{0x0403, LAYOUT_RANDOM_READ, SUB_WORDS},
	{0x0406, LAYOUT_BLOCK_READ, SUB_WORDS},
	{0x0601, LAYOUT_MODULE_READ, SUB(0)},
	{0x0613, LAYOUT_BUFFER_READ, SUB(0)},
	{0x0619, LAYOUT_LOOPBACK, SUB(0)},
	{0x0801, LAYOUT_RANDOM_READ, SUB_WORDS},
	{0x0802, LAYOUT_MONITOR, SUB(0)},
	{0x0808, LAYOUT_OPAQUE, SUB(0) | SUB(1)},
	{0x1001, LAYOUT_RUN, SUB(0)},
	{0x1002, LAYOUT_MODE, SUB(0)},
	{0x1003, LAYOUT_PAUSE, SUB(0)},
	{0x1005, LAYOUT_MODE, SUB(0)},
	{0x1006, LAYOUT_MODE, SUB(0)},
	{0x1401, LAYOUT_BATCH_WRITE, SUB_DEVICES},
	{0x1402, LAYOUT_RANDOM_WRITE, SUB_DEVICES},
	{0x1406, LAYOUT_BLOCK_WRITE, SUB_WORDS},
	{0x1601, LAYOUT_MODULE_WRITE, SUB(0)},
	{0x1613, LAYOUT_BUFFER_WRITE, SUB(0)},
	{0x1617, LAYOUT_NONE, SUB(0) | SUB(1)},
	{0x1619, LAYOUT_NONE, SUB(0) | SUB(1)},
	{0x1630, LAYOUT_OPAQUE, SUB(0)},
	{0x1631, LAYOUT_OPAQUE, SUB(0)},
};

static const struct layout_row LAYOUTS_1E[] = {
	{0x00, LAYOUT_BATCH_READ, SUB_ANY},   {0x01, LAYOUT_BATCH_READ, SUB_ANY},
	{0x02, LAYOUT_BATCH_WRITE, SUB_ANY},  {0x03, LAYOUT_BATCH_WRITE, SUB_ANY},
	{0x04, LAYOUT_RANDOM_WRITE, SUB_ANY}, {0x05, LAYOUT_RANDOM_WRITE, SUB_ANY},
	{0x06, LAYOUT_RANDOM_READ, SUB_ANY},  {0x07, LAYOUT_RANDOM_READ, SUB_ANY},
	{0x08, LAYOUT_MONITOR, SUB_ANY},      {0x09, LAYOUT_MONITOR, SUB_ANY},
	{0x13, LAYOUT_NONE, SUB_ANY},         {0x14, LAYOUT_NONE, SUB_ANY},
	{0x15, LAYOUT_NONE, SUB_ANY},         {0x16, LAYOUT_LOOPBACK, SUB_ANY},
};

/* End codes, 3E/4E and 1E, as the manuals have them. */
enum {
	END_POINTS_WORDS = 0xc051,
	END_POINTS_BITS = 0xc052,
	END_POINTS_RANDOM_BITS = 0xc053,
	END_POINTS_RANDOM = 0xc054,
	END_HIGHEST = 0xc056,
	END_COMMAND = 0xc059,
	END_DEVICE = 0xc05b,
	END_CONTENT = 0xc05c,
	END_BITS = 0xc060,
	END_LENGTH = 0xc061,
	COMPLETE_COMMAND = 0x50,
	COMPLETE_DEVICE = 0x56,
	COMPLETE_POINTS = 0x57,
	COMPLETE_LENGTH = 0x58,
};

enum { WORDS_MAX = 960, BITS_MAX = 7168, BITS_MAX_ASCII = 3584, BYTES_MAX = 1920 };

/* How one entry of a request counts its points. */
enum unit {
	UNIT_BITS,
	UNIT_WORDS,
	UNIT_DWORDS,
};

struct walk {
	const struct mc_request *request;
	struct mc_reader reader;
	enum mc_device_form form;
	bool bits; /* subcommand asks for bit units */
	bool write;
	mc_access_visit *visit;
	mc_access_value *value;
	void *context;
	struct mc_access *access;
};

static bool is_1e(const struct walk *walk)
{
	return walk->request->family == MC_FAMILY_1E;
}

static void fault(struct walk *walk, enum mc_rule rule, uint16_t end_code, uint16_t complete_code)
{
	if (walk->access->rule != MC_RULE_NONE)
		return;
	walk->access->rule = rule;
	walk->access->end_code = is_1e(walk) ? complete_code : end_code;
}

static bool faulty(const struct walk *walk)
{
	return walk->access->rule != MC_RULE_NONE || walk->reader.error != MC_NUMBER_OK;
}

/* --- ranges ---------------------------------------------------------------------------------- */

/* How many of the device's own points `count` units touch; 0: it cannot be accessed so. */
static uint64_t own_points(const struct mc_device *device, enum unit unit, uint32_t count)
{
	if (device->kind == MC_DEVICE_BIT) {
		if (unit != UNIT_BITS && device->timer_contact)
			return 0;
		return (uint64_t)count * (unit == UNIT_BITS ? 1 : unit == UNIT_WORDS ? 16 : 32);
	}
	if (unit == UNIT_BITS)
		return 0;
	return (uint64_t)count * (unit == UNIT_DWORDS && device->kind == MC_DEVICE_WORD ? 2 : 1);
}

/* The number behind the last one that the form can say. */
static uint64_t numbers(const struct walk *walk)
{
	return walk->form == MC_DEVICE_SHORT && !is_1e(walk) ? 1ULL << 24 : 1ULL << 32;
}

static bool is_special(const struct mc_device *device)
{
	return strcmp(device->name, "SM") == 0 || strcmp(device->name, "SD") == 0;
}

static void count_values(struct mc_access *access, const struct mc_device *device, enum unit unit,
			 uint32_t count)
{
	if (unit == UNIT_BITS)
		access->bits += count;
	else
		access->words += unit == UNIT_DWORDS ? 2 * count : count;
	access->halves |= unit == UNIT_WORDS && device->kind == MC_DEVICE_DWORD;
}

static void found(struct walk *walk, const struct mc_device *device, uint32_t first, enum unit unit,
		  uint32_t count)
{
	struct mc_range range = {.device = device, .first = first, .write = walk->write};
	uint64_t points;

	if (faulty(walk))
		return;
	if (device == NULL || device->extended_only) {
		fault(walk, MC_RULE_SHAPE, END_DEVICE, COMPLETE_DEVICE);
		return;
	}
	points = own_points(device, unit, count);
	if (points == 0) {
		fault(walk, MC_RULE_SHAPE, unit == UNIT_BITS ? END_CONTENT : END_DEVICE,
		      COMPLETE_LENGTH);
		return;
	}
	if (first + points > numbers(walk)) {
		fault(walk, MC_RULE_COUNT, END_HIGHEST, COMPLETE_POINTS);
		return;
	}
	range.last = (uint32_t)(first + points - 1);
	if (walk->write && is_special(device))
		walk->access->class = MC_CLASS_CONTROL;
	walk->access->ranges++;
	walk->access->points += (uint32_t)points;
	count_values(walk->access, device, unit, count);
	if (walk->visit != NULL)
		walk->visit(walk->context, &range);
}

static void read_device(struct walk *walk, const struct mc_device **device, uint32_t *first)
{
	*device = NULL;
	*first = 0;
	if (is_1e(walk))
		(void)mc_device_read_1e(&walk->reader, device, first);
	else
		(void)mc_device_read(&walk->reader, walk->form, device, first);
}

static void found_value(const struct walk *walk, uint32_t value, unsigned int bits)
{
	if (walk->value != NULL && !faulty(walk))
		walk->value(walk->context, value, bits);
}

/* `size` bytes of binary data; values are not looked at, but ASCII ones must be digits. */
static void skip(struct walk *walk, size_t size)
{
	while (size > 0 && !faulty(walk)) {
		size_t part = size < 4 ? size : 4;

		(void)mc_reader_number(&walk->reader, part);
		size -= part;
	}
}

/* `size` bytes that are values of `each` bytes. */
static void skip_values(struct walk *walk, size_t size, size_t each)
{
	if (walk->value == NULL) {
		skip(walk, size);
		return;
	}
	while (size > 0 && !faulty(walk)) {
		size_t part = size < each ? size : each;

		found_value(walk, mc_reader_number(&walk->reader, part), 8 * (unsigned)part);
		size -= part;
	}
}

/*
 * Bits in a row, each 0 or 1: two in a byte; in ASCII a character each, in 1E with one more to fill
 * up the byte. What fills up is 0.
 */
static void skip_bits(struct walk *walk, uint32_t count)
{
	bool ascii = walk->reader.code == MC_CODE_ASCII;
	size_t bytes = (count + 1) / 2;
	size_t places = ascii && !is_1e(walk) ? count : 2 * bytes;
	const uint8_t *raw = mc_reader_raw(&walk->reader, ascii ? places : bytes);

	for (size_t i = 0; raw != NULL && i < places; i++) {
		int bit = ascii ? raw[i] - '0' : raw[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15;

		if (bit < 0 || bit > (i < count ? 1 : 0))
			fault(walk, MC_RULE_SHAPE, END_BITS, COMPLETE_LENGTH);
		else if (i < count)
			found_value(walk, (uint32_t)bit, 1);
	}
}

/* One bit as a number of `size` bytes. */
static void skip_bit(struct walk *walk, size_t size)
{
	uint32_t bit = mc_reader_number(&walk->reader, size);

	if (bit > 1)
		fault(walk, MC_RULE_SHAPE, END_BITS, COMPLETE_LENGTH);
	found_value(walk, bit, 1);
}

/* --- layouts --------------------------------------------------------------------------------- */

/* Words of bit devices have limits of their own (FX3U-ENET-ADP User's Manual). */
static uint32_t batch_max_1e(const struct walk *walk, const struct mc_device *device)
{
	if (walk->bits || device->kind != MC_DEVICE_BIT)
		return 256;
	return walk->write ? 40 : 128;
}

static void read_batch(struct walk *walk)
{
	uint32_t bits_max = walk->reader.code == MC_CODE_ASCII ? BITS_MAX_ASCII : BITS_MAX;
	const struct mc_device *device;
	uint32_t first, count;

	read_device(walk, &device, &first);
	count = mc_reader_number(&walk->reader, is_1e(walk) ? 1 : 2);
	if (is_1e(walk)) {
		/* One byte cannot say 256 otherwise. */
		count = count == 0 ? 256 : count;
		if (mc_reader_number(&walk->reader, 1) != 0)
			fault(walk, MC_RULE_SHAPE, 0, COMPLETE_LENGTH);
	} else if (!faulty(walk) && (count == 0 || count > (walk->bits ? bits_max : WORDS_MAX))) {
		fault(walk, MC_RULE_COUNT, walk->bits ? END_POINTS_BITS : END_POINTS_WORDS, 0);
	}
	if (is_1e(walk) && !faulty(walk) && device != NULL && count > batch_max_1e(walk, device))
		fault(walk, MC_RULE_COUNT, 0, COMPLETE_POINTS);
	found(walk, device, first, walk->bits ? UNIT_BITS : UNIT_WORDS, count);
	if (walk->write && walk->bits)
		skip_bits(walk, count);
	else if (walk->write)
		skip_values(walk, 2 * (size_t)count, 2);
}

/* `count` entries of a device each, and `value` bytes behind it: of a bit its state. */
static void read_entries(struct walk *walk, uint32_t count, enum unit unit, size_t value)
{
	const struct mc_device *device;
	uint32_t first;

	for (uint32_t i = 0; i < count && !faulty(walk); i++) {
		read_device(walk, &device, &first);
		found(walk, device, first, unit, 1);
		if (unit == UNIT_BITS && value > 0)
			skip_bit(walk, value);
		else
			skip_values(walk, value, value);
	}
}

/* 04 to 07: a count and a zero, entries of bits or words. */
static void read_random_1e(struct walk *walk)
{
	uint32_t count = mc_reader_number(&walk->reader, 1);
	size_t value = !walk->write ? 0 : walk->bits ? 1 : 2;

	if (mc_reader_number(&walk->reader, 1) != 0)
		fault(walk, MC_RULE_SHAPE, 0, COMPLETE_LENGTH);
	if (!faulty(walk) && count == 0)
		fault(walk, MC_RULE_COUNT, 0, COMPLETE_POINTS);
	read_entries(walk, count, walk->bits ? UNIT_BITS : UNIT_WORDS, value);
}

static void read_random_bits(struct walk *walk)
{
	bool wide = walk->form == MC_DEVICE_LONG;
	uint32_t count = mc_reader_number(&walk->reader, 1);

	if (!faulty(walk) && (count == 0 || count > (wide ? 94U : 188U)))
		fault(walk, MC_RULE_COUNT, END_POINTS_RANDOM_BITS, 0);
	read_entries(walk, count, UNIT_BITS, wide ? 2 : 1);
}

static void read_random(struct walk *walk)
{
	bool wide = walk->form == MC_DEVICE_LONG;
	uint32_t words, dwords, cost, most;

	if (is_1e(walk)) {
		read_random_1e(walk);
		return;
	}
	if (walk->bits) {
		read_random_bits(walk);
		return;
	}
	words = mc_reader_number(&walk->reader, 1);
	dwords = mc_reader_number(&walk->reader, 1);
	cost = walk->write ? 12 * words + 14 * dwords : words + dwords;
	most = (walk->write ? BYTES_MAX : 192) / (wide ? 2 : 1);
	if (!faulty(walk) && (cost == 0 || cost > most))
		fault(walk, MC_RULE_COUNT, END_POINTS_RANDOM, 0);
	read_entries(walk, words, UNIT_WORDS, walk->write ? 2 : 0);
	read_entries(walk, dwords, UNIT_DWORDS, walk->write ? 4 : 0);
}

static void read_blocks(struct walk *walk)
{
	uint32_t words = mc_reader_number(&walk->reader, 1);
	uint32_t bits = mc_reader_number(&walk->reader, 1);
	uint32_t most = walk->form == MC_DEVICE_LONG ? 60 : 120;
	uint32_t sum = 0;

	if (!faulty(walk) && (words + bits == 0 || words + bits > most))
		fault(walk, MC_RULE_COUNT, END_POINTS_RANDOM, 0);
	for (uint32_t i = 0; i < words + bits && !faulty(walk); i++) {
		const struct mc_device *device;
		uint32_t first, count;

		read_device(walk, &device, &first);
		count = mc_reader_number(&walk->reader, 2);
		sum += count;
		if (!faulty(walk) && (count == 0 || sum > WORDS_MAX))
			fault(walk, MC_RULE_COUNT, END_POINTS_RANDOM, 0);
		if (!faulty(walk) && i >= words && device != NULL && device->kind != MC_DEVICE_BIT)
			fault(walk, MC_RULE_SHAPE, END_CONTENT, 0);
		found(walk, device, first, UNIT_WORDS, count);
		if (walk->write)
			skip_values(walk, 2 * (size_t)count, 2);
	}
}

/* Address, length, and for a module its number; what lies there is not a device. */
static void read_buffer(struct walk *walk, bool module)
{
	uint32_t most = module ? BYTES_MAX : 480, count;

	walk->access->opaque = true;
	(void)mc_reader_number(&walk->reader, 4);
	count = mc_reader_number(&walk->reader, 2);
	if (module)
		(void)mc_reader_number(&walk->reader, 2);
	if (!faulty(walk) && (count == 0 || count > most))
		fault(walk, MC_RULE_COUNT, END_POINTS_WORDS, 0);
	if (!module)
		walk->access->words = count;
	if (walk->write)
		skip_values(walk, module ? count : 2 * (size_t)count, 2);
}

/* Its characters are hexadecimal digits in both codes; in 1E anything. */
static void read_loopback(struct walk *walk)
{
	uint32_t count = mc_reader_number(&walk->reader, is_1e(walk) ? 1 : 2), digit;
	const uint8_t *text;

	if (is_1e(walk)) {
		(void)mc_reader_raw(&walk->reader,
				    walk->reader.code == MC_CODE_ASCII ? 2 * count : count);
		return;
	}
	if (!faulty(walk) && (count == 0 || count > WORDS_MAX))
		fault(walk, MC_RULE_COUNT, END_POINTS_WORDS, 0);
	text = faulty(walk) ? NULL : mc_reader_raw(&walk->reader, count);
	for (uint32_t i = 0; text != NULL && i < count; i++) {
		if (!mc_number_from_hex(text + i, 1, &digit))
			fault(walk, MC_RULE_SHAPE, END_CONTENT, 0);
	}
}

/* Mode 1 or 3 (force); what is cleared: 0 to 2; a zero. */
static void read_run(struct walk *walk)
{
	uint32_t mode = mc_reader_number(&walk->reader, 2);
	uint32_t clear = mc_reader_number(&walk->reader, 1);
	uint32_t zero = mc_reader_number(&walk->reader, 1);

	if (!faulty(walk) && ((mode != 1 && mode != 3) || clear > 2 || zero != 0))
		fault(walk, MC_RULE_SHAPE, END_CONTENT, 0);
}

static void read_mode(struct walk *walk, bool forced)
{
	uint32_t mode = mc_reader_number(&walk->reader, 2);

	if (!faulty(walk) && mode != 1 && !(forced && mode == 3))
		fault(walk, MC_RULE_SHAPE, END_CONTENT, 0);
}

static void read_layout(struct walk *walk, enum layout layout)
{
	switch (layout) {
	case LAYOUT_NONE:
		break;
	case LAYOUT_BATCH_READ:
	case LAYOUT_BATCH_WRITE:
		read_batch(walk);
		break;
	case LAYOUT_RANDOM_READ:
	case LAYOUT_RANDOM_WRITE:
		read_random(walk);
		break;
	case LAYOUT_BLOCK_READ:
	case LAYOUT_BLOCK_WRITE:
		read_blocks(walk);
		break;
	case LAYOUT_BUFFER_READ:
	case LAYOUT_BUFFER_WRITE:
		read_buffer(walk, false);
		break;
	case LAYOUT_MODULE_READ:
	case LAYOUT_MODULE_WRITE:
		read_buffer(walk, true);
		break;
	case LAYOUT_LOOPBACK:
		read_loopback(walk);
		break;
	case LAYOUT_RUN:
		read_run(walk);
		break;
	case LAYOUT_PAUSE:
	case LAYOUT_MODE:
		read_mode(walk, layout == LAYOUT_PAUSE);
		break;
	case LAYOUT_MONITOR:
		walk->access->opaque = walk->access->monitor = true;
		break;
	case LAYOUT_OPAQUE:
		walk->access->opaque = true;
		(void)mc_reader_raw(&walk->reader, walk->reader.left);
		break;
	}
}

/* --- the whole ------------------------------------------------------------------------------- */

static const struct layout_row *find_layout(const struct mc_request *request)
{
	static const struct layout_row opaque = {0, LAYOUT_OPAQUE, SUB_ANY};
	bool is_1e = request->family == MC_FAMILY_1E;
	const struct layout_row *rows = is_1e ? LAYOUTS_1E : LAYOUTS;
	size_t count = is_1e ? ARRAY_SIZE(LAYOUTS_1E) : ARRAY_SIZE(LAYOUTS);

	for (size_t i = 0; i < count; i++) {
		if (rows[i].code == request->command)
			return &rows[i];
	}
	return &opaque;
}

static bool has_subcommand(const struct layout_row *row, uint16_t subcommand)
{
	return row->subcommands == SUB_ANY ||
	       (subcommand < 4 && (row->subcommands & SUB(subcommand)) != 0);
}

static bool writes(enum layout layout)
{
	return layout == LAYOUT_BATCH_WRITE || layout == LAYOUT_RANDOM_WRITE ||
	       layout == LAYOUT_BLOCK_WRITE || layout == LAYOUT_BUFFER_WRITE ||
	       layout == LAYOUT_MODULE_WRITE;
}

/* In 1E every second command is for bits: 00, 02, 04, 06. */
static bool asks_for_bits(const struct mc_request *request)
{
	if (request->family == MC_FAMILY_1E)
		return (request->command & 1) == 0;
	return (request->subcommand & 1) != 0;
}

void mc_access_read_values(const struct mc_request *request, mc_access_visit *visit,
			   mc_access_value *value, void *context, struct mc_access *access)
{
	const struct layout_row *row = find_layout(request);
	struct walk walk = {
		.request = request,
		.reader = {.code = request->code, .at = request->data, .left = request->data_size},
		.form = request->subcommand & 2 ? MC_DEVICE_LONG : MC_DEVICE_SHORT,
		.bits = asks_for_bits(request),
		.write = writes(row->layout),
		.visit = visit,
		.value = value,
		.context = context,
		.access = access,
	};

	*access = (struct mc_access){.command = mc_command_find(request->family, request->command),
				     .class = MC_CLASS_OTHER};
	if (access->command == NULL) {
		fault(&walk, MC_RULE_COMMAND, END_COMMAND, COMPLETE_COMMAND);
		return;
	}
	access->class = access->command->class;
	if (!has_subcommand(row, request->subcommand)) {
		fault(&walk, MC_RULE_SUBCOMMAND, END_COMMAND, COMPLETE_COMMAND);
		return;
	}
	read_layout(&walk, row->layout);
	if (walk.reader.error == MC_NUMBER_DIGIT)
		fault(&walk, MC_RULE_SHAPE, END_CONTENT, COMPLETE_LENGTH);
	else if (!mc_reader_done(&walk.reader))
		fault(&walk, MC_RULE_LENGTH, END_LENGTH, COMPLETE_LENGTH);
}

void mc_access_read(const struct mc_request *request, mc_access_visit *visit, void *context,
		    struct mc_access *access)
{
	mc_access_read_values(request, visit, NULL, context, access);
}

bool mc_access_is_own(enum mc_family family, const struct mc_route *route)
{
	const struct mc_route own = MC_ROUTE_OWN;

	if (family == MC_FAMILY_1E)
		return route->pc == own.pc;
	return mc_frame_route_equal(route, &own);
}

const char *mc_access_rule_name(enum mc_rule rule)
{
	static const char *const NAMES[MC_RULES] = {
		[MC_RULE_NONE] = "none",       [MC_RULE_LENGTH] = "length",
		[MC_RULE_COUNT] = "count",     [MC_RULE_SHAPE] = "shape",
		[MC_RULE_COMMAND] = "command", [MC_RULE_SUBCOMMAND] = "subcommand",
	};

	return NAMES[rule];
}
