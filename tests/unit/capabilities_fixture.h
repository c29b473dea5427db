/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the capabilities share: a configuration of one gateway and one edge. */
#ifndef MCSEAL_TESTS_CAPABILITIES_FIXTURE_H
#define MCSEAL_TESTS_CAPABILITIES_FIXTURE_H

#include "config/config.h"

#include <string.h>

struct site {
	struct config config;
	struct config_gateway gateway;
	struct config_edge edge;
};

static inline void make_site(struct site *site)
{
	static char plant[] = "plant", office[] = "office";

	memset(site, 0, sizeof(*site));
	site->gateway.name = plant;
	site->edge.name = office;
	site->config = (struct config){
		.engine = CONFIG_ENGINE_AUTO,
		.ktls = CONFIG_KTLS_AUTO,
		.gateways = &site->gateway,
		.gateway_count = 1,
		.edges = &site->edge,
		.edge_count = 1,
	};
}

#endif
