/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One who asks at the control socket: a line comes in, an answer goes out, the connection is
 * closed. The answer is a line of JSON, {"status": "ok", "bytes": N} and a body of N bytes, or
 * {"status": "error", "message": "..."}.
 *
 * It has so long for its line, and so long to read the answer; until then the answer lies in
 * memory. Where the workers have to be asked, they have that long, too. Nothing blocks.
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

	struct ucred asker;
	int fd; /* -1: it is gone, and only waits for the workers */
	sd_event_source *ready, *deadline;
	char line[CONTROL_LINE_SIZE];
	size_t used;
	char *head, *body; /* once it is answered */
	size_t head_size, body_size, sent;

	struct control_later later;  /* while the workers are at it ... */
	sd_event_source *later_done; /* ... which is as long as this is not NULL */
};

/*
 * Starts; `gone` will be called once, not before this is back. Takes over `fd` with 0; -ENOMEM or
 * another -errno: it is still the caller's. `asker`: who is at the other end.
 */
int control_client_new(sd_event *loop, int fd, const struct ucred *asker,
		       struct control_service *service, void (*gone)(struct control_client *client),
		       struct control_client **client);
/* Ends it at once, whatever it was at; waits for workers that are at it. */
void control_client_close(struct control_client *client);
/* {"status": "error", "message": `message`} and a line end; to be freed. NULL: no memory. */
char *control_client_error(const char *message);

#endif
