/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the PLCs behind this daemon, over all workers and all configurations that it
 * has had: connection slots, turns, password tries, and an account for each identity that asks.
 *
 * PLCs are found by name, and nothing is ever forgotten: a PLC that leaves the configuration and
 * comes back has its old slots and counters, and those who hold a pointer may keep it.
 */
#ifndef MCSEAL_PLANT_PLANT_H
#define MCSEAL_PLANT_PLANT_H

#include "config/config.h"
#include "plant/account.h"
#include "plant/password_tries.h"
#include "plant/plc_slots.h"
#include "plant/turns.h"

struct plant_port {
	uint16_t number;
	struct plc_slots *slots;
	SLIST_ENTRY(plant_port) entry;
};

SLIST_HEAD(plant_ports, plant_port);
SLIST_HEAD(accounts, account);

struct plant_plc {
	char *name;
	struct plant_ports ports;
	struct turns turns;
	struct password_tries tries;
	struct accounts accounts;
	SLIST_ENTRY(plant_plc) entry;
};

SLIST_HEAD(plant_plcs, plant_plc);

struct plant {
	pthread_mutex_t lock; /* of the lists */
	struct plant_plcs plcs;
};

/* 0 or -ENOMEM. */
int plant_new(struct plant **plant);
/* When no session is left. Accepts NULL. */
void plant_free(struct plant *plant);
/* Adds what is new and sets the limits that this configuration has. 0 or -ENOMEM. */
int plant_configure(struct plant *plant, const struct config *config);

/* Of a configuration that plant_configure() has had: never NULL. Any thread. */
struct plant_plc *plant_find(struct plant *plant, const struct config_plc *plc);
struct plc_slots *plant_slots(struct plant *plant, struct plant_plc *plc, uint16_t port);
/* The identity's at this PLC, a new one if need be. NULL: no memory. Any thread. */
struct account *plant_account(struct plant *plant, struct plant_plc *plc, const char *identity);

#endif
