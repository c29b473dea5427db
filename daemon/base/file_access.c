/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file_access.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

int file_try_write(const char *path)
{
	char folder[PATH_MAX];
	size_t length = (size_t)(strrchr(path, '/') - path);

	if (access(path, W_OK) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	if (length >= sizeof(folder))
		return -ENAMETOOLONG;
	memcpy(folder, path, length);
	folder[length] = '\0';
	return access(length > 0 ? folder : "/", W_OK | X_OK) == 0 ? 0 : -errno;
}

/* access(2) goes by users and modes alone; Landlock and its like only speak up at open(2). */
const char *file_denial(const char *path, bool write, int error)
{
	bool allowed = write ? file_try_write(path) == 0 : access(path, R_OK) == 0;

	if (error == -EACCES && path[0] == '/' && allowed)
		return "Permission denied: the daemon is confined to the folders that its "
		       "configuration named when it started; start it anew";
	return strerrordesc_np(-error);
}
