/* SPDX-License-Identifier: Apache-2.0 */
#include "confine/privileges.h"

#include "base/error.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define FIRST_FREE_PORT 1024 /* ip(7) ip_unprivileged_port_start may be another: see below */

int privileges_no_new(struct confine_finding *finding)
{
	int error = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;

	snprintf(finding->what, sizeof(finding->what), "%s",
		 error < 0 ? strerrordesc_np(-error) : "for good");
	return error;
}

static bool any_low(const struct address *listen, size_t count)
{
	bool low = false;

	for (size_t i = 0; i < count; i++)
		low = low || address_port(&listen[i]) < FIRST_FREE_PORT;
	return low;
}

static bool has_low_port(const struct config *config)
{
	bool low = false;

	for (size_t i = 0; i < config->edge_count; i++)
		low = low || any_low(config->edges[i].listen, config->edges[i].listen_count);
	for (size_t i = 0; i < config->gateway_count; i++)
		low = low || any_low(config->gateways[i].listen, config->gateways[i].listen_count);
	return low;
}

/* Of those that stay, what this thread has. */
static uint32_t keep(const struct config *config, uint32_t permitted)
{
	uint32_t kept = 1U << CAP_NET_RAW;
	struct rlimit limit;

	if (has_low_port(config))
		kept |= 1U << CAP_NET_BIND_SERVICE;
	/* Rings are counted as locked memory, for all processes of a user together. */
	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur != RLIM_INFINITY)
		kept |= 1U << CAP_IPC_LOCK;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	kept |= 1U << CAP_SYS_PTRACE; /* leaks are looked for by a tracer */
#endif
	return kept & permitted;
}

/*
 * What an executed program could get at most. Only who has CAP_SETPCAP may lower it; nobody else
 * needs to, as nothing is gained by executing a program any more.
 */
static void lower_bounds(uint32_t kept)
{
	for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		if (i >= 32 || !(kept & 1U << i))
			(void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

int privileges_drop(const struct config *config, struct confine_finding *finding)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {0};
	uint32_t kept;
	int error = 0;

	if (syscall(__NR_capget, &header, sets) < 0)
		error = -errno;
	kept = keep(config, sets[0].permitted);
	if (error == 0) {
		lower_bounds(kept);
		memset(sets, 0, sizeof(sets));
		sets[0].permitted = sets[0].effective = kept;
		error = syscall(__NR_capset, &header, sets) < 0 ? -errno : 0;
	}
	if (error < 0)
		snprintf(finding->what, sizeof(finding->what), "capset: %s",
			 strerrordesc_np(-error));
	else
		snprintf(finding->what, sizeof(finding->what), "%s%s%s%s",
			 kept == 0 ? "none" : "none but",
			 kept & 1U << CAP_NET_RAW ? " CAP_NET_RAW" : "",
			 kept & 1U << CAP_NET_BIND_SERVICE ? " CAP_NET_BIND_SERVICE" : "",
			 kept & 1U << CAP_IPC_LOCK ? " CAP_IPC_LOCK" : "");
	return error;
}
