/* SPDX-License-Identifier: Apache-2.0 */
/* mcload: load on the way to a PLC, and how long its answers take. docs/mcload.md is its manual. */
#include <argp.h>
#include <signal.h>

#include "mcload_run.h"

const char *argp_program_version = "mcload " MCSEAL_VERSION;

int main(int argc, char **argv)
{
	struct mcload_options options;

	signal(SIGPIPE, SIG_IGN);
	mcload_options_parse(&options, argc, argv);
	return mcload_run(&options);
}
