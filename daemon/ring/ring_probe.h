/* SPDX-License-Identifier: Apache-2.0 */
/* What io_uring does here beyond what ring_probe_uring() asks. */
#ifndef MCSEAL_RING_RING_PROBE_H
#define MCSEAL_RING_RING_PROBE_H

/*
 * Does io_uring splice from a socket into a pipe and, linked, from the pipe into a socket
 * (IORING_OP_SPLICE, Linux 5.7)? `near` and `far` are the non-blocking ends of an established
 * connection with nothing in flight; they stay the caller's. 0, -EBADMSG when other bytes came
 * out, -ETIMEDOUT, or the -errno of the step that failed, with *step naming it. Blocks for at most
 * a few seconds. The caller ignores SIGPIPE.
 */
int ring_probe_splice(int near, int far, const char **step);

#endif
