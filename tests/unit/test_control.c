/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: who may, what is answered, and that nobody can hold it up. */
#include "control/control.h"

#include "base/clock.h"
#include "base/error.h"
#include "control/control_client.h"
#include "control/control_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

#define BIG  (4U << 20)
#define LATE (1 * CLOCK_SEC) /* how much later than its time something may happen */

static struct {
	char folder[32], path[64];
	sd_event *loop;
	struct control *control;
} site;

/* --- commands ------------------------------------------------------------------------------- */

static int echo(struct control_question *question, struct control_context *context)
{
	assert_null(context);
	fprintf(question->body, "%s\n", question->arguments);
	return 0;
}

static int put_big(struct control_question *question, struct control_context *context)
{
	(void)context;
	for (unsigned int i = 0; i < BIG; i++)
		fputc('a' + (int)(i % 23), question->body);
	return 0;
}

static int fail_saying(struct control_question *question, struct control_context *context)
{
	(void)context;
	fprintf(question->body, "it is \"%s\"", question->arguments);
	return -EBUSY;
}

static int fail_mute(struct control_question *question, struct control_context *context)
{
	(void)question;
	(void)context;
	return -EBUSY;
}

/* As if workers were at it, until the test writes to `done`. */
static struct {
	int done; /* an eventfd */
	unsigned int answered, dropped;
	int error;
} workers;

static int answer_slowly(void *what, FILE *body, struct control_context *context)
{
	assert_ptr_equal(what, &workers);
	assert_null(context);
	assert_int_equal(workers.dropped, 0);
	workers.answered++;
	fprintf(body, "late");
	return workers.error;
}

static void drop_slowly(void *what)
{
	assert_ptr_equal(what, &workers);
	workers.dropped++;
	close(workers.done);
}

static int begin_slowly(struct control_question *question, struct control_context *context)
{
	(void)context;
	assert_int_equal(question->asker.pid, getpid());
	assert_int_equal(question->asker.uid, getuid());
	fprintf(question->body, "this is not said");
	workers.done = eventfd(0, EFD_NONBLOCK);
	workers.answered = workers.dropped = 0;
	workers.error = *question->arguments != '\0' ? -EBUSY : 0;
	question->later =
		(struct control_later){workers.done, &workers, answer_slowly, drop_slowly};
	return CONTROL_LATER;
}

static const struct control_command rows[] = {
	{"slow", begin_slowly}, {"echo", echo},      {"big", put_big},
	{"fail", fail_saying},  {"mute", fail_mute},
};

static const struct control_commands commands = {rows, ARRAY_SIZE(rows)};

/* --- both ends in one thread ---------------------------------------------------------------- */

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_DFL); /* a broken connection must not need it ignored */
	snprintf(site.folder, sizeof(site.folder), "/tmp/test_control.XXXXXX");
	assert_non_null(mkdtemp(site.folder));
	snprintf(site.path, sizeof(site.path), "%s/control", site.folder);
	assert_true(sd_event_new(&site.loop) >= 0);
	assert_int_equal(control_new(site.loop, site.path, &commands, NULL, &site.control), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	control_free(site.control);
	site.control = NULL;
	sd_event_unref(site.loop);
	unlink(site.path);
	return rmdir(site.folder);
}

