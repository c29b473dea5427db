/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: config_text_clean() has left plain syntax. Tables for libconfuse are made from
 * the option tables; every option is a list of "pointers" there, each a text with its line, so
 * that libconfuse judges the syntax only and the first bad value does not end the parse. Then the
 * tree is walked along the same tables and each value is read by its type.
 *
 * libconfuse's callbacks have no argument of ours. The unused number of an option's default
 * carries the pointer to struct parse, its unused boolean marks an option that has been set.
 */
#include "config/config_parse.h"

#include "base/error.h"
#include "config/config_option.h"
#include "config/config_text.h"
#include "config/config_value.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* Before the title of a finished section, see finish_section(). No text of a file holds it. */
#define TITLE_MARK '\001'

struct parse {
	struct config_report *report;
	struct config_text_sections sections;
	size_t finished; /* sections so far */
	bool out_of_memory;
};

/* One value of the file. */
struct text_value {
	int line;
	char text[];
};

static struct parse *parse_of(const cfg_t *section)
{
	return (struct parse *)(intptr_t)section->opts[0].def.number; /* NOLINT: see above */
}

/* --- names that are not known ------------------------------------------------------------- */

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Edit distance where two swapped neighbours count as one; large when a name is too long. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[3][33];
	size_t length = strlen(b);
	size_t *before = rows[0];
	size_t *last = rows[1];
	size_t *now = rows[2];

	if (strlen(a) > 32 || length > 32)
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

/* The section named `name` anywhere below; NULL when there is none. */
static const struct config_section *find_section(const struct config_section *from,
						 const char *name)
{
	for (size_t i = 0; i < from->section_count; i++) {
		const struct config_section *found = &from->sections[i];

		if (strcmp(found->name, name) != 0)
			found = find_section(found, name);
		if (found)
			return found;
	}
	return NULL;
}

/* Another section that has an option or section of this very name. */
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

static void report_unknown(const cfg_t *cfg, const char *name)
{
	struct config_report *report = parse_of(cfg)->report;
	const struct config_section *section = find_section(&config_root, cfg->name);
	const struct config_section *owner = find_owner(&config_root, name);
	struct guess guess = closest(section ? section : &config_root, name);
	const char *where = section ? section->name : config_root.name;

	if (guess.distance <= 1 + strlen(name) / 4)
		config_report_error(report, cfg->line,
				    "%s has no option '%s', expected '%s' perhaps", where, name,
				    guess.name);
	else if (owner)
		config_report_error(report, cfg->line, "%s has no option '%s', expected it in %s",
				    where, name, owner->name);
	else
		config_report_error(report, cfg->line,
				    "%s has no option '%s', expected one of the manual's", where,
				    name);
}

/* --- libconfuse's callbacks ---------------------------------------------------------------- */

/*
 * CFGF_KEYSTRVAL makes libconfuse go on after an unknown `name = value`. After an unknown section
 * or list it cannot, and a second message tells where it stopped.
 */
__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *cfg, const char *format,
							   va_list arguments)
{
	char text[256];

	if (strncmp(format, "no such option", strlen("no such option")) == 0) {
		report_unknown(cfg, va_arg(arguments, const char *));
		return;
	}
	vsnprintf(text, sizeof(text), format, arguments);
	config_report_error(parse_of(cfg)->report, cfg->line,
			    "%s, expected NAME = VALUE, NAME = { VALUE, ... } or SECTION \"TITLE\" "
			    "{ ... } (the rest of the file was not read)",
			    text);
}

static int take_value(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
	size_t size = strlen(text) + 1;
	struct text_value *value = malloc(sizeof(*value) + size);

	if (!value) {
		parse_of(cfg)->out_of_memory = true;
		return -1;
	}
	/* libconfuse lets the second assignment win: the first would be silently lost. */
	if (opt->nvalues == 1 && opt->def.boolean)
		config_report_error(parse_of(cfg)->report, cfg->line,
				    "%s is set a second time in this section, expected once",
				    opt->name);
	opt->def.boolean = cfg_true;
	value->line = cfg->line;
	memcpy(value->text, text, size);
	*(void **)result = value;
	return 0;
}

