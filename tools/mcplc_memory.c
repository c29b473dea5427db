/* SPDX-License-Identifier: Apache-2.0 */
#include "mcplc_memory.h"
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEVICES_MAX 64
#define OPTION_SIZE 32 /* "DEVICE=POINTS" or "DEVICE" of an option */

/* The words of one device; a bit device has 16 points in each. */
struct area {
	uint16_t *words;
	size_t count; /* of words */
	uint32_t points;
};

struct mcplc_memory {
	struct area areas[DEVICES_MAX];
	uint16_t buffer[MCPLC_BUFFER_WORDS];
};

struct default_points {
	const char *name;
	uint32_t points;
};

/* About what an R08CPU has after unpacking; devices not listed here have the last row's size. */
static const struct default_points DEFAULTS[] = {
	{"X", 0x3000}, {"Y", 0x3000},  {"DX", 0x3000}, {"DY", 0x3000}, {"M", 32768}, {"L", 32768},
	{"F", 32768},  {"V", 32768},   {"B", 0x8000},  {"SB", 0x8000}, {"S", 16384}, {"D", 65536},
	{"W", 0x8000}, {"SW", 0x8000}, {"SM", 4096},   {"SD", 4096},   {"R", 32768}, {"ZR", 65536},
	{"RD", 65536}, {"Z", 20},      {"LZ", 2},      {"G", 0},       {"HG", 0},    {NULL, 2048},
};

static uint32_t default_points(const struct mc_device *device)
{
	size_t i = 0;

	while (DEFAULTS[i].name && strcmp(DEFAULTS[i].name, device->name) != 0)
		i++;
	return DEFAULTS[i].points;
}

static size_t words_for(const struct mc_device *device, uint32_t points)
{
	switch (device->kind) {
	case MC_DEVICE_BIT:
		return ((size_t)points + 15) / 16;
	case MC_DEVICE_WORD:
		return points;
	case MC_DEVICE_DWORD:
		break;
	}
	return 2 * (size_t)points;
}

/* R is a window on the start of ZR: both names reach the same registers. */
static const struct mc_device *owner(const struct mc_device *device)
{
	return strcmp(device->name, "R") == 0 ? mc_device_by_name("ZR") : device;
}

static struct area *area_of(struct mcplc_memory *memory, const struct mc_device *device)
{
	return &memory->areas[mc_device_index(owner(device))];
}

static const struct area *area_seen(const struct mcplc_memory *memory,
				    const struct mc_device *device)
{
	return &memory->areas[mc_device_index(owner(device))];
}

static int resize(struct mcplc_memory *memory, const struct mc_device *device, uint32_t points)
{
	struct area *area = &memory->areas[mc_device_index(device)];
	size_t count = words_for(device, points);
	uint16_t *words;

	area->points = points;
	if (owner(device) != device)
		return 0;
	words = calloc(count ? count : 1, sizeof(*words));
	if (!words)
		return -ENOMEM;
	if (area->words)
		memcpy(words, area->words,
		       sizeof(*words) * (count < area->count ? count : area->count));
	free(area->words);
	area->words = words;
	area->count = count;
	return 0;
}

struct mcplc_memory *mcplc_memory_new(void)
{
	struct mcplc_memory *memory = calloc(1, sizeof(*memory));
	const struct mc_device *device;

	if (!memory)
		return NULL;
	for (size_t i = 0; i < DEVICES_MAX && (device = mc_device_at(i)); i++) {
		if (resize(memory, device, default_points(device)) < 0) {
			mcplc_memory_free(memory);
			return NULL;
		}
	}
	return memory;
}

void mcplc_memory_free(struct mcplc_memory *memory)
{
	if (!memory)
		return;
	for (size_t i = 0; i < DEVICES_MAX; i++)
		free(memory->areas[i].words);
	free(memory);
}

uint32_t mcplc_memory_points(const struct mcplc_memory *memory, const struct mc_device *device)
{
	const struct area *real = area_seen(memory, device);
	uint32_t points = memory->areas[mc_device_index(device)].points;

	/* R may be set larger than ZR: then only what exists counts. */
	return owner(device) != device && real->points < points ? real->points : points;
}

static uint16_t word_at(const struct area *area, size_t i)
{
	return i < area->count ? area->words[i] : 0;
}

bool mcplc_memory_bit(const struct mcplc_memory *memory, const struct mc_device *device,
		      uint32_t number)
{
	return word_at(area_seen(memory, device), number / 16) >> number % 16 & 1;
}

void mcplc_memory_set_bit(struct mcplc_memory *memory, const struct mc_device *device,
			  uint32_t number, bool on)
{
	struct area *area = area_of(memory, device);
	uint16_t mask = (uint16_t)(1u << number % 16);

	if (number / 16 >= area->count)
		return;
	if (on)
		area->words[number / 16] |= mask;
	else
		area->words[number / 16] &= (uint16_t)~mask;
}

uint16_t mcplc_memory_word(const struct mcplc_memory *memory, const struct mc_device *device,
			   uint32_t number)
{
	const struct area *area = area_seen(memory, device);
	size_t i = number / 16;
	uint32_t pair;

	if (device->kind != MC_DEVICE_BIT)
		return word_at(area, number);
	pair = word_at(area, i) | (uint32_t)word_at(area, i + 1) << 16;
	return (uint16_t)(pair >> number % 16);
}

void mcplc_memory_set_word(struct mcplc_memory *memory, const struct mc_device *device,
			   uint32_t number, uint16_t value)
{
	struct area *area = area_of(memory, device);

	if (device->kind == MC_DEVICE_BIT) {
		for (uint32_t i = 0; i < 16; i++)
			mcplc_memory_set_bit(memory, device, number + i, value >> i & 1);
	} else if (number < area->count) {
		area->words[number] = value;
	}
}

