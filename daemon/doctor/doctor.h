/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `mcseal doctor`: the whole way of a request, looked at step by step, from the configuration to
 * the PLC. It changes nothing: it reads files, asks the kernel, the daemon, the rules program and
 * the gateways of edges; PLCs only when told to. docs/mcseal.md lists the steps.
 */
#ifndef MCSEAL_DOCTOR_DOCTOR_H
#define MCSEAL_DOCTOR_DOCTOR_H

#include "doctor/finding.h"
#include "tls/digest.h"

#include <stdbool.h>
#include <stddef.h>

/* What the running daemon says of itself. */
struct doctor_daemon {
	long pid;
	char configuration[1024];
	char sha256[DIGEST_TEXT_SIZE]; /* of the text that it has read */
	char message[512];             /* why there is no answer */
};

struct doctor_request {
	const char *path; /* of the configuration */
	bool plcs;        /* PLCs are to be asked ... */
	const char *plc;  /* ... this one alone: its name, or ADDRESS:PORT. NULL: all */
	/* Asks at a control socket. 0, or -errno with a message. */
	int (*ask)(const char *control_socket, struct doctor_daemon *daemon);
	/* Is given every finding when it is made. */
	void (*tell)(void *context, const struct finding *finding);
	void *context;
};

/*
 * Goes through all steps; each has its own limit of time, about two minutes in all where everything
 * hangs. Returns how many findings FAILED. Ignores SIGPIPE from then on. Call it before anything
 * else calls OpenSSL.
 */
unsigned int doctor_run(const struct doctor_request *request);

#endif
