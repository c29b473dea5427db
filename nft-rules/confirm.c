/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * Before anything is changed, a snapshot of both tables is taken and a child is forked, in a
 * session of its own, so that a lost terminal does not end it. The child holds a lock, by which
 * `mcseal-nft confirm` and other applies find it, and waits for one byte on a pipe: 'k' keep, 'b'
 * back, 'n' nothing was changed. The parent only passes on what the terminal says. Without a byte
 * in time the child puts the snapshot back; a parent that has died is no byte.
 *
 * The lock is a record lock: the kernel says who holds it, and lets go of it when that process
 * ends, however it does. Its file is that of the network namespace, which is what the rules are of.
 */
#include "confirm.h"

#include "apply.h"
#include "snapshot.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#define ATTEMPTS 20

enum { READ_END, WRITE_END };

struct confirm {
	struct snapshot snapshots[STATE_TABLES];
	struct divert_there diverts[2]; /* before */
	const struct plan *plan;
	const struct config *config;
	int seconds;
	int order[2];   /* the parent's byte */
	int outcome[2]; /* the child is ready, or done: closed */
};

static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t confirmed;

/* --- the lock --------------------------------------------------------------------------- */

static int open_lock(int flags)
{
	char path[64];
	struct stat status;

	if (stat("/proc/self/ns/net", &status) < 0)
		return -errno;
	snprintf(path, sizeof(path), "/run/mcseal-nft-%llu.lock",
		 (unsigned long long)status.st_ino);
	flags = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return flags < 0 ? -errno : flags;
}

pid_t confirm_pending(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	cleanup_fd int fd = open_lock(O_RDWR);

	if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

int confirm_now(void)
{
	cleanup_fd int fd = open_lock(O_RDWR);
	pid_t pid = confirm_pending();

	if (fd == -EACCES || fd == -EPERM)
		return fd;

	if (pid <= 0)
		return -ESRCH;
	return kill(pid, SIGUSR1) < 0 ? -errno : 0;
}

static int take_lock(int *fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	*fd = open_lock(O_RDWR | O_CREAT);
	if (*fd < 0)
		return *fd;
	return fcntl(*fd, F_SETLK, &lock) < 0 ? -EBUSY : 0;
}

/* --- the child -------------------------------------------------------------------------- */

static void on_confirm(int signal)
{
	(void)signal;
	confirmed = 1;
}

static void ignore_hangups(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction confirm = {.sa_handler = on_confirm};
	static const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE};

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		sigaction(ignored[i], &ignore, NULL);
	sigaction(SIGUSR1, &confirm, NULL);
}

/* 'k', 'b', 'n'; a parent that is gone says nothing more. */
static char wait_for_order(const struct confirm *confirm)
{
	clock_us until = clock_now() + confirm->seconds * CLOCK_SEC;
	struct pollfd from = {.fd = confirm->order[READ_END], .events = POLLIN};
	char byte;

	while (!confirmed) {
		clock_us left = until - clock_now();

		if (left <= 0)
			return 'b';
		/* The signal may come between the look and the poll: so never for long. */
		if (poll(&from, from.fd >= 0 ? 1 : 0,
			 left > 200 * CLOCK_MS ? 200 : (int)(left / CLOCK_MS) + 1) <= 0)
			continue;
		if (read(from.fd, &byte, 1) == 1)
			return byte;
		from.fd = -1;
	}
	return 'k';
}

static int restore_diverts(const struct confirm *confirm)
{
	struct netlink route;
	int error = netlink_open(&route, NETLINK_ROUTE);

	for (int i = 0; i < 2 && error == 0; i++) {
		struct divert divert = divert_of(confirm->config, i);

		error = divert_set(&route, &divert, &confirm->diverts[i]);
		if (error == -EAFNOSUPPORT || error == -EOPNOTSUPP)
			error = 0;
	}
	netlink_close(&route);
	return error;
}

static int restore_tables(const struct confirm *confirm, struct netlink *netlink)
{
	struct batch *batch = batch_new();
	struct live_table live;
	uint32_t generation[STATE_TABLES] = {0};
	int error = batch == NULL ? -ENOMEM : 0;

	for (int i = 0; i < STATE_TABLES && error == 0; i++) {
		error = live_table_read(netlink, confirm->snapshots[i].name, &live, &generation[i]);
		if (error < 0)
			break;
		snapshot_restore(&confirm->snapshots[i], &live, batch);
		live_table_deinit(&live);
	}
	if (error == 0 && generation[0] != generation[1])
		error = -ERESTART;
	if (error == 0)
		error = batch_send(batch, netlink, generation[0], false, stderr);
	batch_free(batch);
	return error;
}

static int take_back(const struct confirm *confirm)
{
	struct netlink netlink;
	int error = netlink_open(&netlink, NETLINK_NETFILTER);

	if (error < 0)
		return error;
	error = -ERESTART;
	for (int i = 0; i < ATTEMPTS && error == -ERESTART; i++)
		error = restore_tables(confirm, &netlink);
	netlink_close(&netlink);
	return error == 0 ? restore_diverts(confirm) : error;
}

static int guard_over(const struct confirm *confirm)
{
	int lock, error;
	char order;

	setsid();
	ignore_hangups();
	openlog("mcseal-nft", LOG_PID, LOG_DAEMON);
	error = take_lock(&lock);
	if (error < 0 || write(confirm->outcome[WRITE_END], "r", 1) != 1)
		return -error;
	order = wait_for_order(confirm);
	if (order == 'n')
		return 0;
	if (order == 'k') {
		syslog(LOG_NOTICE, "rules confirmed");
		return 0;
	}
	error = take_back(confirm);
	if (error < 0)
		syslog(LOG_ERR, "rules not confirmed, and not taken back: %s",
		       strerrordesc_np(-error));
	else
		syslog(LOG_WARNING, "rules not confirmed: taken back, all is as before");
	return error < 0 ? -error : -1;
}

