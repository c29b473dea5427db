/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * What is allowed without conditions costs next to nothing: the kernel (5.11) keeps such calls in
 * a bitmap and does not run the filter for them. So all that moves bytes stands in the table
 * without conditions, and conditions are put on calls of set-up and of rare moments only.
 *
 * An unexpected call is refused (EPERM), not punished: the next version of a library may make one,
 * and a plant's sessions must not end by an update of the C library. An attacker gains nothing by
 * the difference. What no library of ours would ever call ends the process: someone is inside.
 *
 * io_uring_setup(2) is not among the allowed: a ring of the attacker's own would have no
 * restrictions (ring/ring_uring.c).
 */
#include "confine/syscall_filter.h"

#include "base/error.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef NETLINK_SOCK_DIAG
#define NETLINK_SOCK_DIAG 4
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(FUZZING)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define CALL(name) SCMP_SYS(name)

/* Always. A number that this architecture does not have is left out by libseccomp. */
static const int ALLOWED[] = {
	/* every answer */
	CALL(io_uring_enter),
	CALL(splice),
	CALL(epoll_wait),
	CALL(epoll_pwait),
	CALL(epoll_pwait2),
	CALL(sendto),
	CALL(sendmsg),
	CALL(recvfrom),
	CALL(recvmsg),
	CALL(read),
	CALL(write),
	CALL(readv),
	CALL(writev),
	CALL(futex),
	CALL(poll),
	CALL(ppoll),
	CALL(clock_gettime),
	/* sessions that come and go */
	CALL(accept4),
	CALL(accept),
	CALL(connect),
	CALL(shutdown),
	CALL(close),
	CALL(setsockopt),
	CALL(getsockopt),
	CALL(getsockname),
	CALL(getpeername),
	CALL(fcntl),
	CALL(epoll_ctl),
	CALL(ioctl),
	/* a drained listener that is opened again */
	CALL(bind),
	CALL(listen),
	/* unregistering when a ring ends; it is restricted to that */
	CALL(io_uring_register),
	/* descriptors of errands, timers of the main loop, changes of its signals */
	CALL(eventfd2),
	CALL(timerfd_create),
	CALL(timerfd_settime),
	CALL(timerfd_gettime),
	CALL(signalfd4),
	CALL(epoll_create1),
	CALL(pipe2),
	CALL(dup),
	CALL(dup3),
	/* files: the configuration, what it names, the audit file, the control socket. Landlock
	 * says which. */
	CALL(openat),
	CALL(open),
	CALL(fstat),
	CALL(newfstatat),
	CALL(stat),
	CALL(lstat),
	CALL(statx),
	CALL(lseek),
	CALL(pread64),
	CALL(pwrite64),
	CALL(access),
	CALL(faccessat),
	CALL(faccessat2),
	CALL(readlink),
	CALL(readlinkat),
	CALL(getdents64),
	CALL(getcwd),
	CALL(ftruncate),
	CALL(fsync),
	CALL(fdatasync),
	CALL(flock),
	CALL(unlink),
	CALL(unlinkat),
	CALL(chmod),
	CALL(fchmodat),
	CALL(fchmod),
	CALL(umask),
	CALL(statfs),
	CALL(fstatfs),
	/* memory */
	CALL(munmap),
	CALL(mremap),
	CALL(madvise),
	CALL(brk),
	CALL(mlock),
	CALL(mlock2),
	CALL(munlock),
	CALL(membarrier),
	/* signals, threads, the end */
	CALL(rt_sigaction),
	CALL(rt_sigprocmask),
	CALL(rt_sigreturn),
	CALL(sigaltstack),
	CALL(rt_sigtimedwait),
	CALL(restart_syscall),
	CALL(set_robust_list),
	CALL(rseq),
	CALL(set_tid_address),
	CALL(sched_yield),
	CALL(sched_getaffinity),
	CALL(getcpu),
	CALL(exit),
	CALL(exit_group),
	/* time, randomness and what the libraries ask about the machine */
	CALL(clock_nanosleep),
	CALL(nanosleep),
	CALL(clock_getres),
	CALL(gettimeofday),
	CALL(getrandom),
	CALL(sysinfo),
	CALL(uname),
	CALL(getpid),
	CALL(getppid),
	CALL(gettid),
	CALL(getuid),
	CALL(geteuid),
	CALL(getgid),
	CALL(getegid),
	CALL(getgroups),
	CALL(getrusage),
	CALL(getrlimit),
	CALL(times),
	CALL(getpgrp),
	CALL(capget),
#if SANITIZED
	/* Of sanitizers alone: leaks are looked for by a process that stops all threads. */
	CALL(clone),
	CALL(ptrace),
	CALL(wait4),
	CALL(kill),
	CALL(tgkill),
	CALL(prctl),
	CALL(process_vm_readv),
	CALL(mincore),
	CALL(msync),
	CALL(personality),
	CALL(mprotect),
	CALL(mmap),
	CALL(sched_getparam),
	CALL(sched_getscheduler),
	CALL(pread64),
	CALL(rt_sigsuspend),
	CALL(prlimit64),
	CALL(memfd_create),
	CALL(getdents),
#endif
};

