/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/doctor.h"

#include "base/error.h"
#include "doctor/examination.h"
#include "tls/tls_memory.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#define USUAL_PATH "/etc/mcseal/mcseald.conf"

/* In the order in which one rests on the other. */
static const struct {
	const char *name;
	void (*examine)(struct examination *examination);
	clock_us patience;
	bool needs_sound; /* nothing to rely on where the configuration has errors */
} STEPS[] = {
	{"configuration", examine_configuration, 5 * CLOCK_SEC, false},
	{"kernel", examine_kernel, 10 * CLOCK_SEC, false},
	{"certificates", examine_certificates, 10 * CLOCK_SEC, false},
	{"clock", examine_clock, CLOCK_SEC, false},
	{"daemon", examine_daemon, 10 * CLOCK_SEC, false},
	{"ports", examine_ports, 10 * CLOCK_SEC, true},
	{"rules", examine_rules, 15 * CLOCK_SEC, true},
	{"names", examine_names, 10 * CLOCK_SEC, true},
	{"gateways", examine_gateways, 30 * CLOCK_SEC, true},
	{"plcs", examine_plcs, 30 * CLOCK_SEC, true},
};

void examination_say(struct examination *examination, enum finding_result result, const char *about,
		     const char *cure, const char *format, ...)
{
	struct finding finding = {.step = examination->step, .result = result};
	va_list arguments;

	snprintf(finding.about, sizeof(finding.about), "%s", about != NULL ? about : "");
	snprintf(finding.cure, sizeof(finding.cure), "%s", cure != NULL ? cure : "");
	va_start(arguments, format);
	vsnprintf(finding.what, sizeof(finding.what), format, arguments);
	va_end(arguments);
	examination->failed += result == FINDING_FAILED;
	examination->request->tell(examination->request->context, &finding);
}

unsigned int doctor_run(const struct doctor_request *request)
{
	struct examination examination = {.request = request};

	(void)tls_memory_wipe_on_free();
	(void)prctl(PR_SET_DUMPABLE, 0); /* keys are read into this memory, too */
	signal(SIGPIPE, SIG_IGN);
	if (strcmp(request->path, USUAL_PATH) != 0)
		snprintf(examination.option, sizeof(examination.option), " -c %s", request->path);
	for (size_t i = 0; i < ARRAY_SIZE(STEPS); i++) {
		examination.step = STEPS[i].name;
		examination.deadline = clock_now() + STEPS[i].patience;
		if (examination.config == NULL && i > 0)
			examination_say(&examination, FINDING_NOT_ASKED, NULL, NULL,
					"there is no configuration to go by");
		else if (STEPS[i].needs_sound && !examination.sound)
			examination_say(&examination, FINDING_NOT_ASKED, NULL, NULL,
					"the configuration has errors");
		else
			STEPS[i].examine(&examination);
	}
	config_free(examination.config);
	return examination.failed;
}
