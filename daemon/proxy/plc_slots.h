/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection slots of every PLC port. Real PLCs accept few connections per port, often one,
 * and refuse a new one for half a second after a close (iQ-R Ethernet manual: wait 500 ms).
 * Counted over all workers; taken when a session dials, never on the data path.
 */
#ifndef MCSEAL_PROXY_PLC_SLOTS_H
#define MCSEAL_PROXY_PLC_SLOTS_H

#include "base/clock.h"
#include "config/config.h"

enum plc_slots_outcome {
	PLC_SLOTS_WAIT = 1, /* ask again at *retry */
};

struct plc_slots;

/* `config` must outlive it. 0 or -ENOMEM. */
int plc_slots_new(const struct config *config, struct plc_slots **slots);
void plc_slots_free(struct plc_slots *slots);

/*
 * Takes a slot of `port` of `plc`. 0, or PLC_SLOTS_WAIT with the time at which asking again makes
 * sense: when a closed connection has rested, or soon, when all are in use. Any thread.
 */
int plc_slots_take(struct plc_slots *slots, const struct config_plc *plc,
		   const struct config_port *port, clock_us now, clock_us *retry);
/* Gives one back; it can be taken again at `rested`. Any thread. */
void plc_slots_give(struct plc_slots *slots, const struct config_plc *plc,
		    const struct config_port *port, clock_us rested);

#endif