/* With one condition on an argument, or two: a call with several rows may be made by any. */
static const struct {
	int call;
	unsigned int count;
	struct scmp_arg_cmp conditions[3];
} CONDITIONAL[] = {
	/* TCP; whose a local client is: net/client_owner.c binds a datagram socket and asks
	   netlink; libraries that ask daemons */
	{CALL(socket),
	 2,
	 {{0, SCMP_CMP_EQ, AF_INET, 0}, {1, SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM}}},
	{CALL(socket),
	 2,
	 {{0, SCMP_CMP_EQ, AF_INET6, 0}, {1, SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM}}},
	{CALL(socket), 2, {{0, SCMP_CMP_EQ, AF_INET, 0}, {1, SCMP_CMP_MASKED_EQ, 0xf, SOCK_DGRAM}}},
	{CALL(socket),
	 2,
	 {{0, SCMP_CMP_EQ, AF_INET6, 0}, {1, SCMP_CMP_MASKED_EQ, 0xf, SOCK_DGRAM}}},
	{CALL(socket),
	 2,
	 {{0, SCMP_CMP_EQ, AF_NETLINK, 0}, {2, SCMP_CMP_EQ, NETLINK_SOCK_DIAG, 0}}},
	{CALL(socket), 1, {{0, SCMP_CMP_EQ, AF_UNIX, 0}}},
	{CALL(socketpair), 1, {{0, SCMP_CMP_EQ, AF_UNIX, 0}}},
#if !SANITIZED
	/* Memory is never both written and executed; a library may be loaded late. */
	{CALL(mmap), 1, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}}},
	{CALL(mmap), 1, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC}}},
	{CALL(mprotect), 1, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}}},
	/* Threads, which name themselves and their memory; no processes. */
	{CALL(clone), 1, {{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD}}},
	{CALL(prctl), 1, {{0, SCMP_CMP_EQ, PR_SET_NAME, 0}}},
	{CALL(prctl), 1, {{0, SCMP_CMP_EQ, PR_SET_VMA, 0}}},
	/* Limits are read, not set. */
	{CALL(prlimit64), 1, {{2, SCMP_CMP_EQ, 0, 0}}},
#endif
};

/* Refused, so that the C library takes clone(2), whose flags a filter can see. */
static const int UNKNOWN[] = {CALL(clone3)};

/* What no library of ours calls, under no circumstances. */
static const int DEADLY[] = {
	/* other programs and other processes */
	CALL(execve),
	CALL(execveat),
	CALL(fork),
	CALL(vfork),
	CALL(pidfd_getfd),
	CALL(process_vm_writev),
	CALL(kcmp),
#if !SANITIZED
	CALL(ptrace),
	CALL(process_vm_readv),
#endif
	/* other rights */
	CALL(setuid),
	CALL(setgid),
	CALL(setreuid),
	CALL(setregid),
	CALL(setresuid),
	CALL(setresgid),
	CALL(setgroups),
	CALL(capset),
	CALL(keyctl),
	CALL(add_key),
	CALL(request_key),
	/* another view of the machine */
	CALL(mount),
	CALL(umount2),
	CALL(pivot_root),
	CALL(chroot),
	CALL(move_mount),
	CALL(open_tree),
	CALL(fsopen),
	CALL(fsmount),
	CALL(mount_setattr),
	CALL(setns),
	CALL(unshare),
	CALL(open_by_handle_at),
	CALL(name_to_handle_at),
	/* the kernel and the machine */
	CALL(init_module),
	CALL(finit_module),
	CALL(delete_module),
	CALL(kexec_load),
	CALL(kexec_file_load),
	CALL(bpf),
	CALL(perf_event_open),
	CALL(userfaultfd),
	CALL(reboot),
	CALL(swapon),
	CALL(swapoff),
	CALL(settimeofday),
	CALL(clock_settime),
	CALL(adjtimex),
	CALL(clock_adjtime),
	CALL(iopl),
	CALL(ioperm),
	CALL(acct),
	CALL(quotactl),
	CALL(syslog),
	CALL(sethostname),
	CALL(setdomainname),
};

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
	int error = 0;

	for (size_t i = 0; i < count && error == 0; i++)
		error = seccomp_rule_add(filter, action, calls[i], 0);
	return error;
}