/* Lets the daemon's side do what it can now, and for `time` more. */
static void pump(clock_us time)
{
	clock_us until = clock_now() + time;
	int done;

	do {
		clock_us left = until - clock_now();

		done = sd_event_run(site.loop, left > 0 ? (uint64_t)left : 0);
		assert_true(done >= 0);
	} while (done > 0 || clock_now() < until);
}

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", site.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, const void *bytes, size_t size)
{
	assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* What comes until the daemon closes, at most `wait` from now; NUL-terminated, to be freed. */
static char *hear(int fd, clock_us wait, size_t *size)
{
	clock_us until = clock_now() + wait;
	size_t room = BIG + 4096;
	char *text = malloc(room);
	ssize_t got = -1;

	*size = 0;
	while (got != 0 && clock_now() < until) {
		pump(0);
		got = recv(fd, text + *size, room - 1 - *size, 0);
		if (got > 0)
			*size += (size_t)got;
		else if (got < 0 && errno == ECONNRESET)
			break;
		else if (got < 0)
			usleep(1000);
	}
	text[*size] = '\0';
	return text;
}

static void expect(int fd, const char *answer)
{
	size_t size;
	char *heard = hear(fd, 2 * CLOCK_SEC, &size);

	assert_string_equal(heard, answer);
	free(heard);
	close(fd);
}

static void expect_to(const char *request, const char *answer)
{
	int fd = dial();

	say(fd, request, strlen(request));
	expect(fd, answer);
}

/* --- what is answered ----------------------------------------------------------------------- */

static void answers(void **state)
{
	(void)state;
	expect_to("echo\n", "{\"status\": \"ok\", \"bytes\": 1}\n\n");
	expect_to("echo a b\n", "{\"status\": \"ok\", \"bytes\": 4}\na b\n");
	expect_to("echo a\nand more", "{\"status\": \"ok\", \"bytes\": 2}\na\n");
}

static void refusals(void **state)
{
	(void)state;
	expect_to("fail bad\n", "{\"status\": \"error\", \"message\": \"it is \\\"bad\\\"\"}\n");
	expect_to("mute\n", "{\"status\": \"error\", \"message\": \"Device or resource busy\"}\n");
	expect_to("ech\n", "{\"status\": \"error\", \"message\": \"there is no command "
			   "\\\"ech\\\"\"}\n");
	expect_to("\n", "{\"status\": \"error\", \"message\": \"there is no command \\\"\\\"\"}\n");
	expect_to("echo \x80\n", "{\"status\": \"error\", \"message\": \"the request is no line of "
				 "ASCII text\"}\n");
	expect_to("echo\r\n", "{\"status\": \"error\", \"message\": \"the request is no line of "
			      "ASCII text\"}\n");
}

static void zero_bytes(void **state)
{
	int fd = dial();

	(void)state;
	say(fd, "echo\0x\n", 7);
	expect(fd, "{\"status\": \"error\", \"message\": \"the request is no line of ASCII "
		   "text\"}\n");
}

static void no_line_end(void **state)
{
	int fd = dial();

	(void)state;
	say(fd, "echo", 4);
	shutdown(fd, SHUT_WR);
	expect(fd, "{\"status\": \"error\", \"message\": \"the request has no line end\"}\n");
}

static void byte_by_byte(void **state)
{
	static const char request[] = "echo slowly\n";
	int fd = dial();

	(void)state;
	for (const char *c = request; *c != '\0'; c++) {
		say(fd, c, 1);
		pump(0);
	}
	expect(fd, "{\"status\": \"ok\", \"bytes\": 7}\nslowly\n");
}

static void longest_line(void **state)
{
	char line[CONTROL_LINE_SIZE + 1], answer[CONTROL_LINE_SIZE + 100];
	int fd = dial();

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "echo ", 5);
	say(fd, line, CONTROL_LINE_SIZE - 1);
	pump(0);
	say(fd, "\n", 1);
	snprintf(answer, sizeof(answer), "{\"status\": \"ok\", \"bytes\": %d}\n%.*s\n",
		 CONTROL_LINE_SIZE - 5, CONTROL_LINE_SIZE - 6, line + 5);
	expect(fd, answer);
	fd = dial();
	say(fd, line, CONTROL_LINE_SIZE);
	expect(fd, "{\"status\": \"error\", \"message\": \"the request is longer than 4096 "
		   "bytes\"}\n");
}

