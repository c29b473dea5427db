/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A port's free slots are the first entries of `rested`, each with the time from which it may be
 * dialled; taking one moves the last free entry into its place. Which slot of the PLC a connection
 * really gets is the PLC's affair: only number and rest matter.
 */
#include "proxy/plc_slots.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* How soon to ask again while all slots are in use: nobody tells when one comes back. */
#define ASK_AGAIN (20 * CLOCK_MS)

/* One port: how many are taken, and for each free one the time from which it may be dialled. */
struct port_slots {
	unsigned int taken, count;
	clock_us *rested; /* of the free ones: rested[0 .. count - taken) */
};

struct plc_slots {
	pthread_mutex_t lock;
	const struct config *config;
	struct port_slots **plcs; /* as in config: [plc][port] */
};

static struct port_slots *find(struct plc_slots *slots, const struct config_plc *plc,
			       const struct config_port *port)
{
	return &slots->plcs[plc - slots->config->plcs][port - plc->ports];
}

static int fill(struct port_slots **ports, const struct config_plc *plc)
{
	*ports = calloc(plc->port_count, sizeof(**ports));
	if (*ports == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < plc->port_count; i++) {
		(*ports)[i].count = plc->ports[i].connections;
		(*ports)[i].rested = calloc((*ports)[i].count, sizeof(clock_us));
		if ((*ports)[i].rested == NULL)
			return -ENOMEM;
	}
	return 0;
}

int plc_slots_new(const struct config *config, struct plc_slots **out)
{
	struct plc_slots *slots = calloc(1, sizeof(*slots));
	int error = 0;

	if (slots == NULL)
		return -ENOMEM;
	pthread_mutex_init(&slots->lock, NULL);
	slots->config = config;
	slots->plcs = calloc(config->plc_count + 1, sizeof(*slots->plcs));
	if (slots->plcs == NULL)
		error = -ENOMEM;
	for (size_t i = 0; i < config->plc_count && error == 0; i++)
		error = fill(&slots->plcs[i], &config->plcs[i]);
	if (error < 0) {
		plc_slots_free(slots);
		return error;
	}
	*out = slots;
	return 0;
}

void plc_slots_free(struct plc_slots *slots)
{
	if (slots == NULL)
		return;
	for (size_t i = 0; slots->plcs != NULL && i < slots->config->plc_count; i++) {
		for (size_t j = 0; slots->plcs[i] && j < slots->config->plcs[i].port_count; j++)
			free(slots->plcs[i][j].rested);
		free(slots->plcs[i]);
	}
	free(slots->plcs);
	pthread_mutex_destroy(&slots->lock);
	free(slots);
}

static int take(struct port_slots *port, clock_us now, clock_us *retry)
{
	unsigned int free_count = port->count - port->taken;
	unsigned int best = 0;

	if (free_count == 0) {
		*retry = now + ASK_AGAIN;
		return PLC_SLOTS_WAIT;
	}
	for (unsigned int i = 1; i < free_count; i++)
		if (port->rested[i] < port->rested[best])
			best = i;
	if (port->rested[best] > now) {
		*retry = port->rested[best];
		return PLC_SLOTS_WAIT;
	}
	port->rested[best] = port->rested[free_count - 1];
	port->taken++;
	return 0;
}

int plc_slots_take(struct plc_slots *slots, const struct config_plc *plc,
		   const struct config_port *port, clock_us now, clock_us *retry)
{
	int outcome;

	pthread_mutex_lock(&slots->lock);
	outcome = take(find(slots, plc, port), now, retry);
	pthread_mutex_unlock(&slots->lock);
	return outcome;
}

void plc_slots_give(struct plc_slots *slots, const struct config_plc *plc,
		    const struct config_port *port, clock_us rested)
{
	struct port_slots *given = find(slots, plc, port);

	pthread_mutex_lock(&slots->lock);
	given->taken--;
	given->rested[given->count - given->taken - 1] = rested;
	pthread_mutex_unlock(&slots->lock);
}
