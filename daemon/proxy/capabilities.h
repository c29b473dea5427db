/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel lets this process do, found out by doing it on loopback at start; never by
 * uname(2), because distributions take fixes into older kernels. One report in the log, kept for
 * whoever asks later, and the choice that follows. Constant once the choice is made: any thread
 * reads it.
 */
#ifndef MCSEAL_PROXY_CAPABILITIES_H
#define MCSEAL_PROXY_CAPABILITIES_H

#include "config/config.h"
#include "proxy/relay_engine.h"
#include "ring/ring.h"
#include "tls/traffic_keys.h"

#include <stdbool.h>

enum capability {
	CAPABILITY_URING,        /* io_uring as ring_uring.c needs it */
	CAPABILITY_URING_SPLICE, /* IORING_OP_SPLICE */
	CAPABILITY_KTLS,         /* TCP_ULP "tls" */
	/* The kernel takes keys of this cipher; in the order of enum traffic_cipher. */
	CAPABILITY_AES_128_GCM,
	CAPABILITY_AES_256_GCM,
	CAPABILITY_CHACHA20_POLY1305,
	CAPABILITY_REKEY,       /* keys can be changed (6.14) */
	CAPABILITY_WHOLE_POLL,  /* poll reports whole records only (not on 6.1) */
	CAPABILITY_SAFE_SPLICE, /* splice from kernel TLS loses nothing when a pipe is full */
	CAPABILITY_PIPES,       /* pipes of PIPE_SLOTS slots can be had */
	CAPABILITIES,
};

struct capability_finding {
	bool there;
	/* Not there: which step failed and how, or that it was not tried; there: "". */
	char why[96];
};

struct capabilities {
	struct capability_finding findings[CAPABILITIES];
	/* What follows from them and the configuration. */
	enum ring_engine loop;
	enum relay_engine relay;
	char loop_why[160], relay_why[160];
};

/* "ktls", "aes-128-gcm", ... as in the log and the documents. */
const char *capability_name(enum capability capability);

/*
 * Tries everything on loopback; a few milliseconds, blocking, once at start, SIGPIPE ignored. What
 * the configuration has no use for is not touched: io_uring with engine = epoll (a container may
 * end a process that calls it), kernel TLS where every listener says off.
 */
void capabilities_probe(struct capabilities *capabilities, const struct config *config);
/* One `capabilities` line: of each yes, or no with the reason. */
void capabilities_log(const struct capabilities *capabilities);
/*
 * Chooses loop and engine. 0, or -EOPNOTSUPP after an `engine-refused` or `ktls-refused` line (or
 * both) when the configuration insists (engine = splice, ktls = required) on what is not there.
 */
int capabilities_choose(struct capabilities *capabilities, const struct config *config);
/* One `engine` line: what was chosen, and why. */
void capabilities_log_choice(const struct capabilities *capabilities, const struct config *config);
/*
 * May sessions with this cipher hand their keys to the kernel? NULL: yes; else why not, as long as
 * `capabilities` live. Whether the listener wants it is config_ktls().
 */
const char *capabilities_refuse_cipher(const struct capabilities *capabilities,
				       enum traffic_cipher cipher);

#endif
