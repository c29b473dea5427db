/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/worker.h"

#include "base/error.h"
#include "proxy/counters.h"
#include "proxy/drain.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>

#define RECEIVE_BUFFERS 512 /* 2 MiB a worker, shared by its sessions for the moment of a recv */
#define TRIM_FROM       64  /* sessions at once, after which unused memory is worth giving back */
#define PIPES           64  /* of PIPE_SLOTS pages when full; sessions hold one for a frame only */
#define CLAIM_TIME      (2 * CLOCK_SEC)
#define CLAIM_PAUSE     20000 /* microseconds */
#define ACCEPT_PAUSE    (100 * CLOCK_MS)

void worker_take(struct worker_listener *listener, int fd)
{
	struct worker *worker = listener->worker;

	(void)session_new(worker, worker->snapshot, listener->edge, listener->gateway, fd);
}

void worker_accept(struct worker_listener *listener)
{
	ring_accept(listener->worker->ring, &listener->accept, listener->fd);
}

static void accepted(struct worker_listener *listener, const struct op_result *result)
{
	struct worker *worker = listener->worker;

	if (result->res >= 0) {
		worker_take(listener, result->res);
		return;
	}
	if (result->res == -ECANCELED || listener->draining)
		return;
	/* EMFILE, ENFILE, ENOBUFS, ENOMEM: accepting again at once would only spin. */
	atomic_fetch_add(&worker->counters->accept_paused, 1);
	log_simple(LOG_LEVEL_ERROR, "accept-paused", "error", "%s", strerrordesc_np(-result->res));
	if (timer_set(ring_timers(worker->ring), &listener->retry, clock_now() + ACCEPT_PAUSE) < 0)
		worker_accept(listener);
}

static void accept_again(struct timer *timer)
{
	struct worker_listener *listener = container_of(timer, struct worker_listener, retry);

	if (!listener->worker->stopping)
		worker_accept(listener);
}

static void completed(struct op_owner *owner, struct op *op, const struct op_result *result)
{
	struct worker *worker = container_of(owner, struct worker, owner);
	struct worker_listener *listener = container_of(op, struct worker_listener, accept);

	if (result->res >= 0 && worker->stopping)
		close(result->res);
	else
		accepted(listener, result);
	if (listener->draining && !op_armed(op))
		drain_listener(listener);
}

void worker_session_added(struct worker *worker, struct session *session)
{
	LIST_INSERT_HEAD(&worker->sessions, session, entry);
	worker->session_count++;
	if (worker->session_count > worker->most_sessions)
		worker->most_sessions = worker->session_count;
}

void worker_session_gone(struct worker *worker)
{
	worker->session_count--;
	if (worker->session_count > 0 || worker->most_sessions < TRIM_FROM)
		return;
	/* The C library keeps what is freed in small pieces: some 28 KiB for each session. */
	worker->most_sessions = 0;
	(void)malloc_trim(0);
}

static void close_everything(struct worker *worker)
{
	struct session *session, *next;

	for (size_t i = 0; i < worker->listener_count; i++) {
		timer_stop(ring_timers(worker->ring), &worker->listeners[i].retry);
		ring_cancel(worker->ring, &worker->listeners[i].accept);
	}
	for (session = LIST_FIRST(&worker->sessions); session != NULL; session = next) {
		next = LIST_NEXT(session, entry);
		session_close(session, SESSION_REASON_SHUTDOWN, NULL);
		session_settle(session);
	}
}

static void told_to_stop(struct message *message)
{
	struct worker *worker = container_of(message, struct worker, stop);

	worker->stopping = true;
	close_everything(worker);
	sem_post(&worker->emptied);
}

/* Where in the old configuration its edge or gateway stood, there it stands in the new one. */
static void rebind_listener(struct worker_listener *listener, const struct config *now,
			    const struct config *then)
{
	if (listener->edge != NULL)
		listener->edge = &then->edges[listener->edge - now->edges];
	else
		listener->gateway = &then->gateways[listener->gateway - now->gateways];
}

/*
 * On a machine with one CPU nobody could send what a worker looks for. How many this process may
 * use says nothing: those it waits for may have the others.
 */
static void allow_busy_poll(struct worker *worker)
{
	ring_busy_poll(worker->ring,
		       worker->snapshot->config->busy_poll && sysconf(_SC_NPROCESSORS_ONLN) > 1);
}

