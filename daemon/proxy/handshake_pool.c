/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Each thread has a ring and three lists of jobs: `silent` (a gateway's, begun, nothing received
 * yet), `talking` (begun, OpenSSL at work) and `waiting` (beyond a limit, a queue for each of some
 * sources, which are asked in turn: sources beyond that number share queues). A gateway's job polls
 * for the peer's first byte before any TLS object is made for it, so a flood of connections that
 * say nothing costs descriptors and little else.
 *
 * end() is the way out of every job: it notes the first result, and if a poll is still armed lets
 * its completion come back to end(); answer() then posts the job home. Nobody but the thread
 * touches a job between handshake_pool_start() and that post.
 */
#include "proxy/handshake_pool.h"

#include "base/error.h"
#include "tls/arming.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

/* So long after the last handshake the C library is asked for what they have left behind. */
#define TRIM_AFTER (200 * CLOCK_MS)

/* How long a refused client may take to read its alert. */
#define ALERT_TIME CLOCK_SEC

#define QUEUES 64

TAILQ_HEAD(job_list, handshake_job);

struct handshake_thread {
	pthread_t thread;
	bool running;
	struct ring *ring;
	struct op_owner woken;
	struct inbox inbox;
	struct job_list silent;          /* in progress, nothing received yet */
	struct job_list talking;         /* in progress */
	struct job_list waiting[QUEUES]; /* beyond a limit */
	unsigned int waiting_count, turn;
	unsigned int in_progress, limit;
	unsigned int in_progress_of[QUEUES], limit_of_source;
	bool taking;           /* jobs that wait are being begun */
	struct timer quiet;    /* no handshake for a while */
	struct timer eviction; /* while jobs wait: when the oldest silent one must give way */
	struct message stop;   /* the last one posted */
	bool stopping;
	const struct capabilities *capabilities;
	struct peer_chain_store *chains;
	sem_t started;
	int error;
};

struct handshake_pool {
	atomic_uint next;
	unsigned int thread_count;
	struct handshake_thread threads[];
};

static void begin(struct handshake_thread *thread, struct handshake_job *job);

static unsigned int queue_of(const struct handshake_job *job)
{
	return job->source % QUEUES;
}

/* The one way out of a job; its poll has ended. */
static void answer(struct handshake_job *job)
{
	struct handshake_thread *thread = job->thread;

	timer_stop(ring_timers(thread->ring), &job->deadline);
	TAILQ_REMOVE(job->silent ? &thread->silent : &thread->talking, job, entry);
	thread->in_progress--;
	thread->in_progress_of[queue_of(job)]--;
	handshake_free(job->handshake);
	job->handshake = NULL;
	if (job->result < 0) {
		ktls_control_free(job->kernel);
		tls_stream_free(job->stream);
		job->kernel = NULL;
		job->stream = NULL;
		peer_chain_release(job->chain);
		job->chain = NULL;
	}
	inbox_post(job->reply_to, &job->message);
}

static void schedule_eviction(struct handshake_thread *thread)
{
	const struct handshake_job *oldest = TAILQ_FIRST(&thread->silent);

	if (oldest == NULL || thread->waiting_count == 0 || timer_is_set(&thread->eviction))
		return;
	/* Without memory for the timer, the deadlines of the silent ones do the same, later. */
	(void)timer_set(ring_timers(thread->ring), &thread->eviction,
			oldest->begun + HANDSHAKE_POOL_PATIENCE);
}

/*
 * An edge's clients take no share: what one of them waits for here, a gateway waits for there, and
 * takes it for a peer that sends nothing.
 */
static bool has_room(const struct handshake_thread *thread, const struct handshake_job *job)
{
	return thread->in_progress < thread->limit &&
	       (job->context->role == TLS_ROLE_EDGE ||
		thread->in_progress_of[queue_of(job)] < thread->limit_of_source);
}

/* The one whose turn it is, taken from its queue; NULL: none may begin. */
static struct handshake_job *next_waiting(struct handshake_thread *thread)
{
	for (unsigned int i = 0; i < QUEUES && thread->waiting_count > 0; i++) {
		unsigned int queue = ++thread->turn % QUEUES;
		struct handshake_job *job = TAILQ_FIRST(&thread->waiting[queue]);

		if (job == NULL || !has_room(thread, job))
			continue;
		TAILQ_REMOVE(&thread->waiting[queue], job, entry);
		thread->waiting_count--;
		return job;
	}
	return NULL;
}

