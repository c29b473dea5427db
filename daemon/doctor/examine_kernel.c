/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

#include "base/error.h"
#include "proxy/capabilities.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define LOAD_TLS "modprobe tls && echo tls > /etc/modules-load.d/mcseal.conf"

/* Is there a file for the module "tls" of the running kernel? */
static bool is_loadable(void)
{
	struct utsname name;
	char path[256], line[1024];
	bool found = false;
	FILE *list;

	if (uname(&name) < 0)
		return false;
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", name.release);
	list = fopen(path, "re");
	while (list != NULL && !found && fgets(line, sizeof(line), list) != NULL)
		found = strncmp(line, "kernel/net/tls/tls.ko", strlen("kernel/net/tls/tls.ko")) ==
			0;
	if (list != NULL)
		fclose(list);
	return found;
}

static bool wants_ktls(const struct config *config, bool *demands)
{
	bool wants = false;
	enum config_ktls ktls;

	*demands = false;
	for (size_t i = 0; i < config->edge_count + config->gateway_count; i++) {
		ktls = i < config->edge_count
			       ? config_ktls(config, &config->edges[i], NULL)
			       : config_ktls(config, NULL,
					     &config->gateways[i - config->edge_count]);
		wants = wants || ktls != CONFIG_KTLS_OFF;
		*demands = *demands || ktls == CONFIG_KTLS_REQUIRED;
	}
	return wants;
}

static void tell_ktls(struct examination *examination, const struct capability_finding *ktls,
		      bool was_loaded)
{
	bool demands;

	if (!wants_ktls(examination->config, &demands)) {
		examination_say(examination, FINDING_NOTE, "kernel TLS", NULL,
				"not used: ktls = off");
	} else if (!ktls->there) {
		examination_say(
			examination, demands ? FINDING_FAILED : FINDING_WARNING, "kernel TLS",
			is_loadable() ? LOAD_TLS
			: demands     ? "ktls = auto, or a kernel that has the module tls"
				      : "a kernel that has the module tls; or ktls = off, which "
					"silences this",
			"%s%s", ktls->why,
			demands ? "; and ktls = required: mcseald will not start"
				: ": records are made in user space, which works and costs more");
	} else if (!was_loaded) {
		examination_say(examination, FINDING_WARNING, "kernel TLS", LOAD_TLS,
				"works, but the module tls was not loaded until now, and mcseald "
				"has no right to load it");
	} else {
		examination_say(examination, FINDING_OK, "kernel TLS", NULL, "works");
	}
}

static void tell_uring(struct examination *examination, const struct capability_finding *uring)
{
	enum config_engine engine = examination->config->engine;
	bool demanded = engine != CONFIG_ENGINE_AUTO && engine != CONFIG_ENGINE_EPOLL;

	if (engine == CONFIG_ENGINE_EPOLL)
		examination_say(examination, FINDING_NOTE, "io_uring", NULL,
				"not used: engine = epoll");
	else if (uring->there)
		examination_say(examination, FINDING_OK, "io_uring", NULL, "works");
	else
		examination_say(examination, demanded ? FINDING_FAILED : FINDING_WARNING,
				"io_uring",
				demanded ? "engine = auto, or let this machine have io_uring: "
					   "sysctl kernel.io_uring_disabled=0"
					 : "sysctl kernel.io_uring_disabled=0, if somebody "
					   "switched it off; engine = epoll silences this",
				"%s%s", uring->why,
				demanded ? "; and `engine` demands it: mcseald will not start"
					 : ": mcseald uses epoll, which works and costs more");
}

static void tell_splice(struct examination *examination,
			const struct capability_finding findings[CAPABILITIES])
{
	const struct capability_finding *safe = &findings[CAPABILITY_SAFE_SPLICE];

	if (!findings[CAPABILITY_KTLS].there)
		return;
	if (safe->there && findings[CAPABILITY_PIPES].there)
		examination_say(examination, FINDING_OK, "splice", NULL,
				"from kernel TLS loses nothing");
	else
		examination_say(examination, FINDING_NOTE, "splice",
				safe->there ? "sysctl fs.pipe-user-pages-soft=65536"
					    : "a newer kernel of the same series: apt-get update "
					      "&& apt-get upgrade",
				"%s: answers are copied instead",
				safe->there ? findings[CAPABILITY_PIPES].why : safe->why);
}

void examine_kernel(struct examination *examination)
{
	struct capabilities capabilities = {0};
	/* Before the trial: as root it loads the module, which the daemon may not. */
	bool was_loaded = access("/sys/module/tls", F_OK) == 0;

	capabilities_probe(&capabilities, examination->config);
	tell_uring(examination, &capabilities.findings[CAPABILITY_URING]);
	tell_ktls(examination, &capabilities.findings[CAPABILITY_KTLS], was_loaded);
	tell_splice(examination, capabilities.findings);
}
