/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/errand.h"

#include "base/error.h"
#include "proxy/worker.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

struct errand {
	void (*run)(struct errand_part *part, void *context);
	void *context;
	pthread_mutex_t lock;
	unsigned int open; /* parts that are not done */
	int descriptor;    /* an eventfd, written once */
	struct errand_part parts[];
};

static void deliver(struct message *message)
{
	struct errand_part *part = container_of(message, struct errand_part, message);

	part->errand->run(part, part->errand->context);
}

void errand_again(struct errand_part *part)
{
	inbox_post(&part->worker->inbox, &part->message);
}

void errand_done(struct errand_part *part)
{
	struct errand *errand = part->errand;

	pthread_mutex_lock(&errand->lock);
	errand->open--;
	/* Under the lock: once it is free the errand may be gone. */
	if (errand->open == 0)
		(void)!eventfd_write(errand->descriptor, 1);
	pthread_mutex_unlock(&errand->lock);
}

bool errand_is_done(struct errand *errand)
{
	bool done;

	pthread_mutex_lock(&errand->lock);
	done = errand->open == 0;
	pthread_mutex_unlock(&errand->lock);
	return done;
}

int errand_descriptor(const struct errand *errand)
{
	return errand->descriptor;
}

int errand_new(struct worker **workers, unsigned int count,
	       void (*run)(struct errand_part *part, void *context), void *context,
	       struct errand **out)
{
	struct errand *errand = calloc(1, sizeof(*errand) + count * sizeof(errand->parts[0]));

	if (errand == NULL)
		return -ENOMEM;
	errand->run = run;
	errand->context = context;
	errand->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (errand->descriptor < 0) {
		int error = -errno;

		free(errand);
		return error;
	}
	pthread_mutex_init(&errand->lock, NULL);
	errand->open = count;
	*out = errand;
	for (unsigned int i = 0; i < count; i++) {
		errand->parts[i] =
			(struct errand_part){workers[i], i, errand, {.deliver = deliver}};
		errand_again(&errand->parts[i]);
	}
	return 0;
}

void errand_free(struct errand *errand)
{
	struct pollfd written = {.events = POLLIN};

	if (errand == NULL)
		return;
	written.fd = errand->descriptor;
	while (!errand_is_done(errand))
		(void)poll(&written, 1, -1);
	pthread_mutex_destroy(&errand->lock);
	close(errand->descriptor);
	free(errand);
}