uint32_t mcplc_memory_dword(const struct mcplc_memory *memory, const struct mc_device *device,
			    uint32_t number)
{
	const struct area *area = area_seen(memory, device);
	uint32_t step = device->kind == MC_DEVICE_BIT ? 16 : 1;

	if (device->kind == MC_DEVICE_DWORD)
		return word_at(area, 2 * (size_t)number) |
		       (uint32_t)word_at(area, 2 * (size_t)number + 1) << 16;
	return mcplc_memory_word(memory, device, number) |
	       (uint32_t)mcplc_memory_word(memory, device, number + step) << 16;
}

void mcplc_memory_set_dword(struct mcplc_memory *memory, const struct mc_device *device,
			    uint32_t number, uint32_t value)
{
	struct area *area = area_of(memory, device);
	uint32_t step = device->kind == MC_DEVICE_BIT ? 16 : 1;

	if (device->kind != MC_DEVICE_DWORD) {
		mcplc_memory_set_word(memory, device, number, (uint16_t)value);
		mcplc_memory_set_word(memory, device, number + step, (uint16_t)(value >> 16));
	} else if (2 * (size_t)number + 1 < area->count) {
		area->words[2 * (size_t)number] = (uint16_t)value;
		area->words[2 * (size_t)number + 1] = (uint16_t)(value >> 16);
	}
}

uint16_t *mcplc_memory_buffer(struct mcplc_memory *memory)
{
	return memory->buffer;
}

void mcplc_memory_clear(struct mcplc_memory *memory, bool latched)
{
	static const char KEPT[][3] = {"R", "ZR", "RD", "SM", "SD"};
	const struct mc_device *device;

	for (size_t i = 0; (device = mc_device_at(i)); i++) {
		bool kept = !latched && strcmp(device->name, "L") == 0;

		for (size_t k = 0; k < ARRAY_SIZE(KEPT); k++)
			kept = kept || strcmp(device->name, KEPT[k]) == 0;
		if (!kept)
			memset(memory->areas[i].words, 0,
			       memory->areas[i].count * sizeof(uint16_t));
	}
}

/* --- options --------------------------------------------------------------------------------- */

static int complain(const char *what, const char *text)
{
	fprintf(stderr, "mcplc: %s: %s\n", what, text);
	return -EINVAL;
}

/* The first `size` characters as a text of their own; false when they are too many. */
static bool take_text(char *part, const char *text, size_t size)
{
	if (size >= OPTION_SIZE)
		return false;
	memcpy(part, text, size);
	part[size] = '\0';
	return true;
}

static bool number_from(const char *text, const char **end, int64_t *value)
{
	char *stop;

	errno = 0;
	*value = strtoll(text, &stop, strncasecmp(text, "0x", 2) == 0 ? 16 : 10);
	*end = stop;
	return stop != text && errno == 0;
}

static int limit_one(struct mcplc_memory *memory, char *text)
{
	char *equals = strchr(text, '=');
	const struct mc_device *device;
	const char *end;
	int64_t points;

	if (!equals)
		return complain("expected DEVICE=POINTS", text);
	*equals = '\0';
	device = mc_device_by_name(text);
	if (!device)
		return complain("no such device", text);
	if (!number_from(equals + 1, &end, &points) || *end || points < 0 || points > 1 << 24)
		return complain("expected a number of points up to 16777216", equals + 1);
	return resize(memory, device, (uint32_t)points);
}

int mcplc_memory_limit_text(struct mcplc_memory *memory, const char *text)
{
	int error = 0;

	while (!error && text) {
		const char *comma = strchr(text, ',');
		char part[OPTION_SIZE];

		if (!take_text(part, text, comma ? (size_t)(comma - text) : strlen(text)))
			return complain("too long", text);
		error = limit_one(memory, part);
		text = comma ? comma + 1 : NULL;
	}
	return error;
}

static bool value_fits(const struct mc_device *device, int64_t value)
{
	switch (device->kind) {
	case MC_DEVICE_BIT:
		return value == 0 || value == 1;
	case MC_DEVICE_WORD:
		return value >= INT16_MIN && value <= UINT16_MAX;
	case MC_DEVICE_DWORD:
		break;
	}
	return value >= INT32_MIN && value <= UINT32_MAX;
}

static void set_point(struct mcplc_memory *memory, const struct mc_device *device, uint32_t number,
		      int64_t value)
{
	switch (device->kind) {
	case MC_DEVICE_BIT:
		mcplc_memory_set_bit(memory, device, number, value != 0);
		break;
	case MC_DEVICE_WORD:
		mcplc_memory_set_word(memory, device, number, (uint16_t)value);
		break;
	case MC_DEVICE_DWORD:
		mcplc_memory_set_dword(memory, device, number, (uint32_t)value);
		break;
	}
}

int mcplc_memory_set_text(struct mcplc_memory *memory, const char *text)
{
	const char *at = strchr(text, '=');
	const struct mc_device *device;
	char name[OPTION_SIZE];
	uint32_t number;

	if (!at || !take_text(name, text, (size_t)(at - text)))
		return complain("expected DEVICE=VALUE[,VALUE...]", text);
	if (mc_device_parse(name, &device, &number) < 0)
		return complain("no such device", name);
	do {
		int64_t value;

		if (!number_from(at + 1, &at, &value) || (*at && *at != ',') ||
		    !value_fits(device, value))
			return complain("a value does not fit the device", text);
		if (number >= mcplc_memory_points(memory, device))
			return complain("beyond the last point of the device", text);
		set_point(memory, device, number++, value);
	} while (*at == ',');
	return 0;
}
