/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plant at one moment: its lists in the order of their names, for whoever tells of them more
 * than once. What the rows point to lives as long as the plant; counters in it go on counting.
 */
#ifndef MCSEAL_CONTROL_PLANT_VIEW_H
#define MCSEAL_CONTROL_PLANT_VIEW_H

#include "plant/plant.h"

struct plant_view_port {
	struct plant_plc *plc;
	struct plant_port *port;
};

struct plant_view_account {
	struct plant_plc *plc;
	struct account *account;
};

struct plant_view {
	struct plant_plc **plcs;
	size_t plc_count;
	struct plant_view_port *ports;
	size_t port_count;
	struct plant_view_account *accounts;
	size_t account_count;
};

/* Holds the plant's lock for the time of a look at the lists. 0 or -ENOMEM. */
int plant_view_take(struct plant *plant, struct plant_view *view);
void plant_view_drop(struct plant_view *view);

#endif
