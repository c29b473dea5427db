/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections of this process with itself, to try on them what the kernel does: its answers
 * to kernel TLS and splice are those of real TCP sockets, not of a socketpair(2).
 */
#ifndef MCSEAL_PROXY_LOOPBACK_H
#define MCSEAL_PROXY_LOOPBACK_H

#include "base/clock.h"

#include <stddef.h>

/*
 * Longest wait for anything. On loopback nothing takes a thousandth of it, but a machine that is
 * just starting may have no time for us.
 */
#define LOOPBACK_WAIT (2 * CLOCK_SEC)

/*
 * Both ends of an established connection on 127.0.0.1, or on ::1 where there is no IPv4:
 * non-blocking, close-on-exec, TCP_NODELAY. The caller closes them. 0, -ETIMEDOUT or other -errno
 * (then both are -1).
 */
int loopback_pair(int pair[2]);
/*
 * Waits for POLLIN, and then a millisecond: on Linux 6.1 a socket of kernel TLS is readable with a
 * part of a record, on which a caller must not spin. 0, -ETIMEDOUT or other -errno.
 */
int loopback_wait(int fd, clock_us deadline);
/* All of `bytes` into fd, or `size` bytes out of it. 0, -ETIMEDOUT, -ECONNRESET (end) or -errno. */
int loopback_send(int fd, const void *bytes, size_t size);
int loopback_receive(int fd, void *bytes, size_t size);

#endif
