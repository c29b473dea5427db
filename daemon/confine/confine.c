/* SPDX-License-Identifier: Apache-2.0 */
#include "confine/confine.h"

#include "confine/privileges.h"
#include "confine/ruleset.h"
#include "confine/syscall_filter.h"

#include <errno.h>
#include <stdio.h>

const char *confine_layer_name(enum confine_layer layer)
{
	static const char *const names[CONFINE_LAYERS] = {
		[CONFINE_PRIVILEGES] = "no-new-privileges",
		[CONFINE_CAPABILITIES] = "capabilities",
		[CONFINE_RING] = "io-uring",
		[CONFINE_FILES] = "files",
		[CONFINE_CALLS] = "system-calls",
	};

	return names[layer];
}

/* `error` is what came of a layer. */
static int judge(struct confinement *confinement, enum confine_layer layer, int error)
{
	struct confine_finding *finding = &confinement->layers[layer];
	struct log_entry entry;

	finding->in_force = error == 0;
	if (error == 0)
		return 0;
	log_begin(
		&entry,
		confinement->mode == CONFIG_CONFINE_REQUIRED ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
		confinement->mode == CONFIG_CONFINE_REQUIRED ? "confine-refused" : "not-confined");
	log_field(&entry, "layer", "%s", confine_layer_name(layer));
	log_field(&entry, "why", "%s", finding->what);
	log_end(&entry);
	return confinement->mode == CONFIG_CONFINE_REQUIRED ? -EOPNOTSUPP : 0;
}

int confine_privileges(struct confinement *confinement, const struct config *config)
{
	struct confine_finding *layers = confinement->layers;
	int error;

	confinement->mode = config->confine;
	for (int i = 0; i < CONFINE_LAYERS; i++)
		snprintf(layers[i].what, sizeof(layers[i].what), "confine = no");
	if (config->confine == CONFIG_CONFINE_NO)
		return 0;
	error = judge(confinement, CONFINE_PRIVILEGES,
		      privileges_no_new(&layers[CONFINE_PRIVILEGES]));
	if (error == 0)
		error = judge(confinement, CONFINE_CAPABILITIES,
			      privileges_drop(config, &layers[CONFINE_CAPABILITIES]));
	return error;
}

int confine_files(struct confinement *confinement, const struct config *config, bool has_ring)
{
	struct confine_finding *layers = confinement->layers;

	if (confinement->mode == CONFIG_CONFINE_NO)
		return 0;
	/* Without a ring there is nothing to restrict; the filter lets nobody make one. */
	layers[CONFINE_RING].in_force = true;
	snprintf(layers[CONFINE_RING].what, sizeof(layers[CONFINE_RING].what),
		 has_ring ? "the operations of the loop alone" : "no io_uring at all");
	return judge(confinement, CONFINE_FILES, ruleset_enter(config, &layers[CONFINE_FILES]));
}

static void log_all(const struct confinement *confinement)
{
	struct log_entry entry;

	log_begin(&entry, LOG_LEVEL_INFO, "confinement");
	for (int i = 0; i < CONFINE_LAYERS; i++)
		log_field(&entry, confine_layer_name((enum confine_layer)i), "%s: %s",
			  confinement->layers[i].in_force ? "yes" : "no",
			  confinement->layers[i].what);
	log_end(&entry);
}

int confine_calls(struct confinement *confinement)
{
	struct confine_finding *finding = &confinement->layers[CONFINE_CALLS];
	int error;

	if (confinement->mode == CONFIG_CONFINE_NO) {
		log_simple(LOG_LEVEL_WARNING, "not-confined", "why", "confine = no");
		return 0;
	}
	error = judge(confinement, CONFINE_CALLS, syscall_filter_install(finding));
	if (error == 0)
		log_all(confinement);
	return error;
}