static void told_to_reload(struct message *message)
{
	struct worker *worker = container_of(message, struct worker, reload);
	struct snapshot *old = worker->snapshot;
	struct session *session, *next;

	worker->snapshot = worker->next;
	for (size_t i = 0; i < worker->listener_count; i++)
		rebind_listener(&worker->listeners[i], old->config, worker->snapshot->config);
	for (session = LIST_FIRST(&worker->sessions); session != NULL; session = next) {
		next = LIST_NEXT(session, entry);
		session_rebind(session, worker->snapshot);
		session_settle(session);
	}
	snapshot_release(old);
	allow_busy_poll(worker);
	sem_post(&worker->reloaded);
}

void worker_reload(struct worker *worker, struct snapshot *snapshot)
{
	worker->next = snapshot_reference(snapshot);
	worker->reload.deliver = told_to_reload;
	inbox_post(&worker->inbox, &worker->reload);
	while (sem_wait(&worker->reloaded) < 0)
		;
}

static void woken(struct op_owner *owner, struct op *op, const struct op_result *result)
{
	struct worker *worker = container_of(owner, struct worker, woken);

	(void)op;
	(void)result;
	inbox_deliver(&worker->inbox);
}

static void start_accepting(struct worker *worker)
{
	for (size_t i = 0; i < worker->listener_count; i++) {
		struct worker_listener *listener = &worker->listeners[i];

		listener->worker = worker;
		listener->accept.owner = &worker->owner;
		listener->retry.expired = accept_again;
		worker_accept(listener);
	}
}

static bool busy(const struct worker *worker)
{
	return !worker->stopping || worker->session_count > 0 || worker->owner.in_flight > 0;
}

/* Sessions that find no pipe free have their frames copied: right, but not what was asked for. */
static int make_pipes(struct worker *worker)
{
	struct log_entry entry;
	int error = pipe_pool_new(PIPES, &worker->pipes);

	if (error < 0 || pipe_pool_size(worker->pipes) == PIPES)
		return error;
	log_begin(&entry, LOG_LEVEL_WARNING, "few-pipes");
	log_field(&entry, "pipes", "%u", pipe_pool_size(worker->pipes));
	log_field(&entry, "wanted", "%d", PIPES);
	log_end(&entry);
	return 0;
}

static void *run(void *argument)
{
	struct worker *worker = argument;

	/* The thread that makes the ring is the only one that may submit to it. */
	worker->error = ring_new(worker->capabilities->loop, RECEIVE_BUFFERS, &worker->woken,
				 &worker->ring);
	if (worker->error == 0 && worker->capabilities->relay != RELAY_ENGINE_COPY)
		worker->error = make_pipes(worker);
	if (worker->error == 0) {
		inbox_init(&worker->inbox, worker->ring);
		allow_busy_poll(worker);
		start_accepting(worker);
	}
	sem_post(&worker->started);
	if (worker->error < 0)
		return NULL;
	while (busy(worker))
		if (ring_run_once(worker->ring) < 0)
			abort(); /* no session could ever end; the service is started anew */
	inbox_deliver(&worker->inbox);
	ring_free(worker->ring);
	pipe_pool_free(worker->pipes);
	inbox_deinit(&worker->inbox);
	return NULL;
}

/*
 * Makes sure that no other process listens there. The kernel ends the io_uring of a daemon that
 * was killed a moment after the daemon itself, and its listeners with it: asked again for a while.
 */
static int claim(const struct address *address)
{
	clock_us until = clock_now() + CLAIM_TIME;
	int fd, error = socket_listen(address, false, &fd);

	while (error == -EADDRINUSE && clock_now() < until) {
		usleep(CLAIM_PAUSE);
		error = socket_listen(address, false, &fd);
	}
	if (error == 0)
		close(fd);
	return error;
}

int worker_listen(const struct worker *worker, const struct worker_listener *listener, int *out)
{
	const struct config_edge *edge = listener->edge;
	cleanup_fd int fd = -1;
	int error = 0;

	if (listener->passed)
		fd = fcntl(passed_find(worker->passed, &listener->address, NULL), F_DUPFD_CLOEXEC,
			   0);
	else
		error = socket_listen(&listener->address, true, &fd);
	if (error == 0 && fd < 0)
		error = -errno;
	if (error == 0 && edge != NULL && edge->transparent &&
	    edge->interception == CONFIG_INTERCEPTION_TPROXY)
		error = socket_make_transparent(fd, &listener->address);
	if (error == 0)
		*out = steal_fd(&fd);
	return error;
}

