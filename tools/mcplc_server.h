/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated PLC's TCP ports: one thread, epoll, any number of connections. */
#ifndef MCSEAL_TOOLS_MCPLC_SERVER_H
#define MCSEAL_TOOLS_MCPLC_SERVER_H

#include "base/address.h"
#include "base/clock.h"
#include "mcplc_cpu.h"
#include "mcplc_log.h"

#define MCPLC_PORTS_MAX 32

enum mcplc_accepted_code {
	MCPLC_CODE_AUTO,
	MCPLC_CODE_BINARY,
	MCPLC_CODE_ASCII,
};

struct mcplc_server_options {
	struct address ports[MCPLC_PORTS_MAX];
	size_t port_count;
	enum mcplc_accepted_code code;
	clock_us delay;     /* before each answer */
	size_t connections; /* per port; 0 = no limit */
	size_t split;       /* answers leave in pieces of so many bytes; 0 = whole */
	clock_us split_gap; /* between pieces */
	bool drop_pipelined;
};

/*
 * Opens the ports, prints `mcplc: ready ADDRESS` for each on stdout, serves until SIGTERM or
 * SIGINT, then closes everything and returns 0. Negative errno after a message on stderr.
 */
int mcplc_server_run(const struct mcplc_server_options *options, struct mcplc_cpu *cpu,
		     const struct mcplc_log *log);

#endif
