/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_guess.h"

#include <string.h>

#define NAME_MAX_LENGTH 32

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Edit distance where two swapped neighbours count as one; large when a name is too long. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[3][NAME_MAX_LENGTH + 1];
	size_t length = strlen(b);
	size_t *before = rows[0];
	size_t *last = rows[1];
	size_t *now = rows[2];

	if (strlen(a) > NAME_MAX_LENGTH || length > NAME_MAX_LENGTH)
		return SIZE_MAX;
	for (size_t j = 0; j <= length; j++)
		last[j] = before[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t *oldest = before;

		now[0] = i;
		for (size_t j = 1; j <= length; j++) {
			bool same = a[i - 1] == b[j - 1];

			now[j] = smaller(smaller(last[j], now[j - 1]) + 1, last[j - 1] + !same);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = smaller(now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = oldest;
	}
	return last[length];
}

struct guess {
	const char *name;
	size_t distance;
};

static void consider(struct guess *guess, const char *unknown, const char *name)
{
	size_t found = distance(unknown, name);

	if (found < guess->distance) {
		guess->distance = found;
		guess->name = name;
	}
}

static struct guess closest(const struct config_section *section, const char *unknown)
{
	struct guess guess = {.distance = SIZE_MAX};

	for (size_t i = 0; i < section->option_count; i++)
		consider(&guess, unknown, section->options[i].name);
	for (size_t i = 0; i < section->section_count; i++)
		consider(&guess, unknown, section->sections[i].name);
	return guess;
}

const char *config_guess_name(const struct config_section *section, const char *name)
{
	struct guess guess = closest(section, name);

	return guess.distance <= 1 + strlen(name) / 4 ? guess.name : NULL;
}

static const struct config_section *find_owner(const struct config_section *from, const char *name)
{
	if (closest(from, name).distance == 0)
		return from;
	for (size_t i = 0; i < from->section_count; i++) {
		const struct config_section *found = find_owner(&from->sections[i], name);

		if (found)
			return found;
	}
	return NULL;
}

const char *config_guess_owner(const char *name)
{
	const struct config_section *owner = find_owner(&config_root, name);

	return owner ? owner->name : NULL;
}
