/* SPDX-License-Identifier: Apache-2.0 */
/* struct config to text, along the option tables. */
#include "config/config.h"

#include "base/error.h"
#include "config/config_option.h"
#include "config/config_value.h"

#include <string.h>

static void indent(unsigned int depth, FILE *file)
{
	while (depth-- > 0)
		fputc('\t', file);
}

static void dump_list(const struct config_option *option, const struct config_list *list,
		      FILE *file)
{
	fputs("{ ", file);
	for (size_t i = 0; i < list->count; i++) {
		if (i > 0)
			fputs(", ", file);
		option->type->print(option, list->items + i * option->type->size, file);
	}
	fputs(" }", file);
}

static void dump_option(const struct config_option *option, const char *object, unsigned int depth,
			FILE *file)
{
	const struct config_type *type = option->type;
	const void *value = object + option->offset;
	const struct config_list *list = value;

	if (option->list ? list->count == 0 : type->present && !type->present(value))
		return;
	indent(depth, file);
	fprintf(file, "%s = ", option->name);
	if (option->list)
		dump_list(option, list, file);
	else
		type->print(option, value, file);
	fputc('\n', file);
}

static void dump_section(const struct config_section *section, const char *object,
			 unsigned int depth, FILE *file);

static void dump_inner(const struct config_section *section, const char *object, unsigned int depth,
		       FILE *file)
{
	const struct config_option title = {.name = section->name, .type = section->title};

	fputc('\n', file);
	indent(depth, file);
	fprintf(file, "%s ", section->name);
	if (section->title) {
		section->title->print(&title, object + section->title_offset, file);
		fputc(' ', file);
	}
	fputs("{\n", file);
	dump_section(section, object, depth + 1, file);
	indent(depth, file);
	fputs("}\n", file);
}

static void dump_section(const struct config_section *section, const char *object,
			 unsigned int depth, FILE *file)
{
	for (size_t i = 0; i < section->option_count; i++)
		dump_option(&section->options[i], object, depth, file);
	for (size_t i = 0; i < section->section_count; i++) {
		const struct config_section *inner = &section->sections[i];
		const void *at = object + inner->offset;
		const struct config_list *list = at;
		const char *objects = inner->title ? list->items : at;
		size_t count = inner->title ? list->count : 1;

		for (size_t j = 0; j < count; j++)
			dump_inner(inner, objects + j * inner->size, depth, file);
	}
}

void config_dump(const struct config *config, FILE *file)
{
	dump_section(&config_root, (const char *)config, 0, file);
}
