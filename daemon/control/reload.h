/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another configuration for a running daemon: read, judged and built beside the old one, and put in
 * its place only when nothing is wrong with it. Sessions go on (session_rebind()).
 */
#ifndef MCSEAL_CONTROL_RELOAD_H
#define MCSEAL_CONTROL_RELOAD_H

#include "control/expiry.h"
#include "control/renewal.h"
#include "proxy/audit_file.h"
#include "proxy/worker.h"

struct reload {
	const char *path;
	struct snapshot *snapshot; /* in force: a reference */
	struct audit_file *audit;
	struct renewal *renewal;         /* is told of what is put in force; NULL: not yet */
	struct expiry *expiry;           /* looks at what is put in force; NULL: not yet */
	struct peer_chain_store *chains; /* what the peers of live sessions have shown */
	struct worker **workers;
	unsigned int worker_count;
};

/*
 * Reads the file again. Every fault goes to `report`, a line each as at the start, and one line of
 * the log says what came of it: `reloaded`, or `reload-failed` and why. 0; or -errno, and all is as
 * before. Blocks for as long as files take to read and workers to take a message. On the main
 * thread.
 */
int reload(struct reload *reload, FILE *report);
/*
 * Reads the files again that the configuration in force names, of which `changed` is one; not its
 * own. The line is `files-renewed`, or `files-not-renewed` and why. Otherwise as reload().
 */
int reload_files(struct reload *reload, const char *changed, FILE *report);

#endif
