/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Landlock denies what a ruleset handles and no rule of it allows. A rule is a file, or a folder
 * with all below it. A folder of the configuration's is allowed, not the file that is named:
 * certificates are renewed by a new file of that name, and a reload may name another one beside
 * it. What stands behind a link is taken in with its own folder.
 *
 * Each ABI of Landlock handles more than the one before; the newest of this kernel is used as far
 * as it is known here. The constants are spelled out: Debian 12's headers know the first two ABIs.
 *
 * Not handled: looking (stat(2), access(2)), chmod(2), and connecting to sockets of the file
 * system, on any kernel there is.
 */
#include "confine/ruleset.h"

#include "base/error.h"
#include "config/config_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define WRITE_FILE  LANDLOCK_ACCESS_FS_WRITE_FILE
#define READ_FILE   LANDLOCK_ACCESS_FS_READ_FILE
#define READ_DIR    LANDLOCK_ACCESS_FS_READ_DIR
#define REMOVE_FILE LANDLOCK_ACCESS_FS_REMOVE_FILE
#define MAKE_REG    LANDLOCK_ACCESS_FS_MAKE_REG
#define MAKE_SOCK   LANDLOCK_ACCESS_FS_MAKE_SOCK
#define FIRST_ABI   ((UINT64_C(1) << 13) - 1) /* all above and more */
#define REFER       (UINT64_C(1) << 13)       /* ABI 2: moving files between folders */
#define TRUNCATE    (UINT64_C(1) << 14)       /* ABI 3 */
#define BIND_TCP    UINT64_C(1)               /* ABI 4 */
#define IOCTL_DEV   (UINT64_C(1) << 15)       /* ABI 5 */
#define SIGNAL      (UINT64_C(1) << 1)        /* ABI 6 */
#define OF_FILES    (LANDLOCK_ACCESS_FS_EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)
#define RULE_PATH   1
#define RULE_PORT   2

/* landlock(7) struct landlock_ruleset_attr of ABI 6; `size` tells older kernels how much of it. */
struct ruleset_attributes {
	uint64_t files;
	uint64_t ports;
	uint64_t scopes;
};

struct port_rule {
	uint64_t access;
	uint64_t port;
};

struct ruleset {
	int fd, abi;
	struct ruleset_attributes handled;
};

/* What the libraries may open at any time, and why. Those that are not there are left out. */
static const struct {
	const char *path;
	uint64_t access;
} SYSTEM_FILES[] = {
	{"/dev/null", READ_FILE | WRITE_FILE},
	{"/dev/urandom", READ_FILE},          /* OpenSSL, where getrandom(2) fails */
	{"/etc/passwd", READ_FILE},           /* users of a source, at a reload */
	{"/etc/group", READ_FILE},            /* the same library asks for both */
	{"/etc/nsswitch.conf", READ_FILE},    /* where users are looked up */
	{"/etc/ld.so.cache", READ_FILE},      /* for what is loaded late: name services ... */
	{"/usr/lib", READ_FILE | READ_DIR},   /* ... OpenSSL's providers, libgcc_s */
	{"/usr/lib64", READ_FILE | READ_DIR}, /* the same elsewhere */
	{"/etc/localtime", READ_FILE},        /* the C library's time */
	{"/proc/sys/kernel/random/boot_id", READ_FILE},    /* sd-event spreads its wake-ups by it */
	{"/sys/devices/system/cpu", READ_FILE | READ_DIR}, /* sysconf(3): how many there are */
	{"/proc/sys/vm/overcommit_memory", READ_FILE},     /* malloc(3), giving memory back */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(FUZZING)
	{"/", READ_FILE | READ_DIR}, /* sanitizers read maps, threads, their own symbols */
#endif
};

static const uint64_t ACCESS_OF_USE[] = {
	[CONFIG_USE_READ] = READ_FILE | READ_DIR,
	[CONFIG_USE_WRITE] = READ_FILE | WRITE_FILE | TRUNCATE | MAKE_REG,
	[CONFIG_USE_SOCKET] = MAKE_SOCK | REMOVE_FILE,
	[CONFIG_USE_FOLDER] = FIRST_ABI & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE,
};

static struct ruleset_attributes handled_by(int abi)
{
	struct ruleset_attributes handled = {.files = FIRST_ABI};

	handled.files |= abi >= 2 ? REFER : 0;
	handled.files |= abi >= 3 ? TRUNCATE : 0;
	handled.files |= abi >= 5 ? IOCTL_DEV : 0;
	handled.ports = abi >= 4 ? BIND_TCP : 0;
	handled.scopes = abi >= 6 ? SIGNAL : 0;
	return handled;
}

static size_t attributes_size(int abi)
{
	return abi >= 6   ? sizeof(struct ruleset_attributes)
	       : abi >= 4 ? offsetof(struct ruleset_attributes, scopes)
			  : offsetof(struct ruleset_attributes, ports);
}

