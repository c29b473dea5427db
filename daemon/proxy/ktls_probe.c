/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Every question has a connection of its own, so that no answer depends on what an earlier
 * question left behind. Both ends are ours: what one sends, the other must receive, byte by byte.
 *
 * The keys are no secrets: they are numbers counted up, used for a pattern, and forgotten with the
 * connection.
 */
#include "proxy/ktls_probe.h"

#include "base/error.h"
#include "proxy/loopback.h"
#include "tls/ktls.h"
#include "tls/record_control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define SHORT_RECORD 100
#define FULL_RECORD  16384 /* RFC 8446 5.1 */

/* One question on its way. */
struct attempt {
	int pair[2];
	const char *step;   /* being tried */
	const char *remark; /* on its failure: what to do about it; or NULL */
};

static void attempt_deinit(struct attempt *attempt)
{
	cleanup_close_fd(&attempt->pair[0]);
	cleanup_close_fd(&attempt->pair[1]);
}

#define cleanup_attempt __attribute__((cleanup(attempt_deinit)))

static void conclude(struct capability_finding *finding, const struct attempt *attempt, int error)
{
	finding->there = error == 0;
	finding->why[0] = '\0';
	if (error < 0)
		snprintf(finding->why, sizeof(finding->why), "%s: %s%s", attempt->step,
			 strerrordesc_np(-error), attempt->remark ? attempt->remark : "");
}

static void conclude_in_words(struct capability_finding *finding, const char *why)
{
	finding->there = false;
	snprintf(finding->why, sizeof(finding->why), "%s", why);
}

/* --- steps ---------------------------------------------------------------------------------- */

static int attach(struct attempt *attempt)
{
	int error;

	attempt->step = "loopback connection";
	error = loopback_pair(attempt->pair);
	if (error < 0)
		return error;
	attempt->step = "TCP_ULP tls";
	error = ktls_attach(attempt->pair[0]);
	if (error == 0)
		error = ktls_attach(attempt->pair[1]);
	if (error == -ENOENT)
		attempt->remark = " (module tls is not loaded; modprobe tls)";
	return error;
}

/* Another key for every end that sends and for every change. */
static struct traffic_keys make_up_keys(enum traffic_cipher cipher, int sender, int change)
{
	struct traffic_keys keys = {.version = TRAFFIC_TLS_1_3, .cipher = cipher};

	for (size_t i = 0; i < traffic_key_size(cipher); i++)
		keys.key[i] = (uint8_t)(1 + i + 64 * (size_t)(2 * change + sender));
	for (size_t i = 0; i < sizeof(keys.iv); i++)
		keys.iv[i] = (uint8_t)(200 + i + (size_t)sender);
	return keys;
}

static int install(struct attempt *attempt, int end, enum traffic_direction direction,
		   enum traffic_cipher cipher, int change)
{
	int sender = direction == TRAFFIC_SEND ? end : 1 - end;
	struct traffic_keys keys = make_up_keys(cipher, sender, change);
	int error = ktls_install(attempt->pair[end], direction, &keys);

	attempt->step = direction == TRAFFIC_SEND ? "TLS_TX" : "TLS_RX";
	if (error == -ENOENT)
		attempt->remark = " (the kernel has no module for it)";
	else if (error == -EBUSY)
		attempt->remark = " (needs Linux 6.14)";
	return error;
}

/* Receivers first: nothing is on its way that the new keys would not open. */
static int install_all(struct attempt *attempt, enum traffic_cipher cipher, int change)
{
	int error = install(attempt, 0, TRAFFIC_RECEIVE, cipher, change);

	if (error == 0)
		error = install(attempt, 1, TRAFFIC_RECEIVE, cipher, change);
	if (error == 0)
		error = install(attempt, 0, TRAFFIC_SEND, cipher, change);
	if (error == 0)
		error = install(attempt, 1, TRAFFIC_SEND, cipher, change);
	return error;
}

