/* SPDX-License-Identifier: Apache-2.0 */
/* One thing that `mcseal doctor` has looked at: how it is, and what to do about it. */
#ifndef MCSEAL_DOCTOR_FINDING_H
#define MCSEAL_DOCTOR_FINDING_H

#define FINDING_ABOUT_SIZE 512
#define FINDING_CURE_SIZE  1024

enum finding_result {
	FINDING_OK,
	FINDING_NOTE,    /* works; somebody may want to know */
	FINDING_WARNING, /* works, not as well as it could, or not for long */
	FINDING_FAILED,
	FINDING_NOT_ASKED, /* could not be looked at from here, or nobody asked for it */
};

struct finding {
	const char *step; /* "configuration", "kernel", ...: docs/mcseal.md has the list */
	char about[FINDING_ABOUT_SIZE]; /* which of them: `gateway "plant"`; "" = there is one only
					 */
	enum finding_result result;
	char what[1024];
	char cure[FINDING_CURE_SIZE]; /* the command to type, or what else to do; "" = nothing */
};

/* "ok", "note", "warning", "FAILED", "not asked". */
const char *finding_result_name(enum finding_result result);

#endif
