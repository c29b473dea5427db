/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/inbox.h"

void inbox_init(struct inbox *inbox, struct ring *ring)
{
	pthread_mutex_init(&inbox->lock, NULL);
	STAILQ_INIT(&inbox->queue);
	inbox->ring = ring;
}

void inbox_deinit(struct inbox *inbox)
{
	pthread_mutex_destroy(&inbox->lock);
}

void inbox_post(struct inbox *inbox, struct message *message)
{
	pthread_mutex_lock(&inbox->lock);
	STAILQ_INSERT_TAIL(&inbox->queue, message, entry);
	/* Under the lock: once it is free the receiver may take the message, end, and free the
	 * ring. */
	ring_wake(inbox->ring);
	pthread_mutex_unlock(&inbox->lock);
}

void inbox_deliver(struct inbox *inbox)
{
	struct message_queue taken = STAILQ_HEAD_INITIALIZER(taken);
	struct message *message;

	pthread_mutex_lock(&inbox->lock);
	STAILQ_CONCAT(&taken, &inbox->queue);
	pthread_mutex_unlock(&inbox->lock);
	while ((message = STAILQ_FIRST(&taken)) != NULL) {
		STAILQ_REMOVE_HEAD(&taken, entry);
		message->deliver(message);
	}
}
