/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One who asks at the control socket: a line comes in, an answer goes out, the connection is
 * closed. The answer is a line of JSON, {"status": "ok", "bytes": N} and a body of N bytes, or
 * {"status": "error", "message": "..."}.
 *
 * It has so long for its line, and so long to read the answer; until then the answer lies in
 * memory. Nothing blocks.
 */
#ifndef MCSEAL_CONTROL_CONTROL_CLIENT_H
#define MCSEAL_CONTROL_CONTROL_CLIENT_H

#include "base/clock.h"
#include "control/control_command.h"

#include <sys/queue.h>
#include <systemd/sd-event.h>

#define CONTROL_LINE_SIZE    4096 /* its end included */
#define CONTROL_REQUEST_TIME (2 * CLOCK_SEC)
#define CONTROL_ANSWER_TIME  (5 * CLOCK_SEC)

/* What is asked, and of whom. */
struct control_service {
	const struct control_commands *commands;
	struct control_context *context;
};

struct control_client {
	struct control_service *service;
	void (*gone)(
		struct control_client *client); /* takes it out of the list; then it is freed */
	LIST_ENTRY(control_client) entry;       /* the caller's */

	int fd;
	sd_event_source *ready, *deadline;
	char line[CONTROL_LINE_SIZE];
	size_t used;
	char *head, *body; /* once it is answered */
	size_t head_size, body_size, sent;
};

/*
 * Starts; `gone` will be called once, not before this is back. Takes over `fd` with 0; -ENOMEM or
 * another -errno: it is still the caller's.
 */
int control_client_new(sd_event *loop, int fd, struct control_service *service,
		       void (*gone)(struct control_client *client), struct control_client **client);
/* Ends it at once, whatever it was at. */
void control_client_close(struct control_client *client);
/* {"status": "error", "message": `message`} and a line end; to be freed. NULL: no memory. */
char *control_client_error(const char *message);

#endif