/* More than any socket buffer, read in small pieces: partial writes. */
static void big_answer(void **state)
{
	static const char head[] = "{\"status\": \"ok\", \"bytes\": 4194304}\n";
	int fd = dial();
	size_t size;
	char *heard;

	(void)state;
	say(fd, "big\n", 4);
	pump(100 * CLOCK_MS);
	heard = hear(fd, 4 * CLOCK_SEC, &size);
	assert_int_equal(size, strlen(head) + BIG);
	assert_memory_equal(heard, head, strlen(head));
	for (size_t i = 0; i < BIG; i++)
		assert_int_equal(heard[strlen(head) + i], 'a' + (int)(i % 23));
	free(heard);
	close(fd);
}

/* --- slow and mean clients ------------------------------------------------------------------ */

/* When the daemon closed, from now. */
static clock_us time_of_end(int fd)
{
	clock_us start = clock_now();
	size_t size;

	free(hear(fd, 20 * CLOCK_SEC, &size));
	return clock_now() - start;
}

static void who_says_nothing_is_closed(void **state)
{
	int silent = dial(), slow = dial();
	clock_us start = clock_now(), took;

	(void)state;
	while (clock_now() < start + CONTROL_REQUEST_TIME - 200 * CLOCK_MS) {
		say(slow, "x", 1); /* a byte now and then does not help */
		pump(100 * CLOCK_MS);
	}
	(void)time_of_end(silent);
	(void)time_of_end(slow);
	took = clock_now() - start;
	assert_in_range(took, CONTROL_REQUEST_TIME - 50 * CLOCK_MS, CONTROL_REQUEST_TIME + LATE);
	close(silent);
	close(slow);
}

static void who_does_not_read_is_closed(void **state)
{
	int fd = dial();
	char part[64];
	clock_us start;

	(void)state;
	say(fd, "big\n", 4);
	pump(0);
	start = clock_now();
	/* A piece now and then does not help. */
	while (recv(fd, part, sizeof(part), 0) > 0 && clock_now() < start + 20 * CLOCK_SEC &&
	       send(fd, "x", 1, MSG_NOSIGNAL) == 1)
		pump(200 * CLOCK_MS);
	assert_in_range(clock_now() - start, CONTROL_ANSWER_TIME - 300 * CLOCK_MS,
			CONTROL_ANSWER_TIME + LATE);
	close(fd);
}

static void few_at_once(void **state)
{
	int silent[CONTROL_CLIENTS_MAX], fd;
	size_t size;
	char *heard;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		silent[i] = dial();
	pump(50 * CLOCK_MS);
	fd = dial();
	say(fd, "echo\n", 5);
	heard = hear(fd, 300 * CLOCK_MS, &size);
	assert_int_equal(size, 0); /* it waits */
	free(heard);
	close(silent[3]);
	expect(fd, "{\"status\": \"ok\", \"bytes\": 1}\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		if (i != 3)
			close(silent[i]);
	pump(50 * CLOCK_MS);
	expect_to("echo\n", "{\"status\": \"ok\", \"bytes\": 1}\n\n");
}

/* Gone at every point: nothing is left behind (sanitizers look), and others are served. */
static void who_hangs_up(void **state)
{
	static const char *const requests[] = {"", "ec", "echo\n", "big\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		for (int pumped = 0; pumped < 2; pumped++) {
			int fd = dial();

			say(fd, requests[i], strlen(requests[i]));
			if (pumped)
				pump(0);
			close(fd);
			pump(0);
		}
	}
	expect_to("echo\n", "{\"status\": \"ok\", \"bytes\": 1}\n\n");
}

static void ended_with_clients(void **state)
{
	int clients[3];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		clients[i] = dial();
	say(clients[1], "big\n", 4);
	pump(50 * CLOCK_MS);
	control_free(site.control);
	site.control = NULL;
	assert_int_equal(access(site.path, F_OK), -1);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		close(clients[i]);
}

/* --- what takes longer ---------------------------------------------------------------------- */

