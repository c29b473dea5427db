/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a confined process can still do, and what becomes of one that tries more: each attempt is
 * made by a child that has confined itself as mcseald does.
 */
#include "confine/confine.h"

#include "config_fixture.h"
#include "net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define EXIT_DIFFERENT 77
/* Sanitizers read files everywhere, trace and fork: docs/threat-model.md. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#define NOT_READ (SANITIZED ? 0 : -EACCES)
#define LISTENER "gateway \"g\" { listen = \"127.0.0.1:18443\" " CREDENTIALS "}\n"

/* An attempt: 0 when it has succeeded, else -errno. */
typedef int attempt(void);

static char inside[64], outside[64], log_folder[64];

static int by(long result)
{
	return result < 0 ? -errno : 0;
}

static struct config *configuration(const char *head)
{
	char text[2048];
	struct outcome outcome;

	snprintf(text, sizeof(text),
		 "%s audit { file = \"@/folder/log/audit.jsonl\" } control_socket = "
		 "\"@/folder/control\"\n" PLC IDENTITY LISTENER,
		 head);
	outcome = load_valid(text);
	free(outcome.report);
	return outcome.config;
}

static int confine_all(struct confinement *confinement, const struct config *config)
{
	int error = confine_privileges(confinement, config);

	if (error == 0)
		error = confine_files(confinement, config, true);
	return error == 0 ? confine_calls(confinement) : error;
}

/* How a child ends that is confined and makes the attempt: its wait(2) status. */
static int status_of(const char *head, attempt *make, int expected)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		struct confinement confinement = {0};
		struct config *config = configuration(head);
		struct rlimit none = {0};

		setrlimit(RLIMIT_CORE, &none);
		if (confine_all(&confinement, config) < 0)
			_exit(EXIT_DIFFERENT - 1);
		_exit(make() == expected ? 0 : EXIT_DIFFERENT);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

#define ENDS_WITH(make, expected)                                                                  \
	assert_int_equal(status_of("confine = required\n", make, expected), 0)
#define DIES(make)                                                                                 \
	do {                                                                                       \
		int status = status_of("confine = required\n", make, 0);                           \
		assert_true(WIFSIGNALED(status));                                                  \
		assert_int_equal(WTERMSIG(status), SIGSYS);                                        \
	} while (0)
/* The same attempt, of a process that nothing keeps from it: else the test would show nothing. */
#define WORKS_UNCONFINED(make) assert_int_equal(status_of("confine = no\n", make, 0), 0)

/* --- files ---------------------------------------------------------------------------------- */

static int open_for(const char *path, int flags)
{
	cleanup_fd int fd = open(path, flags | O_CLOEXEC, 0600);

	return by(fd);
}

static int read_named(void)
{
	return open_for(inside, O_RDONLY);
}

static int read_other(void)
{
	return open_for(outside, O_RDONLY);
}

static int write_named(void)
{
	return open_for(inside, O_WRONLY);
}

static int read_users(void)
{
	return open_for("/etc/passwd", O_RDONLY);
}

static int read_shadow(void)
{
	return open_for("/etc/shadow", O_RDONLY);
}

static int write_users(void)
{
	return open_for("/etc/passwd", O_WRONLY | O_APPEND);
}

static int list_root(void)
{
	return open_for("/", O_RDONLY | O_DIRECTORY);
}

static int make_audit_file(void)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/folder/log/audit.jsonl", folder);
	return open_for(path, O_RDWR | O_CREAT | O_APPEND);
}

static int make_elsewhere(void)
{
	return open_for("/tmp/test_confine.made", O_WRONLY | O_CREAT);
}

static int make_folder(void)
{
	return by(syscall(SYS_mkdirat, AT_FDCWD, "/tmp/test_confine.folder", 0700));
}

static void only_the_folders_of_the_configuration(void **state)
{
	(void)state;
	ENDS_WITH(read_named, 0);
	ENDS_WITH(make_audit_file, 0);
	ENDS_WITH(read_users, 0);
	WORKS_UNCONFINED(read_other);
	ENDS_WITH(read_other, NOT_READ);
	WORKS_UNCONFINED(list_root);
	ENDS_WITH(list_root, NOT_READ);
	ENDS_WITH(make_elsewhere, -EACCES);
	ENDS_WITH(make_folder, -EPERM); /* not even asked Landlock */
}

