/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU time of a control group, read by mcload itself when the measurement begins and ends: whoever
 * else would read it had to be woken first, and both ends would go on meanwhile.
 */
#ifndef BENCH_MCLOAD_GROUP_H
#define BENCH_MCLOAD_GROUP_H

#include <stdint.h>

/*
 * `folder`: of a group of cgroup v2. Its cpu.stat, which every group has
 * (linux/Documentation/admin-guide/cgroup-v2.rst, 5-1-1). Returns a descriptor, or -errno.
 */
int mcload_group_open(const char *folder);
/* `usage_usec` of that file: microseconds of all its processes so far, or -errno. */
int64_t mcload_group_cpu_us(int fd);

#endif
