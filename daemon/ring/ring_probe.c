/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/ring_probe.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

/* As long as on a busy machine it may take; it never does. */
#define WAIT_MS 2000

static const char message[] = "spliced there and back";

/* Both halves move exactly the message: the link holds only if the first is not short. */
static int submit_pair(struct io_uring *ring, int socket, const int ends[2])
{
	struct io_uring_sqe *into = io_uring_get_sqe(ring), *out = io_uring_get_sqe(ring);
	int count;

	if (into == NULL || out == NULL)
		return -ENOMEM;
	io_uring_prep_splice(into, socket, -1, ends[1], -1, sizeof(message), SPLICE_F_NONBLOCK);
	into->flags |= IOSQE_IO_LINK;
	io_uring_sqe_set_data(into, NULL);
	io_uring_prep_splice(out, ends[0], -1, socket, -1, sizeof(message), SPLICE_F_NONBLOCK);
	io_uring_sqe_set_data(out, NULL);
	count = io_uring_submit(ring);
	return count < 0 ? count : count == 2 ? 0 : -EIO;
}

static int wait_for_pair(struct io_uring *ring)
{
	struct __kernel_timespec wait = {.tv_sec = WAIT_MS / 1000};
	struct io_uring_cqe *cqe;

	for (unsigned int i = 0; i < 2; i++) {
		int error = io_uring_wait_cqe_timeout(ring, &cqe, &wait);

		if (error < 0)
			return error == -ETIME ? -ETIMEDOUT : error;
		error = cqe->res == (int)sizeof(message) ? 0 : cqe->res < 0 ? cqe->res : -EBADMSG;
		io_uring_cqe_seen(ring, cqe);
		if (error < 0)
			return error;
	}
	return 0;
}

static int receive_message(int fd)
{
	struct pollfd entry = {.fd = fd, .events = POLLIN};
	char received[sizeof(message)];
	int count = poll(&entry, 1, WAIT_MS);

	if (count <= 0)
		return count < 0 ? -errno : -ETIMEDOUT;
	if (recv(fd, received, sizeof(received), MSG_DONTWAIT) != (ssize_t)sizeof(received) ||
	    memcmp(received, message, sizeof(message)) != 0)
		return -EBADMSG;
	return 0;
}

static int splice_there_and_back(struct io_uring *ring, int near, int far, const int ends[2],
				 const char **step)
{
	struct pollfd entry = {.fd = far, .events = POLLIN};
	int error = 0;

	*step = "send";
	if (send(near, message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT) !=
		    (ssize_t)sizeof(message) ||
	    poll(&entry, 1, WAIT_MS) != 1)
		error = -EIO;
	if (error == 0) {
		*step = "IORING_OP_SPLICE";
		error = submit_pair(ring, far, ends);
	}
	if (error == 0)
		error = wait_for_pair(ring);
	if (error == 0)
		error = receive_message(near);
	return error;
}

static int probe_splice(int near, int far, const char **step)
{
	struct io_uring ring;
	int ends[2];
	int error;

	*step = "pipe";
	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	*step = "io_uring_setup";
	error = io_uring_queue_init(4, &ring, 0);
	if (error == 0) {
		error = splice_there_and_back(&ring, near, far, ends, step);
		io_uring_queue_exit(&ring);
	}
	cleanup_close_fd(&ends[0]);
	cleanup_close_fd(&ends[1]);
	return error;
}

struct probe {
	int near, far;
	const char **step;
	int error;
};

static void *run(void *argument)
{
	struct probe *probe = argument;

	probe->error = probe_splice(probe->near, probe->far, probe->step);
	return NULL;
}

/* On a thread of its own: the kernel's pool thread that a splice needs stays as long as that. */
int ring_probe_splice(int near, int far, const char **step)
{
	struct probe probe = {.near = near, .far = far, .step = step};
	pthread_t thread;
	int error;

	*step = "pthread_create";
	error = -pthread_create(&thread, NULL, run, &probe);
	if (error < 0)
		return error;
	pthread_join(thread, NULL);
	return probe.error;
}