/* Owned by root, who may: it takes more than modes to keep him from it. */
static void not_even_root_reads_or_changes_users(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	WORKS_UNCONFINED(read_shadow);
	ENDS_WITH(read_shadow, NOT_READ);
	ENDS_WITH(write_users, -EACCES);
	WORKS_UNCONFINED(write_named);
	ENDS_WITH(write_named, -EACCES);
}

static void folders_that_are_named_are_free(void **state)
{
	char head[160];

	(void)state;
	snprintf(head, sizeof(head), "confine = required\nconfine_folders = { \"/tmp\" }\n");
	assert_int_equal(status_of(head, read_other, 0), 0);
	assert_int_equal(status_of(head, make_elsewhere, 0), 0);
	assert_int_equal(unlink("/tmp/test_confine.made"), 0);
	assert_int_equal(status_of(head, list_root, NOT_READ), 0);
}

/* --- sockets -------------------------------------------------------------------------------- */

static int listen_at(uint16_t port)
{
	struct address address;
	cleanup_fd int fd = -1;

	address_parse_host("127.0.0.1", port, &address);
	return socket_listen(&address, false, &fd);
}

static int listen_as_configured(void)
{
	return listen_at(18443);
}

static int listen_elsewhere(void)
{
	return listen_at(18444);
}

static int raw_packets(void)
{
	cleanup_fd int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	return by(fd);
}

static int raw_addresses(void)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);

	return by(fd);
}

static int change_rules(void)
{
	cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	return by(fd);
}

static void only_sockets_that_are_needed(void **state)
{
	(void)state;
	ENDS_WITH(listen_as_configured, 0);
	WORKS_UNCONFINED(listen_elsewhere);
	/* Landlock's ports came with Linux 6.7 (ABI 4). */
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1U) >= 4)
		ENDS_WITH(listen_elsewhere, -EACCES);
	ENDS_WITH(raw_packets, -EPERM);
	ENDS_WITH(raw_addresses, -EPERM);
	WORKS_UNCONFINED(change_rules);
	ENDS_WITH(change_rules, -EPERM);
}

/* --- calls ---------------------------------------------------------------------------------- */

static int execute(void)
{
	static char program[] = "/bin/true";
	char *const words[] = {program, NULL};

	return by(execve(words[0], words, words + 1));
}

