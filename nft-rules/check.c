/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "check.h"

#include "print.h"

#include "base/error.h"

#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct check {
	const struct config *config;
	FILE *report;
	int found;
};

static void __attribute__((format(printf, 2, 3))) warn(struct check *check, const char *format, ...)
{
	va_list arguments;

	fputs("warning: ", check->report);
	va_start(arguments, format);
	vfprintf(check->report, format, arguments);
	va_end(arguments);
	putc('\n', check->report);
	check->found++;
}

/* The number in a file of /proc/sys; -1: there is none. */
static long read_sysctl(const char *path)
{
	FILE *file = fopen(path, "re");
	char text[32] = "", *end;
	long value;

	if (file == NULL)
		return -1;
	if (fgets(text, sizeof(text), file) == NULL)
		text[0] = '\0';
	fclose(file);
	value = strtol(text, &end, 10);
	return end == text ? -1 : value;
}

/* --- edges ------------------------------------------------------------------------------ */

static bool is_loopback(const struct address *address)
{
	if (address->any.sa_family == AF_INET)
		return (ntohl(address->v4.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

/* A routed connection is redirected to the address of the interface it came in by. */
static void check_reach(struct check *check, const struct config_edge *edge, size_t routed)
{
	char text[ADDRESS_TEXT_SIZE];

	if (edge->interception == CONFIG_INTERCEPTION_TPROXY || routed == 0)
		return;
	for (size_t i = 0; i < edge->listen_count; i++) {
		if (is_loopback(&edge->listen[i]))
			warn(check,
			     "edge \"%s\" listens on %s, but connections from its interfaces are "
			     "redirected to the addresses that this machine has there: listen on "
			     "%s",
			     edge->name, address_print(&edge->listen[i], text),
			     edge->listen[i].any.sa_family == AF_INET ? "0.0.0.0" : "[::]");
	}
}

static void check_edge(struct check *check, const struct config_edge *edge)
{
	size_t routed = 0;

	for (size_t i = 0; i < edge->interfaces.count; i++) {
		const char *name = edge->interfaces.items[i];

		if (strcmp(name, CONFIG_LOCAL) == 0)
			continue;
		routed++;
		if (if_nametoindex(name) == 0)
			warn(check,
			     "edge \"%s\": there is no interface \"%s\" now: its clients are "
			     "redirected once there is",
			     edge->name, name);
	}
	check_reach(check, edge, routed);
	/* The reverse path is then looked up with the mark, and ends at this machine. */
	if (edge->interception == CONFIG_INTERCEPTION_TPROXY &&
	    read_sysctl("/proc/sys/net/ipv4/conf/all/src_valid_mark") == 1 &&
	    read_sysctl("/proc/sys/net/ipv4/conf/all/rp_filter") == 1)
		warn(check,
		     "edge \"%s\": net.ipv4.conf.all.src_valid_mark and rp_filter are both 1: "
		     "what TPROXY marks is dropped; set rp_filter to 2",
		     edge->name);
}

/* --- other firewalls -------------------------------------------------------------------- */

/* A drop is final, wherever it stands: an accept of ours does not help. */
static int take_chain(const struct nlmsghdr *message, void *data)
{
	struct check *check = data;
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (chain == NULL || nftnl_chain_nlmsg_parse(message, chain) < 0) {
		if (chain != NULL)
			nftnl_chain_free(chain);
		return MNL_CB_ERROR;
	}
	if (nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM) &&
	    nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM) == NF_INET_LOCAL_IN &&
	    nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_DROP)
		warn(check,
		     "chain %s of table %s drops what it does not know: it must let mcseald's "
		     "connections in, see mcseal-nft print --admission",
		     nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME),
		     nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE));
	nftnl_chain_free(chain);
	return MNL_CB_OK;
}

static int check_others(struct check *check, struct netlink *netlink)
{
	char buffer[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *message =
		nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NLM_F_DUMP, 0);

	return netlink_ask(netlink, message, take_chain, check);
}

/* --- the rest --------------------------------------------------------------------------- */

static char *read_text(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	if (file == NULL)
		return NULL;
	if (getdelim(&text, &size, '\0', file) < 0) {
		free(text);
		text = NULL;
	}
	fclose(file);
	return text;
}

/* What comes back at boot must protect what is protected now. */
static void check_guard_file(struct check *check, const struct plan *plan)
{
	const char *path = check->config->nft.guard_file;
	char *kept, *wanted = NULL;
	size_t size;
	FILE *file;

	if (path == NULL) {
		warn(check, "nft.guard_file is not set: nobody looks whether the guard comes back "
			    "at boot");
		return;
	}
	kept = read_text(path);
	file = open_memstream(&wanted, &size);
	if (file != NULL) {
		print_plan(plan, check->config, true, file);
		fclose(file);
	}
	if (kept == NULL)
		warn(check,
		     "%s: %s: the guard does not come back at boot; make it with mcseal-nft "
		     "print --guard",
		     path, strerrordesc_np(errno));
	else if (wanted != NULL && strcmp(kept, wanted) != 0)
		warn(check,
		     "%s is not the guard of this configuration: make it anew with "
		     "mcseal-nft print --guard",
		     path);
	free(kept);
	free(wanted);
}