static int ask_slowly(const char *line)
{
	int fd = dial();

	say(fd, line, strlen(line));
	pump(50 * CLOCK_MS);
	return fd;
}

static void later_answers(void **state)
{
	int fd = ask_slowly("slow\n");
	size_t size;
	char *heard = hear(fd, 100 * CLOCK_MS, &size);

	(void)state;
	assert_int_equal(size, 0);
	free(heard);
	say(fd, "more, to which nobody listens\n", 30);
	expect_to("echo\n", "{\"status\": \"ok\", \"bytes\": 1}\n\n"); /* others are served */
	assert_int_equal(workers.answered, 0);
	eventfd_write(workers.done, 1);
	expect(fd, "{\"status\": \"ok\", \"bytes\": 4}\nlate");
	assert_int_equal(workers.answered, 1);
	assert_int_equal(workers.dropped, 1);
	fd = ask_slowly("slow and wrong\n");
	eventfd_write(workers.done, 1);
	expect(fd, "{\"status\": \"error\", \"message\": \"late\"}\n");
	assert_int_equal(workers.dropped, 1);
}

/* Nobody is there for the answer; until the workers are done it counts as one who asks. */
static void later_and_gone(void **state)
{
	int fd = ask_slowly("slow\n"), silent[CONTROL_CLIENTS_MAX - 1];
	size_t size;
	char *heard;

	(void)state;
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		silent[i] = dial();
	pump(50 * CLOCK_MS);
	fd = dial();
	say(fd, "echo\n", 5);
	heard = hear(fd, 200 * CLOCK_MS, &size);
	assert_int_equal(size, 0);
	free(heard);
	assert_int_equal(workers.dropped, 0);
	eventfd_write(workers.done, 1);
	expect(fd, "{\"status\": \"ok\", \"bytes\": 1}\n\n");
	assert_int_equal(workers.answered, 0);
	assert_int_equal(workers.dropped, 1);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		close(silent[i]);
}

static void later_than_anybody_waits(void **state)
{
	clock_us start = clock_now();
	int fd = ask_slowly("slow\n");
	size_t size;
	char *heard = hear(fd, 20 * CLOCK_SEC, &size);

	(void)state;
	assert_in_range(clock_now() - start, CONTROL_ANSWER_TIME - 50 * CLOCK_MS,
			CONTROL_ANSWER_TIME + LATE);
	assert_non_null(strstr(heard, "a worker did not answer in time"));
	free(heard);
	close(fd);
	assert_int_equal(workers.dropped, 0);
	eventfd_write(workers.done, 1);
	pump(50 * CLOCK_MS);
	assert_int_equal(workers.answered, 0);
	assert_int_equal(workers.dropped, 1);
}

/* With a client that waits, and with one that is gone. */
static void ended_before_workers_are_done(void **state)
{
	int fd = ask_slowly("slow\n");

	(void)state;
	if (*state != NULL) {
		close(fd);
		pump(50 * CLOCK_MS);
	}
	control_free(site.control);
	site.control = NULL;
	assert_int_equal(workers.answered, 0);
	assert_int_equal(workers.dropped, 1);
	if (*state == NULL)
		close(fd);
}

static void ended_when_nobody_waits(void **state)
{
	static char gone[] = "gone";

	*state = gone;
	ended_before_workers_are_done(state);
}

/* --- its file ------------------------------------------------------------------------------- */

static void only_owner_and_group(void **state)
{
	struct stat file;

	(void)state;
	assert_int_equal(lstat(site.path, &file), 0);
	assert_true(S_ISSOCK(file.st_mode));
	assert_int_equal(file.st_mode & 07777, 0660);
}