static int pass_bytes(struct attempt *attempt, int from, int to)
{
	uint8_t sent[SHORT_RECORD], received[SHORT_RECORD] = {0};
	int error;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i + 1);
	attempt->step = "send";
	error = loopback_send(from, sent, sizeof(sent));
	if (error < 0)
		return error;
	attempt->step = "receive";
	error = loopback_receive(to, received, sizeof(received));
	if (error == 0 && memcmp(sent, received, sizeof(sent)) != 0)
		error = -EBADMSG;
	return error;
}

static int round_trip(struct attempt *attempt)
{
	int error = pass_bytes(attempt, attempt->pair[0], attempt->pair[1]);

	if (error == 0)
		error = pass_bytes(attempt, attempt->pair[1], attempt->pair[0]);
	return error;
}

/* --- questions ------------------------------------------------------------------------------ */

static void probe_attach(struct capability_finding *finding)
{
	cleanup_attempt struct attempt attempt = {.pair = {-1, -1}};

	conclude(finding, &attempt, attach(&attempt));
}

static void probe_cipher(struct capability_finding *finding, enum traffic_cipher cipher)
{
	cleanup_attempt struct attempt attempt = {.pair = {-1, -1}};
	int error = attach(&attempt);

	if (error == 0)
		error = install_all(&attempt, cipher, 0);
	if (error == 0)
		error = round_trip(&attempt);
	conclude(finding, &attempt, error);
}

static void probe_rekey(struct capability_finding *finding, enum traffic_cipher cipher)
{
	cleanup_attempt struct attempt attempt = {.pair = {-1, -1}};
	int error = attach(&attempt);

	if (error == 0)
		error = install_all(&attempt, cipher, 0);
	if (error == 0)
		error = round_trip(&attempt);
	if (error == 0)
		error = install_all(&attempt, cipher, 1);
	if (error == 0)
		error = round_trip(&attempt);
	conclude(finding, &attempt, error);
}

/* FIONREAD on a socket of kernel TLS counts what has arrived, opened or not. */
static int wait_for_arrival(int fd, int size)
{
	const clock_us deadline = clock_now() + LOOPBACK_WAIT;
	int arrived = 0;

	while (arrived < size) {
		if (clock_now() >= deadline)
			return -ETIMEDOUT;
		if (ioctl(fd, FIONREAD, &arrived) < 0)
			return -errno;
		if (arrived < size)
			(void)poll(NULL, 0, 1);
	}
	return 0;
}

static int send_part_of_record(struct attempt *attempt, enum traffic_cipher cipher)
{
	static const uint8_t start[] = {RECORD_DATA, 0x03, 0x03};
	int error = attach(attempt);

	/* The sender has no keys: its bytes pass as they are. */
	if (error == 0)
		error = install(attempt, 1, TRAFFIC_RECEIVE, cipher, 0);
	if (error < 0)
		return error;
	attempt->step = "a part of a record";
	error = loopback_send(attempt->pair[0], start, sizeof(start));
	if (error == 0)
		error = wait_for_arrival(attempt->pair[1], sizeof(start));
	return error;
}

static void probe_whole_poll(struct capability_finding *finding, enum traffic_cipher cipher)
{
	cleanup_attempt struct attempt attempt = {.pair = {-1, -1}};
	int error = send_part_of_record(&attempt, cipher);
	struct pollfd entry = {.fd = attempt.pair[1], .events = POLLIN};

	if (error == 0 && poll(&entry, 1, 0) != 0)
		conclude_in_words(finding, "poll says that a part of a record can be read");
	else
		conclude(finding, &attempt, error);
}

/* --- splice --------------------------------------------------------------------------------- */

/*
 * A full record, then a short one: were anything of the first lost, bytes of the second, which
 * alone have the highest bit, would stand in its place. So a loss is seen at once.
 */
static uint8_t pattern(size_t position)
{
	return (uint8_t)((position % 127 + position / 256) % 128 |
			 (position < FULL_RECORD ? 0 : 128));
}

static int send_pattern(struct attempt *attempt)
{
	uint8_t bytes[FULL_RECORD + SHORT_RECORD];
	int error;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = pattern(i);
	attempt->step = "send";
	error = loopback_send(attempt->pair[0], bytes, FULL_RECORD);
	if (error == 0)
		error = loopback_send(attempt->pair[0], bytes + FULL_RECORD, SHORT_RECORD);
	return error;
}

