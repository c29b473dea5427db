/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/relay_engine.h"

static const char *const names[RELAY_ENGINES] = {
	[RELAY_ENGINE_COPY] = "copy",
	[RELAY_ENGINE_SPLICE] = "splice",
	[RELAY_ENGINE_URING_SPLICE] = "uring-splice",
};

const char *relay_engine_name(enum relay_engine engine)
{
	return names[engine];
}
