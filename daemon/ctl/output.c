/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/output.h"

#include "ctl/options.h"

#include <errno.h>
#include <string.h>

int output_fail(const char *what, const char *why)
{
	fprintf(stderr, "mcseal: %s%s%s\n", what, why != NULL ? ": " : "", why != NULL ? why : "");
	return EXIT_FAILED;
}

int output_unanswered(const struct call_answer *answer)
{
	return output_fail(answer->message != NULL ? answer->message : "out of memory", NULL);
}

int output_body(const char *path, FILE *file, const struct call_answer *answer)
{
	bool good = fwrite(answer->body, 1, answer->size, file) == answer->size;

	good = fflush(file) == 0 && good;
	return good ? EXIT_DONE : output_fail(path, strerrordesc_np(errno));
}

int output_end(void)
{
	return fflush(stdout) == 0 && ferror(stdout) == 0
		       ? EXIT_DONE
		       : output_fail("stdout", strerrordesc_np(errno));
}

int output_not_understood(void)
{
	return output_fail("this is not mcseald's answer", NULL);
}
