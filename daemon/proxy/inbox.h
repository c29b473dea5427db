/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between threads: any thread posts, the owner of the ring takes. Never on the data
 * path; a session needs two in its life (handshake out, handshake back).
 */
#ifndef MCSEAL_PROXY_INBOX_H
#define MCSEAL_PROXY_INBOX_H

#include "ring/ring.h"

#include <pthread.h>
#include <sys/queue.h>

/* Embedded in what is sent; the receiver's deliver() owns it from then on. */
struct message {
	void (*deliver)(struct message *message);
	STAILQ_ENTRY(message) entry;
};

STAILQ_HEAD(message_queue, message);

struct inbox {
	pthread_mutex_t lock;
	struct message_queue queue;
	struct ring *ring; /* woken by a post */
};

void inbox_init(struct inbox *inbox, struct ring *ring);
void inbox_deinit(struct inbox *inbox);
/* Any thread. */
void inbox_post(struct inbox *inbox, struct message *message);
/* The ring's thread: delivers everything posted so far. */
void inbox_deliver(struct inbox *inbox);

#endif
