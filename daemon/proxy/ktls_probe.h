/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernel TLS does here: keys are made up, installed on connections of this process with
 * itself, and data is sent through them.
 */
#ifndef MCSEAL_PROXY_KTLS_PROBE_H
#define MCSEAL_PROXY_KTLS_PROBE_H

#include "proxy/capabilities.h"

/*
 * Fills the findings from CAPABILITY_KTLS to CAPABILITY_SAFE_SPLICE; what cannot be tried because
 * something before it is not there has the cause of that. Some milliseconds, and longer when the
 * kernel has to load modules; no wait is longer than LOOPBACK_WAIT. The caller ignores SIGPIPE.
 */
void ktls_probe(struct capability_finding findings[CAPABILITIES]);

#endif