static int add_conditional(scmp_filter_ctx filter)
{
	struct scmp_arg_cmp to_us = {0, SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0};
	int error = 0;

	for (size_t i = 0; i < ARRAY_SIZE(CONDITIONAL) && error == 0; i++)
		error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, CONDITIONAL[i].call,
					       CONDITIONAL[i].count, CONDITIONAL[i].conditions);
	/* A signal to ourselves: abort(3). */
	if (error == 0 && !SANITIZED)
		error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, CALL(tgkill), 1, &to_us);
	return error;
}

static int fill(scmp_filter_ctx filter)
{
	int error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	/* A tree of numbers, not a list: an extra. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (error == 0)
		error = add_all(filter, SCMP_ACT_ALLOW, ALLOWED, ARRAY_SIZE(ALLOWED));
	if (error == 0)
		error = add_conditional(filter);
	if (error == 0)
		error = add_all(filter, SCMP_ACT_ERRNO(ENOSYS), UNKNOWN, ARRAY_SIZE(UNKNOWN));
	if (error == 0)
		error = add_all(filter, SCMP_ACT_KILL_PROCESS, DEADLY, ARRAY_SIZE(DEADLY));
	return error;
}

/* The filter as the kernel takes it, from libseccomp by way of a file in memory. */
static int translate(scmp_filter_ctx filter, struct sock_fprog *program)
{
	cleanup_fd int fd = memfd_create("filter", MFD_CLOEXEC);
	off_t size;
	int error;

	if (fd < 0)
		return -errno;
	error = seccomp_export_bpf(filter, fd);
	if (error < 0)
		return error;
	size = lseek(fd, 0, SEEK_CUR);
	program->filter = malloc((size_t)size);
	if (program->filter == NULL)
		return -ENOMEM;
	if (pread(fd, program->filter, (size_t)size, 0) != size)
		return -EIO;
	program->len = (unsigned short)((size_t)size / sizeof(*program->filter));
	return 0;
}

static bool same(const struct sock_fprog *one, const struct sock_fprog *other)
{
	return one->len > 0 && one->len == other->len &&
	       memcmp(one->filter, other->filter, one->len * sizeof(*one->filter)) == 0;
}

/*
 * libseccomp 2.5 does not notice everywhere that memory has run out and then leaves rules out of
 * what it translates: two translations must be alike. On all threads, refusals in the kernel's log.
 */
static int load(scmp_filter_ctx filter)
{
	struct sock_fprog program = {0}, again = {0};
	int error = translate(filter, &program);

	if (error == 0)
		error = translate(filter, &again);
	if (error == 0 && !same(&program, &again))
		error = -ENOMEM;
	if (error == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		error = -errno;
	/* A thread that did not follow is told by its number. */
	if (error == 0) {
		long outcome =
			syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG, &program);

		error = outcome < 0 ? -errno : outcome > 0 ? -ESRCH : 0;
	}
	free(program.filter);
	free(again.filter);
	return error;
}

int syscall_filter_install(struct confine_finding *finding)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int error = filter == NULL ? -ENOMEM : fill(filter);

	if (error == 0)
		error = load(filter);
	if (filter != NULL)
		seccomp_release(filter);
	if (error < 0)
		snprintf(finding->what, sizeof(finding->what), "seccomp: %s",
			 strerrordesc_np(-error));
	else
		snprintf(finding->what, sizeof(finding->what), "seccomp: %zu calls%s",
			 ARRAY_SIZE(ALLOWED), SANITIZED ? ", more than usual for sanitizers" : "");
	return error;
}
