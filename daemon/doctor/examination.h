/* SPDX-License-Identifier: Apache-2.0 */
/* What the steps of `mcseal doctor` share, and the steps themselves, each in a file of its own. */
#ifndef MCSEAL_DOCTOR_EXAMINATION_H
#define MCSEAL_DOCTOR_EXAMINATION_H

#include "base/clock.h"
#include "config/config.h"
#include "doctor/doctor.h"

#include <sys/types.h>

struct examination {
	const struct doctor_request *request;
	const char *step;  /* the one that is under way ... */
	clock_us deadline; /* ... until then */
	unsigned int failed;
	struct config *config; /* what could be read of it; NULL: nothing */
	bool sound;            /* the configuration has no error: others may rely on it */
	bool answered;         /* the daemon, and `daemon` holds what it said */
	struct doctor_daemon daemon;
	time_t latest_start; /* of what certificates and lists say of their beginning */
	char option[400];    /* " -c FILE" for other programs, "" for the usual file */
};

/* `cure` may be NULL; the rest is of the finding. */
void examination_say(struct examination *examination, enum finding_result result, const char *about,
		     const char *cure, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* The steps; docs/mcseal.md tells what each looks at. */
void examine_configuration(struct examination *examination);
void examine_kernel(struct examination *examination);
void examine_certificates(struct examination *examination);
void examine_clock(struct examination *examination);
void examine_daemon(struct examination *examination);
void examine_ports(struct examination *examination);
void examine_rules(struct examination *examination);
void examine_names(struct examination *examination);
void examine_gateways(struct examination *examination);
void examine_plcs(struct examination *examination);

#endif
