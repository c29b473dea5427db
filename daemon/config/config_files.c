/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_files.h"

#include "base/error.h"
#include "config/config_option.h"
#include "config/config_value.h"
#include "config/key_uri.h"

/* Options of all other types name nothing that is opened. */
static const struct {
	const struct config_type *type;
	enum config_use use;
} USES[] = {
	{&config_type_certificate, CONFIG_USE_READ}, {&config_type_key, CONFIG_USE_READ},
	{&config_type_ca, CONFIG_USE_READ},          {&config_type_crl, CONFIG_USE_READ},
	{&config_type_secret, CONFIG_USE_READ},      {&config_type_log, CONFIG_USE_WRITE},
	{&config_type_socket, CONFIG_USE_SOCKET},    {&config_type_folder, CONFIG_USE_FOLDER},
};

struct walk {
	int (*visit)(void *context, enum config_use use, const char *path);
	void *context;
};

/* What a key's URI names is opened as well. */
static int visit_query(const struct walk *walk, const char *uri)
{
	static const char *const NAMES[] = {"pin-source", "module-path"};
	char path[KEY_URI_MAX];
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(NAMES) && result == 0; i++)
		if (key_uri_query(uri, NAMES[i], path, sizeof(path)) == 0 && path[0] == '/')
			result = walk->visit(walk->context, CONFIG_USE_READ, path);
	return result;
}

static int visit(const struct walk *walk, enum config_use use, const char *path)
{
	if (path != NULL && key_uri_is_token(path))
		return visit_query(walk, path);
	return path != NULL && path[0] == '/' ? walk->visit(walk->context, use, path) : 0;
}

static int visit_option(const struct walk *walk, const struct config_option *option,
			const char *object, enum config_use use)
{
	const void *value = object + option->offset;
	const struct config_list *list = value;
	int result = 0;

	if (!option->list)
		return visit(walk, use, *(char *const *)value);
	for (size_t i = 0; i < list->count && result == 0; i++)
		result = visit(walk, use, ((char *const *)(const void *)list->items)[i]);
	return result;
}

static int visit_options(const struct walk *walk, const struct config_section *section,
			 const char *object)
{
	int result = 0;

	for (size_t i = 0; i < section->option_count; i++)
		for (size_t j = 0; j < ARRAY_SIZE(USES) && result == 0; j++)
			if (section->options[i].type == USES[j].type)
				result = visit_option(walk, &section->options[i], object,
						      USES[j].use);
	return result;
}

/* As deep as sections are in each other: two. */
static int visit_section(const struct walk *walk, const struct config_section *section,
			 const char *object)
{
	int result = visit_options(walk, section, object);

	for (size_t i = 0; i < section->section_count && result == 0; i++) {
		const struct config_section *inner = &section->sections[i];
		const void *at = object + inner->offset;
		const struct config_list *list = at;
		const char *objects = inner->title ? list->items : at;
		size_t count = inner->title ? list->count : 1;

		for (size_t j = 0; j < count && result == 0; j++)
			result = visit_section(walk, inner, objects + j * inner->size);
	}
	return result;
}

int config_each_file(const struct config *config,
		     int (*each)(void *context, enum config_use use, const char *path),
		     void *context)
{
	const struct walk walk = {each, context};

	return visit_section(&walk, &config_root, (const char *)config);
}