static void log_listen_failed(const struct address *address, int error)
{
	char text[ADDRESS_TEXT_SIZE];
	struct log_entry entry;

	log_begin(&entry, LOG_LEVEL_ERROR, "listen-failed");
	log_field(&entry, "address", "%s", address_print(address, text));
	log_field(&entry, "error", "%s%s", strerrordesc_np(-error),
		  error == -EPERM ? " (interception = tproxy needs CAP_NET_RAW)" : "");
	log_end(&entry);
}

static const char *name_of(const struct worker_listener *listener)
{
	return listener->edge != NULL ? listener->edge->name : listener->gateway->name;
}

static int listen_on(struct worker *worker, const struct address *addresses, size_t count,
		     const struct config_edge *edge, const struct config_gateway *gateway)
{
	for (size_t i = 0; i < count; i++) {
		struct worker_listener *listener = &worker->listeners[worker->listener_count];
		int error = 0;

		listener->address = addresses[i];
		listener->edge = edge;
		listener->gateway = gateway;
		listener->passed =
			passed_find(worker->passed, &addresses[i], name_of(listener)) >= 0;
		if (worker->number == 0 && !listener->passed)
			error = claim(&addresses[i]);
		if (error == 0)
			error = worker_listen(worker, listener, &listener->fd);
		if (error < 0) {
			log_listen_failed(&addresses[i], error);
			return error;
		}
		worker->listener_count++;
	}
	return 0;
}

static int open_listeners(struct worker *worker, const struct config *config)
{
	size_t count = 0;
	int error = 0;

	for (size_t i = 0; i < config->edge_count; i++)
		count += config->edges[i].listen_count;
	for (size_t i = 0; i < config->gateway_count; i++)
		count += config->gateways[i].listen_count;
	worker->listeners = calloc(count + 1, sizeof(*worker->listeners));
	if (worker->listeners == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < config->edge_count && error == 0; i++)
		error = listen_on(worker, config->edges[i].listen, config->edges[i].listen_count,
				  &config->edges[i], NULL);
	for (size_t i = 0; i < config->gateway_count && error == 0; i++)
		error = listen_on(worker, config->gateways[i].listen,
				  config->gateways[i].listen_count, NULL, &config->gateways[i]);
	return error;
}

static void free_worker(struct worker *worker)
{
	for (size_t i = 0; i < worker->listener_count; i++)
		if (worker->listeners[i].fd >= 0)
			close(worker->listeners[i].fd);
	free(worker->listeners);
	sem_destroy(&worker->started);
	sem_destroy(&worker->emptied);
	sem_destroy(&worker->reloaded);
	snapshot_release(worker->snapshot);
	buffer_pool_free(worker->buffers);
	free(worker);
}

static int start(struct worker *worker)
{
	int error = open_listeners(worker, worker->snapshot->config);

	if (error == 0)
		error = -pthread_create(&worker->thread, NULL, run, worker);
	if (error < 0)
		return error;
	while (sem_wait(&worker->started) < 0)
		;
	if (worker->error < 0)
		pthread_join(worker->thread, NULL);
	return worker->error;
}

int worker_new(unsigned int number, const struct capabilities *capabilities,
	       struct snapshot *snapshot, struct handshake_pool *pool, struct counters *counters,
	       struct audit_file *audit, struct passed *passed, struct worker **out)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int error;

	if (worker == NULL)
		return -ENOMEM;
	worker->number = number;
	worker->capabilities = capabilities;
	worker->pool = pool;
	worker->counters = counters;
	worker->audit = audit;
	worker->passed = passed;
	worker->snapshot = snapshot_reference(snapshot);
	worker->owner.complete = completed;
	worker->woken.complete = woken;
	LIST_INIT(&worker->sessions);
	LIST_INIT(&worker->walks);
	sem_init(&worker->started, 0, 0);
	sem_init(&worker->emptied, 0, 0);
	sem_init(&worker->reloaded, 0, 0);
	worker->buffers = buffer_pool_new();
	error = worker->buffers != NULL ? start(worker) : -ENOMEM;
	if (error < 0) {
		free_worker(worker);
		return error;
	}
	*out = worker;
	return 0;
}

void worker_stop(struct worker *worker)
{
	/* Not a flag and a wake: seen early, the ring could be gone before the wake. */
	worker->stop.deliver = told_to_stop;
	inbox_post(&worker->inbox, &worker->stop);
	while (sem_wait(&worker->emptied) < 0)
		;
}

void worker_join(struct worker *worker)
{
	if (worker == NULL)
		return;
	pthread_join(worker->thread, NULL);
	free_worker(worker);
}
