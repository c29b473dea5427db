/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

#include "doctor/listening.h"

#include <errno.h>
#include <string.h>

#define START "systemctl start mcseald; journalctl -u mcseald -e says why it ended"

static void tell_answer(struct examination *examination)
{
	const struct doctor_daemon *daemon = &examination->daemon;
	char digest[DIGEST_TEXT_SIZE] = "";

	if (strcmp(daemon->configuration, examination->request->path) != 0)
		examination_say(examination, FINDING_NOTE, NULL, NULL,
				"mcseald (pid %ld) runs, with another file: %s", daemon->pid,
				daemon->configuration);
	if (examination->config->text != NULL &&
	    digest_print(examination->config->text, strlen(examination->config->text), digest) ==
		    0 &&
	    strcmp(digest, daemon->sha256) != 0)
		examination_say(examination, FINDING_WARNING, NULL, "mcseal reload",
				"mcseald (pid %ld) runs, but this file was changed since it was "
				"read",
				daemon->pid);
	else
		examination_say(examination, FINDING_OK, NULL, NULL,
				"mcseald (pid %ld) runs with this configuration", daemon->pid);
}

void examine_daemon(struct examination *examination)
{
	const char *path = examination->config->control_socket;
	int error;

	if (path == NULL || *path == '\0') {
		examination_say(examination, FINDING_NOT_ASKED, NULL, NULL,
				"control_socket = \"\": whether it runs, the ports tell");
		return;
	}
	error = examination->request->ask(path, &examination->daemon);
	examination->answered = error == 0;
	if (error == 0)
		tell_answer(examination);
	else if (error == -EACCES || error == -EPERM)
		examination_say(examination, FINDING_NOT_ASKED, NULL, "as root: mcseal doctor",
				"%s", examination->daemon.message);
	else
		examination_say(examination, FINDING_FAILED, NULL, START, "%s",
				examination->daemon.message);
}

/* --- ports ---------------------------------------------------------------------------------- */

static bool is_daemon(const struct examination *examination, const struct listening *listening)
{
	return examination->answered ? listening->pid == examination->daemon.pid
				     : strcmp(listening->program, "mcseald") == 0;
}

static void look_at(struct examination *examination, const char *where,
		    const struct address *address)
{
	char text[ADDRESS_TEXT_SIZE], cure[FINDING_CURE_SIZE];
	struct listening listening;
	int error = listening_find(address, &listening);

	address_print(address, text);
	snprintf(cure, sizeof(cure), "ss -ltnp 'sport = :%u' shows who; end it, or change `listen`",
		 address_port(address));
	if (error < 0)
		examination_say(examination, FINDING_NOT_ASKED, where, NULL, "%s: %s", text,
				strerrordesc_np(-error));
	else if (!listening.taken)
		examination_say(examination, FINDING_FAILED, where,
				examination->answered
					? "journalctl -u mcseald | grep listen-failed; "
					  "mcseal status says whether it drains"
					: START,
				"nobody listens at %s", text);
	else if (listening.pid == 0)
		examination_say(examination, FINDING_NOT_ASKED, where, "as root: mcseal doctor",
				"somebody listens at %s; only root may know who", text);
	else if (is_daemon(examination, &listening))
		examination_say(examination, FINDING_OK, where, NULL, "mcseald listens at %s",
				text);
	else
		examination_say(examination, FINDING_FAILED, where, cure,
				"%s (pid %ld) has %s, not this mcseald", listening.program,
				(long)listening.pid, text);
}

void examine_ports(struct examination *examination)
{
	const struct config *config = examination->config;
	char where[160];

	for (size_t i = 0; i < config->gateway_count; i++) {
		snprintf(where, sizeof(where), "gateway \"%s\"", config->gateways[i].name);
		for (size_t j = 0; j < config->gateways[i].listen_count; j++)
			look_at(examination, where, &config->gateways[i].listen[j]);
	}
	for (size_t i = 0; i < config->edge_count; i++) {
		snprintf(where, sizeof(where), "edge \"%s\"", config->edges[i].name);
		for (size_t j = 0; j < config->edges[i].listen_count; j++)
			look_at(examination, where, &config->edges[i].listen[j]);
	}
}