/*
 * libconfuse has counted `line` on to the closing brace: set it back to the opening one. And a
 * later section of the same title would replace this one: make the title one nobody writes.
 */
static int finish_section(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *section = opt->values[opt->nvalues - 1]->section;
	struct parse *parse = parse_of(cfg);
	size_t size;
	char *marked;

	if (parse->finished < parse->sections.count)
		section->line = parse->sections.lines[parse->finished++];
	if (!section->title)
		return 0;
	size = strlen(section->title) + 1;
	marked = malloc(size + 1);
	if (!marked) {
		parse->out_of_memory = true;
		return -1;
	}
	marked[0] = TITLE_MARK;
	memcpy(marked + 1, section->title, size);
	free(section->title);
	section->title = marked;
	return 0;
}

/* --- libconfuse's tables -------------------------------------------------------------------- */

static void free_tables(cfg_opt_t *table)
{
	for (size_t i = 0; table && table[i].name; i++)
		free_tables(table[i].subopts);
	free(table);
}

static cfg_opt_t *make_tables(const struct config_section *section, struct parse *parse)
{
	size_t count = section->option_count;
	cfg_opt_t *table = calloc(count + section->section_count + 1, sizeof(*table));

	if (!table)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		table[i] = (cfg_opt_t)CFG_PTR_LIST_CB(section->options[i].name, NULL,
						      CFGF_NODEFAULT, take_value, free);
		table[i].def.number = (intptr_t)parse;
	}
	for (size_t i = 0; i < section->section_count; i++) {
		const struct config_section *inner = &section->sections[i];
		int title = inner->title ? CFGF_TITLE : 0;
		cfg_opt_t *below = make_tables(inner, parse);

		if (!below) {
			free_tables(table);
			return NULL;
		}
		table[count + i] = (cfg_opt_t)CFG_SEC(inner->name, below, CFGF_MULTI | title);
		table[count + i].validcb = finish_section;
	}
	return table;
}

static cfg_t *make_parser(struct parse *parse)
{
	cfg_opt_t *table = make_tables(&config_root, parse);
	cfg_t *cfg = table ? cfg_init(table, CFGF_KEYSTRVAL) : NULL;

	free_tables(table);
	if (cfg)
		cfg_set_error_function(cfg, on_error);
	return cfg;
}

/* --- from libconfuse's tree to the structs --------------------------------------------------- */

static int set_fallback(const struct config_option *option, struct config_report *report,
			void *object)
{
	struct config_place place = {.report = report, .option = option};

	return config_value_read(&place, option->fallback, (char *)object + option->offset);
}

static const struct text_value *value_at(const cfg_opt_t *opt, unsigned int index)
{
	return opt->values[index]->ptr;
}

static int fill_list(const cfg_opt_t *opt, struct config_place *place, void *object)
{
	const struct config_option *option = place->option;
	struct config_list *list = (void *)((char *)object + option->offset);

	if (config_list_allocate(list, opt->nvalues, option->type->size) < 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < opt->nvalues; i++) {
		const struct text_value *value = value_at(opt, i);
		int outcome;

		place->line = value->line;
		outcome = config_value_read(place, value->text,
					    list->items + list->count * option->type->size);
		if (outcome < 0)
			return outcome;
		list->count += outcome == 0;
	}
	return 0;
}

static int fill_option(const cfg_t *cfg, const cfg_opt_t *opt, const struct config_option *option,
		       void *object)
{
	struct config_place place = {.report = parse_of(cfg)->report, .option = option};

	if (opt->nvalues == 0 && option->required)
		config_report_error(place.report, cfg->line, "%s%s%s%s has no %s, expected %s%s",
				    cfg->name, cfg->title ? " \"" : "",
				    cfg->title ? cfg->title + 1 : "", cfg->title ? "\"" : "",
				    option->name, option->list ? "one or more of " : "",
				    option->type->expected);
	if (opt->nvalues == 0)
		return option->fallback ? set_fallback(option, place.report, object) : 0;
	place.line = value_at(opt, 0)->line;
	if (option->line_offset != 0)
		memcpy((char *)object + option->line_offset, &place.line, sizeof(place.line));
	if (option->list)
		return fill_list(opt, &place, object);
	if (opt->nvalues > 1)
		config_report_error(place.report, value_at(opt, 1)->line,
				    "%s has %u values, expected one", option->name, opt->nvalues);
	return config_value_read(&place, value_at(opt, 0)->text, (char *)object + option->offset);
}

