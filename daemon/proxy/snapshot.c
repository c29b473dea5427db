/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/snapshot.h"

#include "base/file_access.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Both errors end the start; -EINVAL says that the report already told why. */
static int worse(int error, int other)
{
	return other == -ENOMEM || error == 0 ? other : error;
}

static int load_gateways(struct snapshot *snapshot, FILE *report)
{
	const struct config *config = snapshot->config;
	char where[160];
	int error = 0;

	snapshot->gateways = calloc(config->gateway_count + 1, sizeof(*snapshot->gateways));
	if (snapshot->gateways == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < config->gateway_count; i++) {
		const struct config_gateway *gateway = &config->gateways[i];

		snprintf(where, sizeof(where), "gateway \"%s\"", gateway->name);
		error = worse(error,
			      tls_context_new(config, &gateway->credentials, TLS_ROLE_GATEWAY,
					      where, report, &snapshot->gateways[i]));
	}
	return error;
}

/* The contexts of all edges' sources lie in one array, in the order of the file. */
static size_t first_source(const struct config *config, const struct config_edge *edge)
{
	size_t first = 0;

	for (const struct config_edge *before = config->edges; before < edge; before++)
		first += before->source_count;
	return first;
}

/* A source has all of its own, or none. */
static const struct config_credentials *source_credentials(const struct config_edge *edge,
							   const struct config_source *source)
{
	return source->credentials.certificate != NULL ? &source->credentials : &edge->credentials;
}

static int load_edge(struct snapshot *snapshot, const struct config_edge *edge, FILE *report)
{
	struct tls_context **contexts = snapshot->sources + first_source(snapshot->config, edge);
	char where[160];
	int error = 0;

	for (size_t i = 0; i < edge->source_count; i++) {
		const struct config_source *source = &edge->sources[i];

		snprintf(where, sizeof(where), "edge \"%s\" source \"%s\"", edge->name,
			 source->name);
		error = worse(error,
			      tls_context_new(snapshot->config, source_credentials(edge, source),
					      TLS_ROLE_EDGE, where, report, &contexts[i]));
	}
	return error;
}

static int load_edges(struct snapshot *snapshot, FILE *report)
{
	const struct config *config = snapshot->config;
	int error = 0;

	snapshot->source_count = first_source(config, config->edges + config->edge_count);
	snapshot->sources = calloc(snapshot->source_count + 1, sizeof(*snapshot->sources));
	if (snapshot->sources == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < config->edge_count; i++)
		error = worse(error, load_edge(snapshot, &config->edges[i], report));
	return error;
}

const struct tls_context *snapshot_source_context(const struct snapshot *snapshot,
						  const struct config_edge *edge,
						  const struct config_source *source)
{
	return snapshot
		->sources[first_source(snapshot->config, edge) + (size_t)(source - edge->sources)];
}

const struct tls_context *snapshot_find_context(const struct snapshot *snapshot, const char *name)
{
	for (size_t i = 0; i < snapshot->config->gateway_count; i++)
		if (strcmp(snapshot->gateways[i]->name, name) == 0)
			return snapshot->gateways[i];
	for (size_t i = 0; i < snapshot->source_count; i++)
		if (strcmp(snapshot->sources[i]->name, name) == 0)
			return snapshot->sources[i];
	return NULL;
}

int snapshot_list_papers(const struct snapshot *snapshot, struct paper_list *list)
{
	const struct config *config = snapshot->config;
	int error = 0;

	for (size_t i = 0; i < config->gateway_count && error == 0; i++)
		error = paper_list_add(list, snapshot->gateways[i],
				       &config->gateways[i].credentials);
	for (size_t i = 0; i < config->edge_count; i++) {
		const struct config_edge *edge = &config->edges[i];

		for (size_t j = 0; j < edge->source_count && error == 0; j++)
			error = paper_list_add(
				list, snapshot_source_context(snapshot, edge, &edge->sources[j]),
				source_credentials(edge, &edge->sources[j]));
	}
	return error;
}

