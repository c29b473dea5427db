/* SPDX-License-Identifier: Apache-2.0 */
/* The number by which log and `sessions` call a session. */
#ifndef MCSEAL_CONTROL_SESSION_NUMBER_H
#define MCSEAL_CONTROL_SESSION_NUMBER_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

/* At the beginning of `text`; *rest is what follows. 0 or -EINVAL: there is none. */
static inline int session_number_parse(const char *text, uint64_t *id, const char **rest)
{
	char *end;

	if (*text < '1' || *text > '9')
		return -EINVAL;
	errno = 0;
	*id = strtoull(text, &end, 10);
	*rest = end;
	return errno == 0 ? 0 : -EINVAL;
}

#endif