/* A redirected session is one entry, its TLS leg another if anything tracks it. */
static void check_conntrack(struct check *check)
{
	long maximum = read_sysctl("/proc/sys/net/netfilter/nf_conntrack_max");
	unsigned int sessions = check->config->limits.sessions;

	if (maximum >= 0 && (unsigned long)maximum < 2UL * sessions)
		warn(check,
		     "net.netfilter.nf_conntrack_max is %ld, limits.sessions %u: each session "
		     "takes up to two entries, and a full table drops new connections",
		     maximum, sessions);
}

int check_machine(struct netlink *netlink, const struct plan *plan, const struct config *config,
		  FILE *report)
{
	struct check check = {.config = config, .report = report};
	int error;

	for (size_t i = 0; i < config->edge_count; i++) {
		if (config->edges[i].transparent)
			check_edge(&check, &config->edges[i]);
	}
	error = check_others(&check, netlink);
	if (error < 0)
		warn(&check, "other firewalls could not be looked at: %s", strerrordesc_np(-error));
	check_guard_file(&check, plan);
	check_conntrack(&check);
	return check.found;
}

/* --- admission -------------------------------------------------------------------------- */

/* Who listens where, as another firewall sees the packets that come in. */
struct entrance {
	const char *section, *name;
	uint16_t port;   /* 0: known by the mark alone */
	bool redirected; /* nobody dials it directly */
};

#define COMMAND_SIZE 128

struct commands {
	char nftables[COMMAND_SIZE], firewalld[COMMAND_SIZE], ufw[COMMAND_SIZE];
};

/* The n-th entrance of the file, one for each port; false behind the last. */
static bool entrance_of(const struct address *listen, size_t count, size_t *n,
			struct entrance *entrance)
{
	for (size_t i = 0; i < count; i++) {
		entrance->port = address_port(&listen[i]);
		if (i > 0 && entrance->port == address_port(&listen[i - 1]))
			continue;
		if ((*n)-- == 0)
			return true;
	}
	return false;
}

static bool entrance_at(const struct config *config, size_t n, struct entrance *entrance)
{
	for (size_t i = 0; i < config->edge_count; i++) {
		const struct config_edge *edge = &config->edges[i];
		bool tproxy = edge->transparent && edge->interception == CONFIG_INTERCEPTION_TPROXY;

		*entrance = (struct entrance){
			.section = "edge", .name = edge->name, .redirected = edge->transparent};
		/* TPROXY's packets still have the PLC's port when they come in. */
		if (tproxy && n-- == 0)
			return true;
		if (!tproxy && entrance_of(edge->listen, edge->listen_count, &n, entrance))
			return true;
	}
	for (size_t i = 0; i < config->gateway_count; i++) {
		const struct config_gateway *gateway = &config->gateways[i];

		*entrance = (struct entrance){.section = "gateway", .name = gateway->name};
		if (entrance_of(gateway->listen, gateway->listen_count, &n, entrance))
			return true;
	}
	return false;
}

static void make_commands(const struct config *config, const struct entrance *entrance,
			  struct commands *commands)
{
	if (entrance->port == 0) {
		snprintf(commands->nftables, COMMAND_SIZE, "meta mark 0x%08x accept",
			 config->nft.divert_mark);
		snprintf(commands->firewalld, COMMAND_SIZE,
			 "none: it matches ports, and these packets have their PLC's");
		snprintf(commands->ufw, COMMAND_SIZE, "none: as firewalld");
		return;
	}
	snprintf(commands->nftables, COMMAND_SIZE, "tcp dport %u %saccept", entrance->port,
		 entrance->redirected ? "ct status dnat " : "");
	snprintf(commands->firewalld, COMMAND_SIZE,
		 "firewall-cmd --permanent --add-port=%u/tcp && firewall-cmd --reload",
		 entrance->port);
	snprintf(commands->ufw, COMMAND_SIZE, "ufw allow in proto tcp to any port %u",
		 entrance->port);
}

void check_print_admission(const struct config *config, FILE *file)
{
	struct entrance entrance;
	struct commands commands;

	for (size_t i = 0; entrance_at(config, i, &entrance); i++) {
		make_commands(config, &entrance, &commands);
		fprintf(file, "%s \"%s\"", entrance.section, entrance.name);
		if (entrance.port != 0)
			fprintf(file, ", port %u", entrance.port);
		fprintf(file,
			"\n  nftables:  %s     (in your own input chain)\n  firewalld: %s\n"
			"  ufw:       %s\n",
			commands.nftables, commands.firewalld, commands.ufw);
	}
}

json_t *check_admission_json(const struct config *config)
{
	json_t *all = json_array();
	struct entrance entrance;
	struct commands commands;

	for (size_t i = 0; entrance_at(config, i, &entrance); i++) {
		make_commands(config, &entrance, &commands);
		json_array_append_new(
			all, json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s}", "section",
				       entrance.section, "name", entrance.name, "protocol", "tcp",
				       "port", (int)entrance.port, "nftables", commands.nftables,
				       "firewalld", commands.firewalld, "ufw", commands.ufw));
	}
	return all;
}
