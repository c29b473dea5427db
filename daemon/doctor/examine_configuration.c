/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

static bool has(const char *line, const char *part)
{
	return strstr(line, part) != NULL;
}

/* The path behind "OPTION: " of such a message: up to the words that tell what is wrong. */
static void print_path(const char *line, const char *what, char *path, size_t size)
{
	const char *end = strstr(line, what);
	const char *start = end;

	while (start > line && start[-1] != ' ')
		start--;
	snprintf(path, size, "%.*s", (int)(end - start), start);
}

static void print_cure(const struct examination *examination, const char *line, char *cure,
		       size_t size)
{
	char path[400]; /* the rest of a longer one is no use to anybody */

	if (has(line, " is open to group or others")) {
		print_path(line, " is open to group or others", path, sizeof(path));
		snprintf(cure, size, "chmod 0600 %s", path);
	} else if (has(line, " can be written by everybody")) {
		print_path(line, " can be written by everybody", path, sizeof(path));
		snprintf(cure, size, "chmod 0644 %s", path);
	} else if (has(line, "has no crl")) {
		snprintf(cure, size,
			 "mcseal-pki crl (on the CA's machine); copy crl.pem here and name it as "
			 "`crl`");
	} else {
		snprintf(cure, size, "correct it; then: mcseal check %s",
			 examination->request->path);
	}
}

/* "PATH:LINE: error: what is wrong" or "warning:". */
static void tell_line(struct examination *examination, const char *line)
{
	bool is_error = has(line, ": error: ");
	const char *mark = strstr(line, is_error ? ": error: " : ": warning: ");
	const char *what = mark == NULL ? line : strchr(mark + 2, ' ') + 1;
	char about[FINDING_ABOUT_SIZE], cure[FINDING_CURE_SIZE];

	snprintf(about, sizeof(about), "%.*s", mark == NULL ? 0 : (int)(mark - line), line);
	print_cure(examination, line, cure, sizeof(cure));
	examination_say(examination, is_error || mark == NULL ? FINDING_FAILED : FINDING_WARNING,
			about, cure, "%s", what);
}

void examine_configuration(struct examination *examination)
{
	const char *path = examination->request->path;
	cleanup_free char *text = NULL;
	size_t size = 0;
	FILE *report = open_memstream(&text, &size);
	char *rest = NULL;
	int error;

	if (report == NULL) {
		examination_say(examination, FINDING_FAILED, path, NULL, "out of memory");
		return;
	}
	error = config_judge(path, report, &examination->config);
	fclose(report);
	examination->sound = error == 0;
	for (char *line = text != NULL ? strtok_r(text, "\n", &rest) : NULL; line != NULL;
	     line = strtok_r(NULL, "\n", &rest))
		tell_line(examination, line);
	if (error == 0)
		examination_say(examination, FINDING_OK, path, NULL,
				"read: %zu edges, %zu gateways, %zu PLCs",
				examination->config->edge_count, examination->config->gateway_count,
				examination->config->plc_count);
}
