/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/drain.h"

#include "base/error.h"
#include "proxy/errand.h"
#include "proxy/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* So many of those who have connected already are taken; more are refused. */
#define LAST_ONES 256

struct drain {
	struct errand *errand;
	bool undo;
	bool *sections;
	unsigned int worker_count;
	struct drain_share {
		struct errand_part *part;
		size_t open; /* its listeners that are not closed yet */
		int *fds;    /* undo: by listener, -1: none; the worker takes them */
		size_t fd_count;
	} shares[]; /* by worker */
};

size_t drain_section_count(const struct config *config)
{
	return config->edge_count + config->gateway_count;
}

size_t drain_section_of(const struct config *config, const struct config_edge *edge,
			const struct config_gateway *gateway)
{
	return edge != NULL ? (size_t)(edge - config->edges)
			    : config->edge_count + (size_t)(gateway - config->gateways);
}

/* --- on the workers' threads ---------------------------------------------------------------- */

static bool is_meant(const struct drain *drain, const struct worker_listener *listener)
{
	const struct config *config = listener->worker->snapshot->config;

	return drain->sections[drain_section_of(config, listener->edge, listener->gateway)];
}

/* To them the connection has come about: a reset would look like a fault. */
static void take_last_ones(struct worker_listener *listener)
{
	for (unsigned int i = 0; i < LAST_ONES; i++) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		worker_take(listener, fd);
	}
}

void drain_listener(struct worker_listener *listener)
{
	struct worker *worker = listener->worker;
	struct drain_share *share = &worker->drain->shares[worker->number];

	listener->draining = false;
	take_last_ones(listener);
	close(listener->fd);
	listener->fd = -1;
	share->open--;
	if (share->open > 0)
		return;
	worker->drain = NULL;
	errand_done(share->part);
}

static void close_listener(struct worker_listener *listener)
{
	struct ring *ring = listener->worker->ring;

	timer_stop(ring_timers(ring), &listener->retry);
	if (op_armed(&listener->accept))
		ring_cancel(ring, &listener->accept);
	else
		drain_listener(listener);
}

static void close_listeners(struct worker *worker, struct drain *drain, struct errand_part *part)
{
	struct drain_share *share = &drain->shares[worker->number];

	share->part = part;
	for (size_t i = 0; i < worker->listener_count; i++) {
		struct worker_listener *listener = &worker->listeners[i];

		listener->draining = listener->fd >= 0 && is_meant(drain, listener);
		share->open += listener->draining;
	}
	if (share->open == 0) {
		errand_done(part);
		return;
	}
	worker->drain = drain;
	/* The last one ends the errand: `drain` may be gone then, the listeners' marks are not. */
	for (size_t i = 0; i < worker->listener_count; i++)
		if (worker->listeners[i].draining)
			close_listener(&worker->listeners[i]);
}

static void open_listeners(struct worker *worker, struct drain *drain, struct errand_part *part)
{
	int *fds = drain->shares[worker->number].fds;

	for (size_t i = 0; i < worker->listener_count; i++) {
		if (fds[i] < 0)
			continue;
		worker->listeners[i].fd = fds[i];
		fds[i] = -1;
		worker_accept(&worker->listeners[i]);
	}
	errand_done(part);
}

static void run(struct errand_part *part, void *context)
{
	struct drain *drain = context;

	if (drain->undo)
		open_listeners(part->worker, drain, part);
	else
		close_listeners(part->worker, drain, part);
}

/* --- on the main thread --------------------------------------------------------------------- */

/*
 * Before any of them is opened: the workers' sockets share an address, and would share it with
 * another daemon's.
 */
static int try_addresses(const struct worker *worker, const struct drain *drain)
{
	int error = 0, fd;

	for (size_t i = 0; i < worker->listener_count && error == 0; i++) {
		/* A passed socket is listening all the time. */
		if (!is_meant(drain, &worker->listeners[i]) || worker->listeners[i].passed)
			continue;
		error = socket_listen(&worker->listeners[i].address, false, &fd);
		if (error == 0)
			close(fd);
	}
	return error;
}

static int open_sockets(const struct worker *worker, const struct drain *drain,
			struct drain_share *share)
{
	int error = 0;

	share->fds = calloc(worker->listener_count + 1, sizeof(int));
	if (share->fds == NULL)
		return -ENOMEM;
	share->fd_count = worker->listener_count;
	for (size_t i = 0; i < share->fd_count; i++)
		share->fds[i] = -1;
	for (size_t i = 0; i < share->fd_count && error == 0; i++) {
		const struct worker_listener *listener = &worker->listeners[i];

		if (is_meant(drain, listener))
			error = worker_listen(worker, listener, &share->fds[i]);
	}
	return error;
}

/* All sockets or none. What workers know of drained listeners does not change meanwhile. */
static int prepare_undo(struct worker **workers, struct drain *drain)
{
	int error = try_addresses(workers[0], drain);

	for (unsigned int i = 0; i < drain->worker_count && error == 0; i++)
		error = open_sockets(workers[i], drain, &drain->shares[i]);
	return error;
}

int drain_new(struct worker **workers, unsigned int count, const struct config *config,
	      const bool *sections, bool undo, struct drain **out)
{
	size_t size = drain_section_count(config) * sizeof(bool);
	struct drain *drain;
	int error;

	drain = calloc(1, sizeof(*drain) + count * sizeof(drain->shares[0]));
	if (drain == NULL)
		return -ENOMEM;
	drain->undo = undo;
	drain->worker_count = count;
	drain->sections = malloc(size);
	error = drain->sections != NULL ? 0 : -ENOMEM;
	if (error == 0)
		memcpy(drain->sections, sections, size);
	if (error == 0 && undo)
		error = prepare_undo(workers, drain);
	if (error == 0)
		error = errand_new(workers, count, run, drain, &drain->errand);
	if (error < 0)
		drain_free(drain);
	else
		*out = drain;
	return error;
}

void drain_free(struct drain *drain)
{
	if (drain == NULL)
		return;
	errand_free(drain->errand);
	for (unsigned int i = 0; i < drain->worker_count; i++) {
		for (size_t j = 0; j < drain->shares[i].fd_count; j++)
			if (drain->shares[i].fds[j] >= 0)
				close(drain->shares[i].fds[j]);
		free(drain->shares[i].fds);
	}
	free(drain->sections);
	free(drain);
}

int drain_descriptor(const struct drain *drain)
{
	return errand_descriptor(drain->errand);
}
