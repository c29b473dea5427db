/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks on while others change nftables, and says who took the rules away. */
#ifndef MCSEAL_NFT_WATCH_H
#define MCSEAL_NFT_WATCH_H

#include <stdbool.h>

/*
 * Until SIGTERM or SIGINT: after each change by anybody, compares the kernel with the rules of the
 * configuration `path`, which is read anew each time. What differs goes to standard output, as
 * text or as JSON lines, with the name and number of the process that made the change. With
 * `restore` rules that were seen in force are put back, as they were (blocking or observing), at
 * most three times a minute. 0, or -errno when it cannot
 * even begin.
 */
int watch(const char *path, bool restore, bool json);

#endif
