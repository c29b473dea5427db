/* SPDX-License-Identifier: Apache-2.0 */
#include "control/plant_view.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

static void count_plc(const struct plant_plc *plc, struct plant_view *view)
{
	const struct plant_port *port;
	const struct account *account;

	view->plc_count++;
	for (port = SLIST_FIRST(&plc->ports); port != NULL; port = SLIST_NEXT(port, entry))
		view->port_count++;
	for (account = SLIST_FIRST(&plc->accounts); account != NULL;
	     account = SLIST_NEXT(account, entry))
		view->account_count++;
}

static void count(const struct plant *plant, struct plant_view *view)
{
	const struct plant_plc *plc;

	for (plc = SLIST_FIRST(&plant->plcs); plc != NULL; plc = SLIST_NEXT(plc, entry))
		count_plc(plc, view);
}

/* There is room for all that count() has found. */
static void put_plc(struct plant_plc *plc, struct plant_view *view)
{
	struct plant_port *port;
	struct account *account;

	view->plcs[view->plc_count++] = plc;
	for (port = SLIST_FIRST(&plc->ports); port != NULL; port = SLIST_NEXT(port, entry))
		view->ports[view->port_count++] = (struct plant_view_port){plc, port};
	for (account = SLIST_FIRST(&plc->accounts); account != NULL;
	     account = SLIST_NEXT(account, entry))
		view->accounts[view->account_count++] = (struct plant_view_account){plc, account};
}

static void fill(const struct plant *plant, struct plant_view *view)
{
	struct plant_plc *plc;

	view->plc_count = view->port_count = view->account_count = 0;
	for (plc = SLIST_FIRST(&plant->plcs); plc != NULL; plc = SLIST_NEXT(plc, entry))
		put_plc(plc, view);
}

static int by_name(const void *a, const void *b)
{
	struct plant_plc *const *first = a, *const *second = b;

	return strcmp((*first)->name, (*second)->name);
}

static int by_port(const void *a, const void *b)
{
	const struct plant_view_port *first = a, *second = b;
	int order = strcmp(first->plc->name, second->plc->name);

	return order != 0 ? order : first->port->number - second->port->number;
}

static int by_identity(const void *a, const void *b)
{
	const struct plant_view_account *first = a, *second = b;
	int order = strcmp(first->plc->name, second->plc->name);

	return order != 0 ? order : strcmp(first->account->identity, second->account->identity);
}

static bool allocate(struct plant_view *view)
{
	/* One more: an empty one is no failure. */
	view->plcs = calloc(view->plc_count + 1, sizeof(struct plant_plc *));
	view->ports = calloc(view->port_count + 1, sizeof(*view->ports));
	view->accounts = calloc(view->account_count + 1, sizeof(*view->accounts));
	return view->plcs != NULL && view->ports != NULL && view->accounts != NULL;
}

int plant_view_take(struct plant *plant, struct plant_view *view)
{
	bool there;

	*view = (struct plant_view){0};
	pthread_mutex_lock(&plant->lock);
	count(plant, view);
	there = allocate(view);
	if (there)
		fill(plant, view);
	pthread_mutex_unlock(&plant->lock);
	if (!there) {
		plant_view_drop(view);
		return -ENOMEM;
	}
	qsort(view->plcs, view->plc_count, sizeof(struct plant_plc *), by_name);
	qsort(view->ports, view->port_count, sizeof(*view->ports), by_port);
	qsort(view->accounts, view->account_count, sizeof(*view->accounts), by_identity);
	return 0;
}

void plant_view_drop(struct plant_view *view)
{
	free(view->plcs);
	free(view->ports);
	free(view->accounts);
	*view = (struct plant_view){0};
}