static int trace(void)
{
	return by(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int mount_something(void)
{
	return by(mount("none", "/mnt", "tmpfs", 0, NULL));
}

static int other_namespaces(void)
{
	return by(unshare(CLONE_NEWUSER));
}

static int become_another(void)
{
	return by(setresuid(65534, 65534, 65534));
}

static int load_module(void)
{
	return by(syscall(SYS_init_module, NULL, 0UL, ""));
}

static int load_program(void)
{
	return by(syscall(SYS_bpf, 0, NULL, 0));
}

static void deadly_calls(void **state)
{
	static attempt *const deadly[] = {
#if !SANITIZED
		trace,
#endif
		execute,
		mount_something,
		other_namespaces,
		become_another,
		load_module,
		load_program,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		DIES(deadly[i]);
	WORKS_UNCONFINED(trace);
}

static int another_ring(void)
{
	char parameters[120] = {0};

	return by(syscall(SYS_io_uring_setup, 4, parameters));
}

#if !SANITIZED
static int another_process(void)
{
	return by(fork());
}

static int writable_code(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? -errno : 0;
}

static int memory_made_code(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? -errno : by(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
}

static int signal_the_parent(void)
{
	return by(syscall(SYS_kill, getppid(), 0));
}

static int file_without_a_name(void)
{
	return by(syscall(SYS_memfd_create, "code", 0));
}
#endif

static void other_calls_are_refused(void **state)
{
	(void)state;
	ENDS_WITH(another_ring, -EPERM);
#if !SANITIZED
	WORKS_UNCONFINED(writable_code);
	ENDS_WITH(writable_code, -EPERM);
	ENDS_WITH(memory_made_code, -EPERM);
	WORKS_UNCONFINED(signal_the_parent);
	ENDS_WITH(signal_the_parent, -EPERM);
	ENDS_WITH(another_process, -EPERM);
	ENDS_WITH(file_without_a_name, -EPERM);
#endif
}

static void *open_the_other(void *result)
{
	*(int *)result = open_for(outside, O_RDONLY);
	return NULL;
}

static int in_a_new_thread(void)
{
	pthread_t thread;
	int result = 0;

	if (pthread_create(&thread, NULL, open_the_other, &result) != 0)
		return -ECHILD;
	pthread_join(thread, NULL);
	return result;
}

static void threads_may_be_started_and_are_confined(void **state)
{
	(void)state;
	ENDS_WITH(in_a_new_thread, NOT_READ);
}

struct waiting {
	int tell[2];
	int result;
};

static void *execute_when_told(void *argument)
{
	struct waiting *waiting = argument;
	char byte;

	if (read(waiting->tell[0], &byte, 1) == 1)
		waiting->result = raw_packets();
	return NULL;
}

/* A filter is of one thread, unless it is asked for all: workers run before it is there. */
static void threads_that_run_are_filtered(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		struct confinement confinement = {0};
		struct config *config = configuration("confine = required\n");
		struct waiting waiting = {.result = 1};
		pthread_t thread;

		if (pipe(waiting.tell) < 0 || confine_privileges(&confinement, config) < 0 ||
		    pthread_create(&thread, NULL, execute_when_told, &waiting) != 0 ||
		    confine_files(&confinement, config, false) < 0 ||
		    confine_calls(&confinement) < 0 || write(waiting.tell[1], "x", 1) != 1)
			_exit(EXIT_DIFFERENT - 1);
		pthread_join(thread, NULL);
		_exit(waiting.result == -EPERM ? 0 : EXIT_DIFFERENT);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* --- rights and reports --------------------------------------------------------------------- */

static int capabilities_left(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {0};

	if (syscall(SYS_capget, &header, sets) < 0)
		return -errno;
	if (sets[1].permitted != 0 || sets[0].inheritable != 0 ||
	    sets[0].permitted != sets[0].effective)
		return -EBADMSG;
	return (int)sets[0].permitted;
}

static void capabilities_go(void **state)
{
	int left = geteuid() == 0 ? 1 << CAP_NET_RAW : 0;
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (left != 0 && limit.rlim_cur != RLIM_INFINITY)
		left |= 1 << CAP_IPC_LOCK;
	if (left != 0 && SANITIZED)
		left |= 1 << CAP_SYS_PTRACE;

	(void)state;
	ENDS_WITH(capabilities_left, left);
}

static void every_layer_has_its_reason(void **state)
{
	struct confinement confinement = {0};
	struct config *config = configuration("confine = no\n");

	(void)state;
	assert_int_equal(confine_all(&confinement, config), 0);
	for (int i = 0; i < CONFINE_LAYERS; i++) {
		assert_non_null(confine_layer_name((enum confine_layer)i));
		assert_false(confinement.layers[i].in_force);
		assert_string_equal(confinement.layers[i].what, "confine = no");
	}
	config_free(config);
	assert_int_equal(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
}

static int make_places(void **state)
{
	static char other[] = "/tmp/test_confine.XXXXXX";
	int fd = mkstemp(other);

	assert_true(fd >= 0);
	close(fd);
	snprintf(outside, sizeof(outside), "%s", other);
	if (make_files(state) != 0)
		return -1;
	snprintf(inside, sizeof(inside), "%s/ca.pem", folder);
	snprintf(log_folder, sizeof(log_folder), "%s/folder/log", folder);
	return mkdir(log_folder, 0700);
}

static int remove_places(void **state)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/folder/log/audit.jsonl", folder);
	unlink(path);
	rmdir(log_folder);
	unlink(outside);
	return remove_files(state);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_folders_of_the_configuration),
		cmocka_unit_test(not_even_root_reads_or_changes_users),
		cmocka_unit_test(folders_that_are_named_are_free),
		cmocka_unit_test(only_sockets_that_are_needed),
		cmocka_unit_test(deadly_calls),
		cmocka_unit_test(other_calls_are_refused),
		cmocka_unit_test(threads_may_be_started_and_are_confined),
		cmocka_unit_test(threads_that_run_are_filtered),
		cmocka_unit_test(capabilities_go),
		cmocka_unit_test(every_layer_has_its_reason),
	};

	return cmocka_run_group_tests_name("confine", tests, make_places, remove_places);
}