static void take_waiting(struct handshake_thread *thread)
{
	struct handshake_job *job;

	/* From a job that failed as soon as it began: the loop goes on, not ever deeper. */
	if (thread->taking)
		return;
	thread->taking = true;
	while ((job = next_waiting(thread)) != NULL)
		begin(thread, job);
	thread->taking = false;
	schedule_eviction(thread);
}

/* It keeps what is freed in small pieces: some 50 KiB for each handshake of a burst. */
static void give_memory_back(struct timer *timer)
{
	const struct handshake_thread *thread = container_of(timer, struct handshake_thread, quiet);

	if (thread->in_progress == 0)
		(void)malloc_trim(0);
}

static void end(struct handshake_job *job, int result)
{
	struct handshake_thread *thread = job->thread;

	if (job->result == 0)
		job->result = result;
	if (op_armed(&job->poll)) {
		ring_cancel(thread->ring, &job->poll); /* its completion answers */
		return;
	}
	answer(job);
	take_waiting(thread);
	/* Without memory for a timer there is none to be given back either. */
	if (thread->in_progress == 0)
		(void)timer_set(ring_timers(thread->ring), &thread->quiet,
				clock_now() + TRIM_AFTER);
}

/* What a refused client had sent already is thrown away until it closes. */
static void discard(struct handshake_job *job)
{
	uint8_t bytes[4096];
	ssize_t got = recv(job->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
		ring_poll(job->thread->ring, &job->poll, job->fd, POLLIN);
	else
		end(job, -EPROTO);
}

/*
 * The client has an alert to read. A TLS 1.3 client may have sent its first request with its
 * Finished; closing over unread bytes makes a reset, and at the client a reset overtakes the alert.
 */
static void let_alert_arrive(struct handshake_job *job)
{
	job->refused = true;
	if (shutdown(job->fd, SHUT_WR) < 0 ||
	    timer_set(ring_timers(job->thread->ring), &job->deadline, clock_now() + ALERT_TIME) < 0)
		end(job, -EPROTO);
	else
		discard(job);
}

static bool kernel_can_rekey(const struct handshake_job *job)
{
	return job->thread->capabilities->findings[CAPABILITY_REKEY].there;
}

/*
 * The keys go to the kernel if they may. 0, with job->kernel or job->user_why set; -EPROTO: the
 * socket has one key in the kernel and cannot get the other.
 */
static int install(struct handshake_job *job, const struct traffic_pair *pair)
{
	bool installed = false;
	int error =
		ktls_control_new(job->fd, pair, kernel_can_rekey(job), &installed, &job->kernel);

	if (error == 0)
		return 0;
	job->user_why = strerrordesc_np(-error);
	if (!installed)
		return 0;
	snprintf(job->peer.reason, sizeof(job->peer.reason), "keys half handed to the kernel: %s",
		 job->user_why);
	return -EPROTO;
}

static int hand_over_keys(struct handshake_job *job, const struct traffic_pair *pair)
{
	job->user_why = capabilities_refuse_cipher(job->thread->capabilities,
						   pair->keys[TRAFFIC_SEND].cipher);
	/* It would send longer ones. */
	if (job->user_why == NULL && pair->record_max < RECORD_MAX)
		job->user_why = "the peer asked for short records (max_fragment_length)";
	return job->user_why == NULL ? install(job, pair) : 0;
}

/* Who makes the records from here on? */
static int choose_records(struct handshake_job *job, const struct traffic_pair *pair)
{
	int error = job->ktls == CONFIG_KTLS_OFF ? 0 : hand_over_keys(job, pair);

	if (error < 0 || job->kernel != NULL)
		return error;
	if (job->ktls != CONFIG_KTLS_REQUIRED)
		return tls_stream_new(pair, &job->stream);
	snprintf(job->peer.reason, sizeof(job->peer.reason), "ktls = required, but: %s",
		 job->user_why);
	return -EPROTO;
}

/* The handshake is done. */
static int arm(struct handshake_job *job)
{
	struct traffic_pair pair;
	const char *why;
	int error;

	job->chain = handshake_keep_chain(job->handshake, job->thread->chains);
	if (job->chain == NULL)
		return -ENOMEM;
	if (arming_prepare(job->handshake, &pair, &why) != 0) {
		snprintf(job->peer.reason, sizeof(job->peer.reason), "%s", why);
		return -EPROTO;
	}
	error = choose_records(job, &pair);
	explicit_bzero(&pair, sizeof(pair));
	job->own_ends = tls_context_expires(job->context);
	job->tls_version = handshake_version(job->handshake);
	job->tls_cipher = handshake_cipher(job->handshake);
	job->resumed = handshake_resumed(job->handshake);
	return error;
}

static void advance(struct handshake_job *job)
{
	int outcome = handshake_step(job->handshake, &job->peer);

	if (outcome == 0) {
		end(job, arm(job));
		return;
	}
	if (outcome == HANDSHAKE_WANT_READ)
		ring_poll(job->thread->ring, &job->poll, job->fd, POLLIN);
	else if (outcome == HANDSHAKE_WANT_WRITE)
		ring_poll(job->thread->ring, &job->poll, job->fd, POLLOUT);
	else if (outcome == -EPROTO && job->context->role == TLS_ROLE_GATEWAY)
		let_alert_arrive(job);
	else
		end(job, outcome);
}

static void start_tls(struct handshake_job *job)
{
	int error = handshake_new(job->context, job->fd, &job->server, &job->handshake);

	if (error < 0)
		end(job, error);
	else
		advance(job);
}

static void polled(struct op_owner *owner, struct op *op, const struct op_result *result)
{
	struct handshake_job *job = container_of(owner, struct handshake_job, owner);

	(void)op;
	if (job->result < 0 || result->res < 0) {
		end(job, job->result < 0 ? job->result : result->res);
		return;
	}
	if (job->refused) {
		discard(job);
		return;
	}
	if (job->silent) {
		job->silent = false;
		TAILQ_REMOVE(&job->thread->silent, job, entry);
		TAILQ_INSERT_TAIL(&job->thread->talking, job, entry);
	}
	if (job->handshake == NULL)
		start_tls(job);
	else
		advance(job);
}

static void expired(struct timer *timer)
{
	struct handshake_job *job = container_of(timer, struct handshake_job, deadline);

	if (job->refused) {
		end(job, -EPROTO);
		return;
	}
	snprintf(job->peer.reason, sizeof(job->peer.reason),
		 job->silent ? "peer sent nothing" : "peer did not finish in time");
	end(job, -ETIMEDOUT);
}

/* A gateway's job costs a descriptor and this struct until the peer's first byte. */
static void begin(struct handshake_thread *thread, struct handshake_job *job)
{
	int error;

	job->silent = job->context->role == TLS_ROLE_GATEWAY;
	job->begun = clock_now();
	TAILQ_INSERT_TAIL(job->silent ? &thread->silent : &thread->talking, job, entry);
	thread->in_progress++;
	thread->in_progress_of[queue_of(job)]++;
	job->deadline.expired = expired;
	error = timer_set(ring_timers(thread->ring), &job->deadline,
			  job->begun + job->time_allowed);
	if (error < 0)
		end(job, error);
	else if (job->silent)
		ring_poll(thread->ring, &job->poll, job->fd, POLLIN);
	else
		start_tls(job);
}

/* A busy thread may not have been told yet what has come in. */
static bool has_sent_something(const struct handshake_job *job)
{
	char byte;

	return recv(job->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void evict(struct timer *timer)
{
	struct handshake_thread *thread = container_of(timer, struct handshake_thread, eviction);
	clock_us begun_before = clock_now() - HANDSHAKE_POOL_PATIENCE;
	unsigned int waiting = thread->waiting_count;
	struct handshake_job *job, *next;

	for (job = TAILQ_FIRST(&thread->silent);
	     job != NULL && waiting > 0 && job->begun <= begun_before; job = next) {
		next = TAILQ_NEXT(job, entry);
		if (job->result < 0 || has_sent_something(job))
			continue;
		snprintf(job->peer.reason, sizeof(job->peer.reason),
			 "peer sent nothing and others wait");
		end(job, -EBUSY);
		waiting--;
	}
	if (timer_is_set(timer) || thread->waiting_count == 0)
		return;
	(void)timer_set(ring_timers(thread->ring), timer,
			clock_now() + HANDSHAKE_POOL_PATIENCE / 4);
}

static void received(struct message *message)
{
	struct handshake_job *job = container_of(message, struct handshake_job, start);
	struct handshake_thread *thread = job->thread;

	job->owner.complete = polled;
	job->poll.owner = &job->owner;
	/* Nobody of its own waits while it has room. */
	if (has_room(thread, job)) {
		begin(thread, job);
		return;
	}
	TAILQ_INSERT_TAIL(&thread->waiting[queue_of(job)], job, entry);
	thread->waiting_count++;
	schedule_eviction(thread);
}

static void cancel_all(struct handshake_thread *thread)
{
	struct job_list *lists[] = {&thread->silent, &thread->talking};
	struct handshake_job *job, *next;

	timer_stop(ring_timers(thread->ring), &thread->eviction);
	timer_stop(ring_timers(thread->ring), &thread->quiet);
	for (size_t i = 0; i < QUEUES; i++)
		while ((job = TAILQ_FIRST(&thread->waiting[i])) != NULL) {
			TAILQ_REMOVE(&thread->waiting[i], job, entry);
			thread->waiting_count--;
			job->result = -ECANCELED;
			inbox_post(job->reply_to, &job->message);
		}
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		for (job = TAILQ_FIRST(lists[i]); job != NULL; job = next) {
			next = TAILQ_NEXT(job, entry);
			end(job, -ECANCELED);
		}
	}
}

static void told_to_stop(struct message *message)
{
	container_of(message, struct handshake_thread, stop)->stopping = true;
}

static void woken(struct op_owner *owner, struct op *op, const struct op_result *result)
{
	struct handshake_thread *thread = container_of(owner, struct handshake_thread, woken);

	(void)op;
	(void)result;
	inbox_deliver(&thread->inbox);
	if (thread->stopping)
		cancel_all(thread);
}

static void *run(void *argument)
{
	struct handshake_thread *thread = argument;

	thread->error = ring_new(thread->capabilities->loop, 2, &thread->woken, &thread->ring);
	if (thread->error == 0)
		inbox_init(&thread->inbox, thread->ring);
	sem_post(&thread->started);
	if (thread->error < 0)
		return NULL;
	while (!thread->stopping || thread->in_progress > 0)
		if (ring_run_once(thread->ring) < 0)
			abort(); /* a ring that fails leaves sessions that can never end */
	/* Only the thread that made the ring may end it. */
	ring_free(thread->ring);
	inbox_deinit(&thread->inbox);
	return NULL;
}

static int start_thread(struct handshake_thread *thread, const struct capabilities *capabilities,
			struct peer_chain_store *chains, unsigned int limit)
{
	int error;

	TAILQ_INIT(&thread->silent);
	TAILQ_INIT(&thread->talking);
	for (size_t i = 0; i < QUEUES; i++)
		TAILQ_INIT(&thread->waiting[i]);
	thread->woken.complete = woken;
	thread->eviction.expired = evict;
	thread->quiet.expired = give_memory_back;
	thread->limit = limit;
	thread->limit_of_source = limit - limit / 4;
	thread->capabilities = capabilities;
	thread->chains = chains;
	sem_init(&thread->started, 0, 0);
	error = -pthread_create(&thread->thread, NULL, run, thread);
	if (error == 0) {
		while (sem_wait(&thread->started) < 0)
			;
		error = thread->error;
		thread->running = error == 0;
		if (error < 0)
			pthread_join(thread->thread, NULL);
	}
	sem_destroy(&thread->started);
	return error;
}

int handshake_pool_new(const struct capabilities *capabilities, struct peer_chain_store *chains,
		       unsigned int threads, unsigned int limit, struct handshake_pool **out)
{
	struct handshake_pool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->threads[0]));
	int error = 0;

	if (pool == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < threads && error == 0; i++) {
		pool->thread_count++;
		error = start_thread(&pool->threads[i], capabilities, chains,
				     (limit + threads - 1) / threads);
	}
	if (error < 0) {
		handshake_pool_stop(pool);
		handshake_pool_free(pool);
		return error;
	}
	*out = pool;
	return 0;
}

void handshake_pool_start(struct handshake_pool *pool, struct handshake_job *job)
{
	unsigned int turn = atomic_fetch_add(&pool->next, 1);

	job->thread = &pool->threads[turn % pool->thread_count];
	job->start.deliver = received;
	inbox_post(&job->thread->inbox, &job->start);
}

void handshake_pool_stop(struct handshake_pool *pool)
{
	if (pool == NULL)
		return;
	for (unsigned int i = 0; i < pool->thread_count; i++) {
		struct handshake_thread *thread = &pool->threads[i];

		if (!thread->running)
			continue;
		/* Not a flag and a wake: seen early, the ring would be gone before the wake. */
		thread->stop.deliver = told_to_stop;
		inbox_post(&thread->inbox, &thread->stop);
		pthread_join(thread->thread, NULL);
		thread->running = false;
	}
}

void handshake_job_free(struct handshake_job *job)
{
	if (job == NULL)
		return;
	ktls_control_free(job->kernel);
	tls_stream_free(job->stream);
	peer_chain_release(job->chain);
	free(job);
}

void handshake_pool_free(struct handshake_pool *pool)
{
	free(pool);
}
