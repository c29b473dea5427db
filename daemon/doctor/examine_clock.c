/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

#include <errno.h>
#include <string.h>
#include <sys/timex.h>

#define SET_CLOCK "timedatectl set-ntp true; or by hand: timedatectl set-time 'YYYY-MM-DD HH:MM:SS'"

static void print_time(time_t when, char *text)
{
	struct timespec time = {.tv_sec = when};

	clock_print(&time, CLOCK_PRECISION_MS, text);
}

void examine_clock(struct examination *examination)
{
	struct timex state = {.modes = 0};
	char now_text[CLOCK_TEXT_SIZE], start_text[CLOCK_TEXT_SIZE];
	time_t now = time(NULL);

	print_time(now, now_text);
	if (examination->latest_start > now) {
		print_time(examination->latest_start, start_text);
		examination_say(examination, FINDING_FAILED, NULL, SET_CLOCK,
				"it is %s here, and a certificate or revocation list begins at %s: "
				"this clock is behind, or the CA's was ahead",
				now_text, start_text);
	} else if (adjtimex(&state) < 0) {
		examination_say(examination, FINDING_NOT_ASKED, NULL, NULL,
				"it is %s here; the kernel does not say whether somebody sets the "
				"clock: %s",
				now_text, strerrordesc_np(errno));
	} else if ((state.status & STA_UNSYNC) != 0) {
		examination_say(examination, FINDING_WARNING, NULL, "timedatectl set-ntp true",
				"it is %s here, and nobody keeps this clock right: certificates "
				"and revocation lists will be refused when it is wrong",
				now_text);
	} else {
		examination_say(examination, FINDING_OK, NULL, NULL, "it is %s here, synchronised",
				now_text);
	}
}
