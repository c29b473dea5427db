/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the bytes of sessions with their keys in the kernel are moved; docs/kernel-tls.md compares
 * them. Sessions whose records are made in user space are always copied.
 */
#ifndef MCSEAL_PROXY_RELAY_ENGINE_H
#define MCSEAL_PROXY_RELAY_ENGINE_H

enum relay_engine {
	RELAY_ENGINE_COPY,
	RELAY_ENGINE_SPLICE,       /* splice(2) on the worker */
	RELAY_ENGINE_URING_SPLICE, /* IORING_OP_SPLICE */
	RELAY_ENGINES,
};

/* As in the configuration and the log. */
const char *relay_engine_name(enum relay_engine engine);

#endif