/* --- the parent ------------------------------------------------------------------------- */

static void on_interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

static void give_order(const struct confirm *confirm, char byte)
{
	(void)!write(confirm->order[WRITE_END], &byte, 1);
}

/* Until the child has ended; a line on standard input, or an interrupt, is passed on to it. */
static void attend(const struct confirm *confirm)
{
	struct pollfd wait[] = {
		{.fd = confirm->outcome[READ_END], .events = POLLIN},
		{.fd = STDIN_FILENO, .events = POLLIN},
	};
	bool ordered = false;

	while (poll(wait, ARRAY_SIZE(wait), 200) >= 0 || errno == EINTR) {
		char byte;

		if (interrupted && !ordered) {
			give_order(confirm, 'b');
			ordered = true;
		}
		if (wait[0].revents != 0)
			return;
		if (wait[1].revents == 0)
			continue;
		/* End of file is not a confirmation: a lost terminal looks like that. */
		if (read(STDIN_FILENO, &byte, 1) != 1)
			wait[1].fd = -1;
		else if (byte == '\n' && !ordered) {
			give_order(confirm, 'k');
			ordered = true;
		}
	}
}

/* The child's answer: 0 kept, CONFIRM_TAKEN_BACK, or -errno. */
static int reap(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (!WIFEXITED(status))
		return -EIO;
	if (WEXITSTATUS(status) == 0xff)
		return CONFIRM_TAKEN_BACK;
	return -WEXITSTATUS(status);
}

static int apply_watched(struct confirm *confirm, struct netlink *netlink, FILE *report)
{
	struct sigaction interrupt = {.sa_handler = on_interrupt};
	struct state state;
	int error = apply_plan(netlink, confirm->plan, confirm->config, false, report, &state);

	state_deinit(&state);
	if (error < 0) {
		give_order(confirm, 'n');
		return error;
	}
	sigaction(SIGINT, &interrupt, NULL);
	sigaction(SIGTERM, &interrupt, NULL);
	fprintf(stderr,
		"applied. Enter within %d seconds keeps it (or, from elsewhere: mcseal-nft "
		"confirm); else all will be as before\n",
		confirm->seconds);
	attend(confirm);
	return 0;
}

static int take_snapshots(struct confirm *confirm, struct netlink *netlink)
{
	uint32_t generations[STATE_TABLES];
	struct netlink route;
	int error = snapshot_take(netlink, TABLE_GUARD, &confirm->snapshots[0], &generations[0]);

	if (error == 0)
		error = snapshot_take(netlink, TABLE_MANAGED, &confirm->snapshots[1],
				      &generations[1]);
	if (error == 0)
		error = netlink_open(&route, NETLINK_ROUTE);
	if (error < 0)
		return error;
	for (int i = 0; i < 2; i++) {
		struct divert divert = divert_of(confirm->config, i);

		if (divert_read(&route, &divert, &confirm->diverts[i]) < 0)
			confirm->diverts[i] = (struct divert_there){false, false};
	}
	netlink_close(&route);
	return generations[0] == generations[1] ? 0 : -EAGAIN;
}

static int fork_and_apply(struct confirm *confirm, struct netlink *netlink, FILE *report)
{
	char ready;
	pid_t child;
	int error, outcome;

	fflush(NULL);
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		close(confirm->order[WRITE_END]);
		close(confirm->outcome[READ_END]);
		_exit(guard_over(confirm) & 0xff);
	}
	close(confirm->order[READ_END]);
	close(confirm->outcome[WRITE_END]);
	confirm->order[READ_END] = confirm->outcome[WRITE_END] = -1;
	if (read(confirm->outcome[READ_END], &ready, 1) != 1)
		return reap(child);
	error = apply_watched(confirm, netlink, report);
	outcome = reap(child);
	return error < 0 ? error : outcome;
}

static void close_pipes(const struct confirm *confirm)
{
	for (int i = 0; i < 2; i++) {
		if (confirm->order[i] >= 0)
			close(confirm->order[i]);
		if (confirm->outcome[i] >= 0)
			close(confirm->outcome[i]);
	}
}

int confirm_apply(struct netlink *netlink, const struct plan *plan, const struct config *config,
		  int seconds, FILE *report)
{
	struct confirm confirm = {.plan = plan,
				  .config = config,
				  .seconds = seconds,
				  .order = {-1, -1},
				  .outcome = {-1, -1}};
	int error = -EAGAIN;

	for (int i = 0; i < ATTEMPTS && error == -EAGAIN; i++) {
		for (int j = 0; j < STATE_TABLES; j++)
			snapshot_deinit(&confirm.snapshots[j]);
		error = take_snapshots(&confirm, netlink);
	}
	if (error == 0 &&
	    (pipe2(confirm.order, O_CLOEXEC) < 0 || pipe2(confirm.outcome, O_CLOEXEC) < 0))
		error = -errno;
	if (error == 0)
		error = fork_and_apply(&confirm, netlink, report);
	close_pipes(&confirm);
	for (int i = 0; i < STATE_TABLES; i++)
		snapshot_deinit(&confirm.snapshots[i]);
	return error;
}