static int fill_section(const cfg_t *cfg, const struct config_section *section, void *object);

static int fill_titled(const cfg_t *cfg, const struct config_section *section, void *object)
{
	struct config_option title = {.name = section->name, .type = section->title};
	struct config_place place = {
		.report = parse_of(cfg)->report,
		.option = &title,
		.line = cfg->line,
	};
	int outcome;

	memcpy((char *)object + section->line_offset, &cfg->line, sizeof(cfg->line));
	outcome = config_value_read(&place, cfg->title + 1, (char *)object + section->title_offset);
	if (outcome < 0)
		return outcome;
	return fill_section(cfg, section, object);
}

static int fill_many(const cfg_opt_t *opt, const struct config_section *section, void *parent)
{
	struct config_list *list = (void *)((char *)parent + section->offset);

	if (config_list_allocate(list, opt->nvalues, section->size) < 0)
		return -ENOMEM;
	list->count = opt->nvalues;
	for (size_t i = 0; i < list->count; i++) {
		const cfg_t *inner = opt->values[i]->section;
		int error = fill_titled(inner, section, list->items + i * section->size);

		if (error < 0)
			return error;
	}
	return 0;
}

/* A section without title: its options have defaults also when the file leaves it out. */
static int fill_one(const cfg_t *cfg, const cfg_opt_t *opt, const struct config_section *section,
		    void *parent)
{
	void *object = (char *)parent + section->offset;
	int error = 0;

	if (opt->nvalues > 1)
		config_report_error(parse_of(cfg)->report, opt->values[1]->section->line,
				    "%s stands here a second time, expected once", section->name);
	if (opt->nvalues > 0)
		return fill_section(opt->values[0]->section, section, object);
	for (size_t i = 0; i < section->option_count && error >= 0; i++) {
		if (section->options[i].fallback)
			error = set_fallback(&section->options[i], parse_of(cfg)->report, object);
	}
	return error;
}

static int fill_section(const cfg_t *cfg, const struct config_section *section, void *object)
{
	int error = 0;

	for (size_t i = 0; i < section->option_count && error >= 0; i++)
		error = fill_option(cfg, &cfg->opts[i], &section->options[i], object);
	for (size_t i = 0; i < section->section_count && error >= 0; i++) {
		const struct config_section *inner = &section->sections[i];
		const cfg_opt_t *opt = &cfg->opts[section->option_count + i];

		if (!inner->title)
			error = fill_one(cfg, opt, inner, object);
		else if (opt->nvalues > 0)
			error = fill_many(opt, inner, object);
	}
	return error < 0 ? error : 0;
}

static int parse_tree(cfg_t *cfg, char *text, const struct parse *parse)
{
	FILE *file;
	int outcome;

	/* fmemopen(3) refuses a size of 0 in some versions. */
	if (*text == '\0')
		return 0;
	file = fmemopen(text, strlen(text), "r");
	if (!file)
		return -ENOMEM;
	outcome = cfg_parse_fp(cfg, file);
	fclose(file);
	if (outcome == CFG_SUCCESS)
		return 0;
	/* libconfuse itself says nothing when memory runs out. */
	return parse->out_of_memory || parse->report->errors == 0 ? -ENOMEM : -EINVAL;
}

static int parse_clean(char *text, struct parse *parse, struct config *config)
{
	cfg_t *cfg = make_parser(parse);
	int error;

	if (!cfg)
		return -ENOMEM;
	error = parse_tree(cfg, text, parse);
	if (error == 0)
		error = fill_section(cfg, &config_root, config);
	cfg_free(cfg);
	return error;
}

int config_parse(char *text, struct config_report *report, struct config *config)
{
	struct parse parse = {.report = report};
	int error = config_text_clean(text, report, &parse.sections);

	if (error == 0)
		error = parse_clean(text, &parse, config);
	free(parse.sections.lines);
	return error;
}