static void a_living_daemons_stays(void **state)
{
	struct control *second = NULL;
	int waiting[64];

	(void)state;
	assert_int_equal(control_new(site.loop, site.path, &commands, NULL, &second), -EADDRINUSE);
	assert_null(second);
	expect_to("echo\n", "{\"status\": \"ok\", \"bytes\": 1}\n\n");
	/* Also one that is too busy to accept. */
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};

		snprintf(address.sun_path, sizeof(address.sun_path), "%s", site.path);
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(waiting[i], (struct sockaddr *)&address, sizeof(address));
	}
	assert_int_equal(control_new(site.loop, site.path, &commands, NULL, &second), -EADDRINUSE);
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++)
		close(waiting[i]);
}

static void a_dead_daemons_is_replaced(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int dead = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	control_free(site.control);
	site.control = NULL;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", site.path);
	assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(dead, 1), 0);
	close(dead);
	assert_int_equal(access(site.path, F_OK), 0);
	assert_int_equal(control_new(site.loop, site.path, &commands, NULL, &site.control), 0);
	expect_to("echo\n", "{\"status\": \"ok\", \"bytes\": 1}\n\n");
}

static void other_files_stay(void **state)
{
	struct control *second = NULL;
	int fd;

	(void)state;
	control_free(site.control);
	site.control = NULL;
	fd = open(site.path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(control_new(site.loop, site.path, &commands, NULL, &second), -EEXIST);
	assert_int_equal(access(site.path, F_OK), 0);
	assert_int_equal(unlink(site.path), 0);
	assert_int_equal(symlink("nowhere", site.path), 0);
	assert_int_equal(control_new(site.loop, site.path, &commands, NULL, &second), -EEXIST);
	assert_int_equal(unlink(site.path), 0);
}

static void no_folder(void **state)
{
	struct control *second = NULL;

	(void)state;
	assert_int_equal(control_new(site.loop, "/nonexistent/control", &commands, NULL, &second),
			 -ENOENT);
}

static void anothers_file_is_not_taken_away(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(unlink(site.path), 0);
	fd = open(site.path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	close(fd);
	control_free(site.control);
	site.control = NULL;
	assert_int_equal(access(site.path, F_OK), 0);
}

/* --- who may -------------------------------------------------------------------------------- */

static void welcome_ones(void **state)
{
	static const gid_t groups[] = {4, 20, 117};
	static const struct {
		struct ucred peer;
		bool welcome;
	} cases[] = {
		{{.uid = 0, .gid = 0}, true},     /* root */
		{{.uid = 990, .gid = 55}, true},  /* the daemon's own user */
		{{.uid = 1000, .gid = 5}, false}, /* somebody */
		{{.uid = 1000, .gid = 980}, true},
		{{.uid = 0xffffffff, .gid = 0xffffffff}, false}, /* the kernel does not say */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(control_peer_is_welcome(&cases[i].peer, groups, 3, 990, 980),
				 cases[i].welcome);
	/* By a supplementary group: the first, the last; none. */
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		assert_true(control_peer_is_welcome(&cases[2].peer, groups, 3, 990, groups[i]));
	assert_false(control_peer_is_welcome(&cases[2].peer, groups, 2, 990, 117));
	assert_false(control_peer_is_welcome(&cases[2].peer, NULL, 0, 990, 117));
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(answers),
		CASE(refusals),
		CASE(zero_bytes),
		CASE(no_line_end),
		CASE(byte_by_byte),
		CASE(longest_line),
		CASE(big_answer),
		CASE(who_says_nothing_is_closed),
		CASE(who_does_not_read_is_closed),
		CASE(few_at_once),
		CASE(who_hangs_up),
		CASE(ended_with_clients),
		CASE(later_answers),
		CASE(later_and_gone),
		CASE(later_than_anybody_waits),
		CASE(ended_before_workers_are_done),
		CASE(ended_when_nobody_waits),
		CASE(only_owner_and_group),
		CASE(a_living_daemons_stays),
		CASE(a_dead_daemons_is_replaced),
		CASE(other_files_stay),
		CASE(no_folder),
		CASE(anothers_file_is_not_taken_away),
		cmocka_unit_test(welcome_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
