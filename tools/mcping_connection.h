/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection, plain or with TLS, on which every call has a deadline.
 *
 * After anything but CONNECTION_DONE the connection is only good for connection_close(), and
 * `problem` says in plain words what happened.
 */
#ifndef MCPING_CONNECTION_H
#define MCPING_CONNECTION_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "mcping_tls.h"

#define CONNECTION_PROBLEM_SIZE 512

enum connection_outcome {
	CONNECTION_DONE = 0,
	CONNECTION_FAILED = 1,
	CONNECTION_STOPPED = 2, /* stop_fd became readable */
};

struct connection_target {
	const char *host; /* name or numeric address, without brackets */
	const char *port;
	const struct tls_options *tls; /* NULL = plain TCP */
};

struct connection {
	int fd;
	int stop_fd; /* signalfd(2) that ends every wait; -1 = none; not owned */
	SSL_CTX *context;
	SSL *ssl; /* NULL = plain */
	char problem[CONNECTION_PROBLEM_SIZE];
};

/* Ready for connection_open() and connection_close(). */
void connection_init(struct connection *connection, int stop_fd);
/* Tries every address of the host in turn until `deadline` (CLOCK_MONOTONIC, microseconds). */
int connection_open(struct connection *connection, const struct connection_target *target,
		    clock_us deadline);
int connection_send(struct connection *connection, const uint8_t *bytes, size_t size,
		    clock_us deadline);
/* One recv(2) or one TLS record: *got is 1 to `size` bytes. The peer's close is a failure. */
int connection_receive(struct connection *connection, uint8_t *bytes, size_t size, size_t *got,
		       clock_us deadline);
/* Sleeps until `until` or a stop. */
int connection_pause(struct connection *connection, clock_us until);
/* Says goodbye (close_notify, FIN) and frees; may be called twice. */
void connection_close(struct connection *connection);

#endif