/* The pipe with the least room that the kernel gives: one page, one slot. */
static int open_tight_pipe(struct attempt *attempt, int ends[2])
{
	attempt->step = "pipe of one page";
	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	return fcntl(ends[1], F_SETPIPE_SZ, (int)sysconf(_SC_PAGESIZE)) < 0 ? -errno : 0;
}

/* Reads what is in the pipe; *lost when it is not what was sent at *position. */
static int drain(int pipe, size_t *position, bool *lost)
{
	uint8_t bytes[4096];

	for (;;) {
		ssize_t count = read(pipe, bytes, sizeof(bytes));

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count < 0 && errno != EAGAIN ? -errno : 0;
		for (ssize_t i = 0; i < count; i++)
			*lost |= bytes[i] != pattern((*position)++);
	}
}

static int splice_all(struct attempt *attempt, const int ends[2], bool *lost)
{
	const clock_us deadline = clock_now() + LOOPBACK_WAIT;
	size_t position = 0;
	int error = 0;

	attempt->step = "splice";
	while (error == 0 && position < FULL_RECORD + SHORT_RECORD && !*lost) {
		ssize_t moved = splice(attempt->pair[1], NULL, ends[1], NULL, FULL_RECORD,
				       SPLICE_F_NONBLOCK);

		if (moved > 0)
			error = drain(ends[0], &position, lost);
		else if (moved == 0)
			error = -ECONNRESET;
		else if (errno != EAGAIN && errno != EINTR)
			error = -errno;
		else
			error = loopback_wait(attempt->pair[1], deadline);
	}
	return error;
}

static void probe_safe_splice(struct capability_finding *finding, enum traffic_cipher cipher)
{
	cleanup_attempt struct attempt attempt = {.pair = {-1, -1}};
	int ends[2] = {-1, -1};
	bool lost = false;
	int error = attach(&attempt);

	if (error == 0)
		error = install_all(&attempt, cipher, 0);
	if (error == 0)
		error = send_pattern(&attempt);
	if (error == 0)
		error = open_tight_pipe(&attempt, ends);
	if (error == 0)
		error = splice_all(&attempt, ends, &lost);
	cleanup_close_fd(&ends[0]);
	cleanup_close_fd(&ends[1]);
	if (lost)
		conclude_in_words(finding, "bytes of a record that did not fit into a pipe are "
					   "lost");
	else
		conclude(finding, &attempt, error);
}

/* --- all of them ---------------------------------------------------------------------------- */

/* What needs `missing`, which is not there, is not there for the same reason. */
static void pass_on(struct capability_finding findings[CAPABILITIES], enum capability first,
		    const struct capability_finding *missing)
{
	for (size_t i = first; i <= CAPABILITY_SAFE_SPLICE; i++)
		findings[i] = *missing;
}

void ktls_probe(struct capability_finding findings[CAPABILITIES])
{
	struct capability_finding *ciphers = &findings[CAPABILITY_AES_128_GCM];
	enum traffic_cipher cipher = TRAFFIC_CIPHERS;

	probe_attach(&findings[CAPABILITY_KTLS]);
	if (!findings[CAPABILITY_KTLS].there) {
		pass_on(findings, CAPABILITY_AES_128_GCM, &findings[CAPABILITY_KTLS]);
		return;
	}
	for (unsigned int i = TRAFFIC_CIPHERS; i-- > 0;) {
		probe_cipher(&ciphers[i], (enum traffic_cipher)i);
		if (ciphers[i].there)
			cipher = (enum traffic_cipher)i;
	}
	if (cipher == TRAFFIC_CIPHERS) {
		pass_on(findings, CAPABILITY_REKEY, &ciphers[0]);
		return;
	}
	probe_rekey(&findings[CAPABILITY_REKEY], cipher);
	probe_whole_poll(&findings[CAPABILITY_WHOLE_POLL], cipher);
	probe_safe_splice(&findings[CAPABILITY_SAFE_SPLICE], cipher);
}
