/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: config_syntax_read() has judged syntax and names and leaves a text in which
 * libconfuse finds nothing wrong. Tables for libconfuse are made from the option tables; every
 * option is a list of "pointers" there, each a text with its line, and every section has a title.
 * Then the tree is walked along the same tables and each value is read by its type.
 *
 * libconfuse's callbacks have no argument of ours: the unused number of an option's default
 * carries the pointer to struct parse.
 */
#include "config/config_parse.h"

#include "base/error.h"
#include "config/config_option.h"
#include "config/config_syntax.h"
#include "config/config_value.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

struct parse {
	struct config_report *report;
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

/* --- libconfuse's callbacks ---------------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *cfg, const char *format,
							   va_list arguments)
{
	char text[256];

	vsnprintf(text, sizeof(text), format, arguments);
	config_report_error(parse_of(cfg)->report, cfg->line,
			    "%s, expected nothing of the kind (the rest of the file was not read)",
			    text);
}

static int take_value(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
	size_t size = strlen(text) + 1;
	struct text_value *value = malloc(sizeof(*value) + size);

	(void)opt;
	if (!value) {
		parse_of(cfg)->out_of_memory = true;
		return -1;
	}
	value->line = cfg->line;
	memcpy(value->text, text, size);
	*(void **)result = value;
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
		cfg_opt_t *below = make_tables(inner, parse);

		if (!below) {
			free_tables(table);
			return NULL;
		}
		table[count + i] = (cfg_opt_t)CFG_SEC(inner->name, below, CFGF_MULTI | CFGF_TITLE);
	}
	return table;
}

static cfg_t *make_parser(struct parse *parse)
{
	cfg_opt_t *table = make_tables(&config_root, parse);
	cfg_t *cfg = table ? cfg_init(table, CFGF_NONE) : NULL;

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

/* What config_syntax.c wrote as a section's title. The file itself has none. */
struct heading {
	int line;
	const char *title;
};

static struct heading heading_of(const cfg_t *cfg)
{
	struct heading heading = {.title = ""};
	char *end;

	if (!cfg->title)
		return heading;
	(void)strtoul(cfg->title, &end, 10);
	heading.line = (int)strtol(end, &end, 10);
	heading.title = end + 1;
	return heading;
}

/* 0, 1 (reported) or -ENOMEM. */
static int read_value(const struct config_place *place, const char *text, void *value)
{
	return strcmp(text, CONFIG_SYNTAX_REFUSED) == 0 ? 1 : config_value_read(place, text, value);
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
		outcome = read_value(place, value->text,
				     list->items + list->count * option->type->size);
		if (outcome < 0)
			return outcome;
		list->count += outcome == 0;
	}
	return 0;
}

/* One value is right; where there are more, each is judged, and the last one stays. */
static int fill_single(const cfg_opt_t *opt, struct config_place *place, void *object)
{
	const struct config_type *type = place->option->type;
	char *value = (char *)object + place->option->offset;

	for (unsigned int i = 0; i < opt->nvalues; i++) {
		const struct text_value *read = value_at(opt, i);
		int outcome;

		if (type->release)
			type->release(value);
		memset(value, 0, type->size);
		place->line = read->line;
		outcome = read_value(place, read->text, value);
		if (outcome < 0)
			return outcome;
	}
	return 0;
}

static void report_missing(const cfg_t *cfg, const struct config_option *option)
{
	struct heading heading = heading_of(cfg);
	const char *quote = *heading.title != '\0' ? "\"" : "";

	if (strcmp(heading.title, CONFIG_SYNTAX_REFUSED) == 0)
		heading.title = quote = "";
	config_report_error(parse_of(cfg)->report, heading.line,
			    "%s%s%s%s%s has no %s, expected %s%s", cfg->name, *quote ? " " : "",
			    quote, heading.title, quote, option->name,
			    option->list ? "one or more of " : "", option->type->expected);
}

static int fill_option(const cfg_t *cfg, const cfg_opt_t *opt, const struct config_option *option,
		       void *object)
{
	struct config_place place = {.report = parse_of(cfg)->report, .option = option};

	if (opt->nvalues == 0 && option->required)
		report_missing(cfg, option);
	if (opt->nvalues == 0)
		return option->fallback ? set_fallback(option, place.report, object) : 0;
	place.line = value_at(opt, 0)->line;
	if (option->line_offset != 0)
		memcpy((char *)object + option->line_offset, &place.line, sizeof(place.line));
	return option->list ? fill_list(opt, &place, object) : fill_single(opt, &place, object);
}

static int fill_section(const cfg_t *cfg, const struct config_section *section, void *object);

static int fill_titled(const cfg_t *cfg, const struct config_section *section, void *object)
{
	struct config_option title = {.name = section->name, .type = section->title};
	struct heading heading = heading_of(cfg);
	struct config_place place = {
		.report = parse_of(cfg)->report,
		.option = &title,
		.line = heading.line,
	};
	int outcome;

	memcpy((char *)object + section->line_offset, &heading.line, sizeof(heading.line));
	outcome = read_value(&place, heading.title, (char *)object + section->title_offset);
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

/*
 * A section without title: its options have defaults also when the file leaves it out. A second
 * one was reported; to be judged it is read over the first, for these hold nothing to be freed.
 */
static int fill_one(const cfg_t *cfg, const cfg_opt_t *opt, const struct config_section *section,
		    void *parent)
{
	void *object = (char *)parent + section->offset;
	int error = 0;

	for (unsigned int i = 0; i < opt->nvalues && error >= 0; i++)
		error = fill_section(opt->values[i]->section, section, object);
	if (opt->nvalues > 0)
		return error;
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

/* The most that a byte of the text becomes in libconfuse, and what its scanner takes. */
#define RESERVE_OF_BYTE 64
#define RESERVE         ((size_t)256 << 10)
#define RESERVE_PIECE   ((size_t)64 << 10) /* below M_MMAP_THRESHOLD: they stay with the heap */

/*
 * libconfuse does not look whether it got memory, and a daemon that was told to read a new
 * configuration must not end by that: what it will take is taken here first, and given back.
 */
static bool has_memory_for(const char *text)
{
	size_t count = (strlen(text) * RESERVE_OF_BYTE + RESERVE) / RESERVE_PIECE, got = 0;
	void **pieces = calloc(count, sizeof(*pieces));

	while (pieces && got < count && (pieces[got] = malloc(RESERVE_PIECE)) != NULL)
		got++;
	for (size_t i = 0; i < got; i++)
		free(pieces[i]);
	free(pieces);
	return got == count;
}

static int parse_clean(char *text, struct parse *parse, struct config *config)
{
	cfg_t *cfg = has_memory_for(text) ? make_parser(parse) : NULL;
	int error;

	if (!cfg)
		return -ENOMEM;
	error = parse_tree(cfg, text, parse);
	if (error == 0)
		error = fill_section(cfg, &config_root, config);
	cfg_free(cfg);
	return error;
}

int config_parse(const char *text, struct config_report *report, struct config *config)
{
	struct parse parse = {.report = report};
	struct config_syntax syntax = {0};
	int error = config_syntax_read(text, report, &syntax);

	if (error == 0)
		error = parse_clean(syntax.text, &parse, config);
	if (error == 0 && syntax.cut)
		error = -EINVAL;
	free(syntax.text);
	return error;
}
