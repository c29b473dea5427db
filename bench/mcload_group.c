/* SPDX-License-Identifier: Apache-2.0 */
#include "mcload_group.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define USAGE "usage_usec "

int mcload_group_open(const char *folder)
{
	char path[PATH_MAX];
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/cpu.stat", folder) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int64_t mcload_group_cpu_us(int fd)
{
	char text[1024];
	ssize_t size = pread(fd, text, sizeof(text) - 1, 0);
	const char *usage;

	if (size < 0)
		return -errno;
	text[size] = '\0';
	usage = strstr(text, USAGE);
	return usage ? strtoll(usage + strlen(USAGE), NULL, 10) : -EBADMSG;
}
