/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/tls_end.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void add_edge(const struct config_edge *edge, struct tls_end *ends, size_t *count)
{
	bool shared = edge->source_count == 0;
	struct tls_end *end;

	for (size_t i = 0; i < edge->source_count; i++) {
		const struct config_source *source = &edge->sources[i];

		if (source->credentials.certificate == NULL) {
			shared = true;
			continue;
		}
		end = &ends[(*count)++];
		*end = (struct tls_end){&source->credentials, TLS_ROLE_EDGE, NULL, edge, ""};
		snprintf(end->where, sizeof(end->where), "edge \"%s\" source \"%s\"", edge->name,
			 source->name);
	}
	if (!shared)
		return;
	end = &ends[(*count)++];
	*end = (struct tls_end){&edge->credentials, TLS_ROLE_EDGE, NULL, edge, ""};
	snprintf(end->where, sizeof(end->where), "edge \"%s\"", edge->name);
}

int tls_ends_of(const struct config *config, struct tls_end **ends, size_t *count)
{
	size_t most = config->gateway_count;

	for (size_t i = 0; i < config->edge_count; i++)
		most += config->edges[i].source_count + 1;
	*count = 0;
	*ends = calloc(most + 1, sizeof(**ends));
	if (*ends == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < config->gateway_count; i++) {
		const struct config_gateway *gateway = &config->gateways[i];
		struct tls_end *end = &(*ends)[(*count)++];

		*end = (struct tls_end){&gateway->credentials, TLS_ROLE_GATEWAY, gateway, NULL, ""};
		snprintf(end->where, sizeof(end->where), "gateway \"%s\"", gateway->name);
	}
	for (size_t i = 0; i < config->edge_count; i++)
		add_edge(&config->edges[i], *ends, count);
	return 0;
}
