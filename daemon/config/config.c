/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include "base/error.h"
#include "config/config_check.h"
#include "config/config_option.h"
#include "config/config_parse.h"
#include "config/config_report.h"
#include "config/config_value.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_SIZE_MAX (1 << 20)

/* --- freeing, along the tables ---------------------------------------------------------------- */

static void free_option(const struct config_option *option, char *object)
{
	const struct config_type *type = option->type;
	struct config_list list = {.items = object + option->offset, .count = 1};

	if (option->list)
		list = *(struct config_list *)(object + option->offset);
	for (size_t i = 0; i < list.count && type->release; i++)
		type->release(list.items + i * type->size);
	if (option->list)
		free(list.items);
}

static void free_section(const struct config_section *section, char *object)
{
	for (size_t i = 0; i < section->option_count; i++)
		free_option(&section->options[i], object);
	for (size_t i = 0; i < section->section_count; i++) {
		const struct config_section *inner = &section->sections[i];
		struct config_list list = {.items = object + inner->offset, .count = 1};

		if (inner->title)
			list = *(struct config_list *)(object + inner->offset);
		for (size_t j = 0; j < list.count; j++)
			free_section(inner, list.items + j * inner->size);
		if (inner->title)
			free(list.items);
	}
	if (section->title && section->title->release)
		section->title->release(object + section->title_offset);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	free_section(&config_root, (char *)config);
	free(config->path);
	free(config->text);
	free(config);
}

/* --- loading -----------------------------------------------------------------------------------
 */

static int load(const char *text, struct config_report *report, struct config *config)
{
	int error;

	config->path = strdup(report->path);
	config->text = strdup(text);
	if (!config->path || !config->text)
		return -ENOMEM;
	error = config_parse(text, report, config);
	if (error == 0)
		error = config_check(config, report);
	if (error == 0 && report->errors > 0)
		error = -EINVAL;
	return error;
}

/* With -EINVAL, *config is what could be read. */
static int judge_text(const char *text, const char *name, bool alone, FILE *file,
		      struct config **config)
{
	struct config *loaded = calloc(1, sizeof(*loaded));
	struct config_report report;
	int error;

	*config = NULL;
	config_report_init(&report, name, file);
	report.alone = alone;
	error = loaded ? load(text, &report, loaded) : -ENOMEM;
	if (error == -ENOMEM)
		config_report_error(&report, 0, "out of memory");
	config_report_flush(&report);
	if (error < 0 && error != -EINVAL)
		config_free(loaded);
	else
		*config = loaded;
	return error;
}

/* Only a configuration without errors is given out. */
static int without_errors(int error, struct config *judged, struct config **config)
{
	if (error < 0)
		config_free(judged);
	else
		*config = judged;
	return error;
}

int config_load_text(const char *text, const char *name, FILE *file, struct config **config)
{
	struct config *judged;
	int error = judge_text(text, name, false, file, &judged);

	return without_errors(error, judged, config);
}

/* Up to FILE_SIZE_MAX bytes and a NUL. A pipe will do: `mcseald --check /dev/stdin`. */
static int read_file(const char *path, char *text, size_t *size)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	for (*size = 0; *size < FILE_SIZE_MAX;) {
		ssize_t got = read(fd, text + *size, FILE_SIZE_MAX - *size);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0)
			break;
		if (got > 0)
			*size += (size_t)got;
	}
	text[*size] = '\0';
	return *size < FILE_SIZE_MAX ? 0 : -EFBIG;
}

/* What a C string cannot tell from the end of the file. */
static int find_nul(const char *text, size_t size)
{
	int line = 1;

	if (!memchr(text, '\0', size))
		return 0;
	for (; *text; text++)
		line += *text == '\n';
	return line;
}

/* `text` has room for FILE_SIZE_MAX bytes and a NUL. */
static int load_file(const char *path, char *text, bool alone, FILE *report, struct config **config)
{
	size_t size = 0;
	int error = read_file(path, text, &size);
	int line;

	if (error < 0) {
		fprintf(report, "%s: error: cannot read the file (%s)%s\n", path, strerror(-error),
			error == -EFBIG ? ", expected a text of less than 1 MiB" : "");
		return error;
	}
	line = find_nul(text, size);
	if (line > 0) {
		fprintf(report, "%s:%d: error: unexpected byte 0x00, expected plain text\n", path,
			line);
		return -EINVAL;
	}
	return judge_text(text, path, alone, report, config);
}

static int judge_file(const char *path, bool alone, FILE *report, struct config **config)
{
	char *text = calloc(1, FILE_SIZE_MAX + 1);
	int error = -ENOMEM;

	*config = NULL;
	if (text)
		error = load_file(path, text, alone, report, config);
	else
		fprintf(report, "%s: error: out of memory\n", path);
	free(text);
	return error;
}

int config_judge(const char *path, FILE *report, struct config **config)
{
	return judge_file(path, false, report, config);
}

int config_load_alone(const char *path, FILE *report, struct config **config)
{
	struct config *judged;
	int error = judge_file(path, true, report, &judged);

	return without_errors(error, judged, config);
}

int config_load(const char *path, FILE *report, struct config **config)
{
	struct config *judged;
	int error = config_judge(path, report, &judged);

	return without_errors(error, judged, config);
}