static void set_socket_options(struct snapshot *snapshot)
{
	const struct config_timeouts *timeouts = &snapshot->config->timeouts;

	snapshot->socket_options = (struct socket_options){
		.keepalive_idle = timeouts->keepalive_idle,
		.keepalive_interval = timeouts->keepalive_interval,
		.keepalive_count = timeouts->keepalive_count,
		.user_timeout = timeouts->user_timeout,
		.mark = snapshot->config->mark,
	};
}

static int load_password(const struct config_plc *plc, FILE *report, struct plc_password **out)
{
	int error;

	if (plc->remote_password_file == NULL)
		return 0;
	error = plc_password_load(plc->remote_password_file, out);
	if (error == 0 || error == -ENOMEM)
		return error;
	fprintf(report, "%s: error: plc \"%s\": %s\n", plc->remote_password_file, plc->name,
		error == -EINVAL ? "is no line of 1 to 32 printable characters, expected the PLC's "
				   "remote password"
				 : file_denial(plc->remote_password_file, false, error));
	return -EINVAL;
}

static int load_passwords(struct snapshot *snapshot, FILE *report)
{
	const struct config *config = snapshot->config;
	int error = 0;

	snapshot->passwords = calloc(config->plc_count + 1, sizeof(*snapshot->passwords));
	if (snapshot->passwords == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < config->plc_count; i++)
		error = worse(error,
			      load_password(&config->plcs[i], report, &snapshot->passwords[i]));
	return error;
}

int snapshot_new(struct config *config, struct plant *plant, FILE *report, struct snapshot **out)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
	int error;

	if (snapshot == NULL) {
		config_free(config);
		return -ENOMEM;
	}
	atomic_init(&snapshot->references, 1);
	snapshot->config = config;
	set_socket_options(snapshot);
	snapshot->plant = plant;
	error = worse(load_gateways(snapshot, report), load_edges(snapshot, report));
	error = worse(error, load_passwords(snapshot, report));
	if (error < 0) {
		snapshot_release(snapshot);
		return error;
	}
	*out = snapshot;
	return 0;
}

int snapshot_load(const char *path, struct plant *plant, FILE *report, struct snapshot **snapshot)
{
	struct snapshot *loaded;
	struct config *config;
	int error = config_judge(path, report, &config), certificates;

	if (config == NULL)
		return error < 0 ? error : -EINVAL;
	certificates = snapshot_new(config, plant, report, &loaded);
	if (error < 0 && certificates == 0)
		snapshot_release(loaded);
	else if (certificates == 0)
		*snapshot = loaded;
	return error < 0 ? error : certificates;
}

int snapshot_renew(const struct snapshot *now, FILE *report, struct snapshot **snapshot)
{
	struct config *config;
	int error = config_load_text(now->config->text, now->config->path, report, &config);

	return error < 0 ? error : snapshot_new(config, now->plant, report, snapshot);
}

struct snapshot *snapshot_reference(struct snapshot *snapshot)
{
	atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
	return snapshot;
}

static void free_contexts(struct snapshot *snapshot)
{
	const struct config *config = snapshot->config;

	for (size_t i = 0; snapshot->gateways != NULL && i < config->gateway_count; i++)
		tls_context_free(snapshot->gateways[i]);
	for (size_t i = 0; snapshot->sources != NULL && i < snapshot->source_count; i++)
		tls_context_free(snapshot->sources[i]);
	free(snapshot->gateways);
	free(snapshot->sources);
}

void snapshot_release(struct snapshot *snapshot)
{
	if (atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) != 1)
		return;
	free_contexts(snapshot);
	for (size_t i = 0; snapshot->passwords != NULL && i < snapshot->config->plc_count; i++)
		plc_password_free(snapshot->passwords[i]);
	free(snapshot->passwords);
	config_free(snapshot->config);
	free(snapshot);
}
