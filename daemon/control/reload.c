/* SPDX-License-Identifier: Apache-2.0 */
#include "control/reload.h"

#include "config/config_compare.h"

#include <errno.h>
#include <string.h>

static int refuse(int error, const char *why, FILE *report)
{
	if (error != -EINVAL) /* of which the report has every fault */
		fprintf(report, "%s\n", why);
	log_simple(LOG_LEVEL_ERROR, "reload-failed", "why", "%s; all is as before", why);
	return error;
}

/* What is another now, and needs a new start, is told and left as it is. */
static void warn_of_options(const struct config *now, const struct config *then)
{
	const char *option = config_compare_start(now, then);

	if (option != NULL)
		log_simple(LOG_LEVEL_WARNING, "reload-incomplete", "option",
			   "%s is another only after a new start", option);
}

static const struct tls_context *find_context(const void *from, const char *name)
{
	return snapshot_find_context(from, name);
}

static void put_in_place(struct reload *reload, struct snapshot *next)
{
	/* Whether it may be set does not change while we run. */
	if (reload->snapshot->socket_options.mark == 0)
		next->socket_options.mark = 0;
	/* Here, so that no worker has to check signatures. */
	peer_chain_store_review(reload->chains, find_context, next);
	for (unsigned int i = 0; i < reload->worker_count; i++)
		worker_reload(reload->workers[i], next);
	snapshot_release(reload->snapshot);
	reload->snapshot = next;
}

int reload(struct reload *reload, FILE *report)
{
	const struct config *now = reload->snapshot->config;
	struct snapshot *next;
	char difference[256];
	int error = snapshot_load(reload->path, reload->snapshot->plant, report, &next);

	if (error < 0)
		return refuse(error,
			      error == -EINVAL ? "the configuration has faults"
					       : strerrordesc_np(-error),
			      report);
	if (!config_compare_listeners(now, next->config, difference, sizeof(difference))) {
		snapshot_release(next);
		return refuse(-EOPNOTSUPP, difference, report);
	}
	error = plant_configure(next->plant, next->config);
	if (error == 0)
		error = audit_file_configure(reload->audit, next->config->audit.file);
	if (error < 0) {
		snapshot_release(next);
		return refuse(error, strerrordesc_np(-error), report);
	}
	warn_of_options(now, next->config);
	if (next->config->log_level != now->log_level) /* else what was set by hand stays */
		log_set_level(next->config->log_level);
	put_in_place(reload, next);
	log_simple(LOG_LEVEL_INFO, "reloaded", "file", "%s", reload->path);
	renewal_settle(reload->renewal);
	expiry_look(reload->expiry);
	return 0;
}

int reload_files(struct reload *reload, const char *changed, FILE *report)
{
	struct snapshot *next;
	int error = snapshot_renew(reload->snapshot, report, &next);

	if (error < 0) {
		struct log_entry entry;

		log_begin(&entry, LOG_LEVEL_ERROR, "files-not-renewed");
		log_field(&entry, "changed", "%s", changed);
		log_field(&entry, "why", "%s; all is as before",
			  error == -EINVAL ? "the files have faults" : strerrordesc_np(-error));
		log_end(&entry);
		return error;
	}
	put_in_place(reload, next);
	log_simple(LOG_LEVEL_INFO, "files-renewed", "changed", "%s", changed);
	expiry_look(reload->expiry);
	return 0;
}