/* What is not there is no fault. 0 or -errno. */
static int allow(const struct ruleset *ruleset, const char *path, uint64_t access)
{
	cleanup_fd int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = {.allowed_access = access & ruleset->handled.files,
						  .parent_fd = fd};
	struct stat status;

	if (fd < 0)
		return errno == ENOENT || errno == EACCES || errno == ENOTDIR ? 0 : -errno;
	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISDIR(status.st_mode))
		rule.allowed_access &= OF_FILES;
	return syscall(__NR_landlock_add_rule, ruleset->fd, RULE_PATH, &rule, 0) < 0 ? -errno : 0;
}

/* The folder that `path` is in. Of what lies in the root, that file: else it would be everything.
 */
static int allow_folder_of(const struct ruleset *ruleset, const char *path, uint64_t access)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];

	if (slash == path || (size_t)(slash - path) >= sizeof(folder))
		return allow(ruleset, path, access);
	memcpy(folder, path, (size_t)(slash - path));
	folder[slash - path] = '\0';
	return allow(ruleset, folder, access);
}

/*
 * The same, and one folder up, unless that is one of the root's: the folder of the audit file may
 * be made, or its disk mounted, only later, and is another one then.
 */
static int allow_folder_to_come(const struct ruleset *ruleset, const char *path, uint64_t access)
{
	char folder[PATH_MAX];
	char *slash;
	int error = allow_folder_of(ruleset, path, access);

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	*slash = '\0';
	slash = strrchr(folder, '/');
	if (error == 0 && slash != NULL &&
	    memrchr(folder, '/', (size_t)(slash - folder)) > (void *)folder)
		error = allow_folder_of(ruleset, folder, access);
	return error;
}

static int allow_use(void *context, enum config_use use, const char *path)
{
	const struct ruleset *ruleset = context;
	uint64_t access = ACCESS_OF_USE[use];
	char real[PATH_MAX];
	int error;

	if (use == CONFIG_USE_FOLDER)
		return allow(ruleset, path, access);
	error = use == CONFIG_USE_WRITE ? allow_folder_to_come(ruleset, path, access)
					: allow_folder_of(ruleset, path, access);
	if (error == 0 && realpath(path, real) != NULL && strcmp(real, path) != 0)
		error = allow_folder_of(ruleset, real, access);
	return error;
}

static int allow_ports(const struct ruleset *ruleset, const struct address *listen, size_t count)
{
	int error = 0;

	for (size_t i = 0; i < count && error == 0; i++) {
		struct port_rule rule = {BIND_TCP, address_port(&listen[i])};

		if (syscall(__NR_landlock_add_rule, ruleset->fd, RULE_PORT, &rule, 0) < 0)
			error = -errno;
	}
	return error;
}

static int allow_listeners(const struct ruleset *ruleset, const struct config *config)
{
	int error = 0;

	if (ruleset->handled.ports == 0)
		return 0;
	for (size_t i = 0; i < config->edge_count && error == 0; i++)
		error = allow_ports(ruleset, config->edges[i].listen,
				    config->edges[i].listen_count);
	for (size_t i = 0; i < config->gateway_count && error == 0; i++)
		error = allow_ports(ruleset, config->gateways[i].listen,
				    config->gateways[i].listen_count);
	return error;
}

static int allow_all(struct ruleset *ruleset, const struct config *config)
{
	char real[PATH_MAX];
	int error = 0;

	for (size_t i = 0; i < ARRAY_SIZE(SYSTEM_FILES) && error == 0; i++)
		error = allow(ruleset, SYSTEM_FILES[i].path, SYSTEM_FILES[i].access);
	/* The file itself; its path may have been given relative to where we were started. */
	if (error == 0 && realpath(config->path, real) != NULL)
		error = allow_use(ruleset, CONFIG_USE_READ, real);
	if (error == 0 && config->path[0] == '/')
		error = allow_use(ruleset, CONFIG_USE_READ, config->path);
	if (error == 0)
		error = config_each_file(config, allow_use, ruleset);
	if (error == 0)
		error = allow_listeners(ruleset, config);
	return error;
}

int ruleset_enter(const struct config *config, struct confine_finding *finding)
{
	int abi = (int)syscall(__NR_landlock_create_ruleset, NULL, 0,
			       LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset ruleset = {.abi = abi, .handled = handled_by(abi)};
	cleanup_fd int fd = -1;
	int error = abi < 0 ? -errno : 0;

	if (error == 0) {
		fd = (int)syscall(__NR_landlock_create_ruleset, &ruleset.handled,
				  attributes_size(abi), 0);
		error = fd < 0 ? -errno : 0;
	}
	ruleset.fd = fd;
	if (error == 0)
		error = allow_all(&ruleset, config);
	if (error == 0 && syscall(__NR_landlock_restrict_self, fd, 0) < 0)
		error = -errno;
	if (error < 0)
		snprintf(finding->what, sizeof(finding->what), "Landlock: %s%s",
			 strerrordesc_np(-error),
			 error == -ENOSYS || error == -EOPNOTSUPP
				 ? " (needs a kernel with lsm=landlock)"
				 : "");
	else
		snprintf(finding->what, sizeof(finding->what),
			 "Landlock ABI %d: the configuration's folders%s", abi,
			 ruleset.handled.ports != 0 ? " and ports" : "");
	return error;
}
