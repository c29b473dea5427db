/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that the audit record is written to: shared by all workers, and opened anew whenever
 * somebody has renamed it (logrotate) or taken it away.
 *
 * One daemon writes to one file. A line is in it whole, or not at all.
 */
#ifndef MCSEAL_PROXY_AUDIT_FILE_H
#define MCSEAL_PROXY_AUDIT_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct audit_file;

/* With no path: nothing is written. 0 or -ENOMEM. */
int audit_file_new(struct audit_file **file);
/* When nobody writes any more. Accepts NULL. */
void audit_file_free(struct audit_file *file);
/*
 * From now on at `path`, which is copied; NULL: nowhere. What keeps it from being opened is logged,
 * and it is tried again with each line. Any thread. 0 or -ENOMEM, and nothing has changed.
 */
int audit_file_configure(struct audit_file *file, const char *path);
/*
 * Opens the path again: what is there under this name now is written to. Until that works the old
 * file is, if it still has a name. Any thread; for SIGUSR1.
 */
void audit_file_reopen(struct audit_file *file);

/* Is there a path? False for NULL. Any thread, without a lock. */
bool audit_file_is_set(const struct audit_file *file);
/*
 * Appends `line`, which ends with '\n', by one call. 0; or -errno, and nothing of it is in the
 * file. Logs a failure, once a minute, and its end. Blocks as write(2) to that file does. Any
 * thread.
 */
int audit_file_append(struct audit_file *file, const char *line, size_t size);

#endif
