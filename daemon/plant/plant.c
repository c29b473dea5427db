/* SPDX-License-Identifier: Apache-2.0 */
#include "plant/plant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int plant_new(struct plant **out)
{
	struct plant *plant = calloc(1, sizeof(*plant));

	if (plant == NULL)
		return -ENOMEM;
	pthread_mutex_init(&plant->lock, NULL);
	SLIST_INIT(&plant->plcs);
	*out = plant;
	return 0;
}

static void free_plc(struct plant_plc *plc)
{
	struct plant_port *port;
	struct account *account;

	while ((port = SLIST_FIRST(&plc->ports)) != NULL) {
		SLIST_REMOVE_HEAD(&plc->ports, entry);
		plc_slots_free(port->slots);
		free(port);
	}
	while ((account = SLIST_FIRST(&plc->accounts)) != NULL) {
		SLIST_REMOVE_HEAD(&plc->accounts, entry);
		free(account->identity);
		free(account);
	}
	turns_deinit(&plc->turns);
	password_tries_deinit(&plc->tries);
	free(plc->name);
	free(plc);
}

void plant_free(struct plant *plant)
{
	struct plant_plc *plc;

	if (plant == NULL)
		return;
	while ((plc = SLIST_FIRST(&plant->plcs)) != NULL) {
		SLIST_REMOVE_HEAD(&plant->plcs, entry);
		free_plc(plc);
	}
	pthread_mutex_destroy(&plant->lock);
	free(plant);
}

static struct plant_plc *find_plc(const struct plant *plant, const char *name)
{
	struct plant_plc *plc;

	for (plc = SLIST_FIRST(&plant->plcs); plc != NULL; plc = SLIST_NEXT(plc, entry)) {
		if (strcmp(plc->name, name) == 0)
			return plc;
	}
	return NULL;
}

static struct plc_slots *find_slots(const struct plant_plc *plc, uint16_t port)
{
	const struct plant_port *at;

	for (at = SLIST_FIRST(&plc->ports); at != NULL; at = SLIST_NEXT(at, entry)) {
		if (at->number == port)
			return at->slots;
	}
	return NULL;
}

static struct plant_plc *add_plc(struct plant *plant, const char *name)
{
	struct plant_plc *plc = calloc(1, sizeof(*plc));

	if (plc == NULL)
		return NULL;
	plc->name = strdup(name);
	if (plc->name == NULL) {
		free(plc);
		return NULL;
	}
	SLIST_INIT(&plc->ports);
	SLIST_INIT(&plc->accounts);
	turns_init(&plc->turns);
	password_tries_init(&plc->tries);
	SLIST_INSERT_HEAD(&plant->plcs, plc, entry);
	return plc;
}

static int add_port(struct plant_plc *plc, uint16_t number, unsigned int connections)
{
	struct plc_slots *slots;
	struct plant_port *port;
	int error = plc_slots_new(connections, &slots);

	if (error < 0)
		return error;
	port = calloc(1, sizeof(*port));
	if (port == NULL) {
		plc_slots_free(slots);
		return -ENOMEM;
	}
	port->number = number;
	port->slots = slots;
	SLIST_INSERT_HEAD(&plc->ports, port, entry);
	return 0;
}

static int configure_port(struct plant_plc *plc, const struct config_port *port)
{
	struct plc_slots *slots = find_slots(plc, port->number);

	return slots != NULL ? plc_slots_resize(slots, port->connections)
			     : add_port(plc, port->number, port->connections);
}

static int configure_plc(struct plant *plant, const struct config_plc *configured)
{
	struct plant_plc *plc = find_plc(plant, configured->name);
	int error = 0;

	if (plc == NULL)
		plc = add_plc(plant, configured->name);
	if (plc == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < configured->port_count && error == 0; i++)
		error = configure_port(plc, &configured->ports[i]);
	turns_set_limit(&plc->turns, configured->requests_at_once);
	password_tries_set(&plc->tries, configured->password_tries, configured->password_time);
	return error;
}

int plant_configure(struct plant *plant, const struct config *config)
{
	int error = 0;

	pthread_mutex_lock(&plant->lock);
	for (size_t i = 0; i < config->plc_count && error == 0; i++)
		error = configure_plc(plant, &config->plcs[i]);
	pthread_mutex_unlock(&plant->lock);
	return error;
}

struct plant_plc *plant_find(struct plant *plant, const struct config_plc *configured)
{
	struct plant_plc *plc;

	pthread_mutex_lock(&plant->lock);
	plc = find_plc(plant, configured->name);
	pthread_mutex_unlock(&plant->lock);
	return plc;
}

struct plc_slots *plant_slots(struct plant *plant, struct plant_plc *plc, uint16_t port)
{
	struct plc_slots *slots;

	pthread_mutex_lock(&plant->lock);
	slots = find_slots(plc, port);
	pthread_mutex_unlock(&plant->lock);
	return slots;
}

static struct account *find_account(const struct plant_plc *plc, const char *identity)
{
	struct account *account;

	for (account = SLIST_FIRST(&plc->accounts); account != NULL;
	     account = SLIST_NEXT(account, entry)) {
		if (strcmp(account->identity, identity) == 0)
			return account;
	}
	return NULL;
}

static struct account *add_account(struct plant_plc *plc, const char *identity)
{
	struct account *account = calloc(1, sizeof(*account));

	if (account == NULL)
		return NULL;
	account->identity = strdup(identity);
	if (account->identity == NULL) {
		free(account);
		return NULL;
	}
	TAILQ_INIT(&account->waiters);
	SLIST_INSERT_HEAD(&plc->accounts, account, entry);
	return account;
}

struct account *plant_account(struct plant *plant, struct plant_plc *plc, const char *identity)
{
	struct account *account;

	pthread_mutex_lock(&plant->lock);
	account = find_account(plc, identity);
	if (account == NULL)
		account = add_account(plc, identity);
	pthread_mutex_unlock(&plant->lock);
	return account;
}
