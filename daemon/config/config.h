/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as plain structs: what config_parse.c fills from the file, config_check.c
 * judges whole, and everybody else reads. After config_load() it is constant; workers share it.
 *
 * Strings and arrays are owned by struct config and live until config_free(). Lists are arrays
 * with a count; references between sections are resolved to indices or pointers by the check.
 * The file format is told in docs/mcseald.conf.md; each option stands in one table in
 * config_option.c, from which reading, printing and freeing derive.
 *
 * `line` members say where in the file a section or an option stands, for messages; 0 = not
 * given. The loader's parser library keeps global state: one config_load() at a time.
 */
#ifndef MCSEAL_CONFIG_CONFIG_H
#define MCSEAL_CONFIG_CONFIG_H

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "mc/mc_command.h"
#include "mc/mc_device.h"
#include "mc/mc_frame.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Where the daemon listens for `mcseal`, unless the file says otherwise. */
#define CONFIG_CONTROL_SOCKET "/run/mcseal/control"

#define CONFIG_FRAME_MAX_DEFAULT 8200 /* Keyence PLCs use frames of up to 8,194 bytes */
/* 4E in ASCII: 26 characters up to the data length, which tells at most 65,535 more. */
#define CONFIG_FRAME_MAX         65561

enum config_protocol {
	CONFIG_PROTOCOL_MC,     /* whole MC frames, nothing else passes */
	CONFIG_PROTOCOL_OPAQUE, /* bytes unseen (MELSOFT), for named identities only */
};

/* How bytes are moved; docs/kernel-tls.md. */
enum config_engine {
	CONFIG_ENGINE_AUTO,         /* the best that the start-up probes allow */
	CONFIG_ENGINE_SPLICE,       /* io_uring, splice(2) of answers */
	CONFIG_ENGINE_URING_SPLICE, /* io_uring, IORING_OP_SPLICE of answers */
	CONFIG_ENGINE_COPY,         /* io_uring, recv and send */
	CONFIG_ENGINE_EPOLL,        /* no io_uring */
};

/* Who makes and opens the records of established connections. */
enum config_ktls {
	CONFIG_KTLS_DEFAULT, /* of an edge or gateway: what the top level says */
	CONFIG_KTLS_AUTO,    /* the kernel where it can, else user space */
	CONFIG_KTLS_REQUIRED,
	CONFIG_KTLS_OFF,
};

/* What TLS may be made of: tls/tls_profile.h. */
enum config_tls_profile {
	CONFIG_TLS_COMPATIBLE,
	CONFIG_TLS_NIST,
	CONFIG_TLS_BSI_2026,
	CONFIG_TLS_IPA_HIGH,
	CONFIG_TLS_PROFILES,
	CONFIG_TLS_DEFAULT = CONFIG_TLS_PROFILES, /* as the top level; only while it is read */
};

/* How an edge's connections are brought to it; docs/nft.md. */
enum config_interception {
	CONFIG_INTERCEPTION_REDIRECT, /* destination NAT to this machine, remembered by conntrack */
	CONFIG_INTERCEPTION_TPROXY,   /* the packet as it is, given to the listener: no NAT */
};

/* Among the interfaces of an edge: programs of this machine. */
#define CONFIG_LOCAL "local"

/* What the daemon gives up once it has started; docs/threat-model.md. */
enum config_confine {
	CONFIG_CONFINE_YES, /* all that this kernel knows; what it lacks is told */
	CONFIG_CONFINE_NO,
	CONFIG_CONFINE_REQUIRED, /* all of it, or no start */
};

struct config_strings {
	char **items;
	size_t count;
};

/* Certificate, key and trust of one TLS end: paths of PEM files. */
struct config_credentials {
	char *certificate; /* chain, leaf first */
	char *key;         /* not readable by group or others */
	char *ca;          /* trust anchors for the other end; never the system's bundle */
	char *crl;         /* NULL = no revocation check (the check warns) */
	enum config_tls_profile tls_profile; /* of the edge or gateway */
};

/* One port of a PLC. */
struct config_port {
	uint16_t number;
	unsigned int connections; /* the PLC's slots on this port, default 1 */
	enum config_protocol protocol;
	struct config_strings identities; /* opaque only: who may use it */
	int identities_line;
	int line;
};

/* When a gateway connects to a PLC for a client. */
enum config_dial {
	CONFIG_DIAL_AT_ONCE,
	CONFIG_DIAL_FIRST_REQUEST, /* when the client has asked something */
};

/* Who gives a PLC its remote password (commands 1630 and 1631); docs/policy.md. */
enum config_password {
	CONFIG_PASSWORD_PASS,    /* clients, as far as their policies let them */
	CONFIG_PASSWORD_REFUSE,  /* nobody */
	CONFIG_PASSWORD_GATEWAY, /* the gateway, on each connection; clients never have it */
};

struct config_plc {
	char *name;
	struct address address;    /* port 0 */
	struct config_strings sni; /* names by which SNI may ask for it; its own name always may */
	enum config_dial dial;
	unsigned int requests_at_once; /* under way over all its connections; 0: one on each */
	enum config_password remote_password;
	char *remote_password_file;  /* GATEWAY: one line; not readable by group or others */
	unsigned int password_tries; /* wrong ones that may reach the PLC ... */
	clock_us password_time;      /* ... within this time */
	struct config_port *ports;
	size_t port_count;
	int password_line, password_file_line;
	int line;
};

enum config_match_kind {
	CONFIG_MATCH_URI,   /* subjectAltName, exact */
	CONFIG_MATCH_DNS,   /* subjectAltName, case-insensitive, no wildcards */
	CONFIG_MATCH_EMAIL, /* subjectAltName, exact */
	CONFIG_MATCH_CN,    /* subject common name, exact */
	CONFIG_MATCH_SPKI,  /* SHA-256 of SubjectPublicKeyInfo, 64 lower-case hex digits */
	/*
	 * "HEX@ISSUER", ISSUER as in RFC 2253, serial in lower-case hex without leading zeros
	 * (whatever the file says: colons and capitals are taken out).
	 */
	CONFIG_MATCH_SERIAL,
	CONFIG_MATCH_ROLE, /* UTF8String extension 1.3.6.1.4.1.50316.802.1 */
};

struct config_match {
	enum config_match_kind kind;
	char *value;
};

/* A command of 3E and 4E frames (4 digits in the file) or of 1E frames (2 digits). */
struct config_command {
	bool any; /* "*": every one, unknown ones too */
	uint16_t code;
};

/* Points first..last of a device, both inside. */
struct config_points {
	const struct mc_device *device; /* NULL, "*": every device */
	uint32_t first, last;
};

/* Whom requests may be for: "NETWORK-PC-MODULE-STATION" in hexadecimal. */
struct config_access_route {
	bool any; /* "*" */
	struct mc_route route;
};

/* What one who may reach a PLC may do there; policy/policy.h judges by it. */
struct config_policy {
	char *name;
	int *allow; /* enum mc_class: whole classes */
	size_t allow_count;
	struct config_command *commands; /* besides those classes */
	size_t command_count;
	struct config_points *read; /* none: every device, if reading is allowed at all */
	size_t read_count;
	struct config_points *write; /* the same for writing */
	size_t write_count;
	struct config_access_route *routes; /* none: the PLC's own station */
	size_t route_count;
	bool observe;                     /* tell what would be refused, refuse nothing */
	unsigned int requests_per_second; /* of one identity at one PLC; 0: any number */
	unsigned int burst;               /* of them at once, after a pause */
	unsigned int connections;         /* of one identity at one PLC; 0: any number */
	int line;
};

/* "POLICY" or "PLC=POLICY". */
struct config_policy_choice {
	char *plc; /* NULL: for every PLC that has none of its own */
	char *policy;
	const struct config_policy *resolved;
};

/* Who: the first identity of the file with a matching entry is the peer's. */
struct config_identity {
	char *name;
	bool edge; /* role = edge: speaks PROXY v2, may carry other people's clients */
	struct config_match *matches;
	size_t match_count;
	struct config_strings plcs;            /* names, or "*" */
	struct config_policy_choice *policies; /* none: reads of own stations */
	size_t policy_count;
	int plcs_line, policies_line;
	int line;
};

struct config_gateway {
	char *name;
	struct address *listen;
	size_t listen_count;
	struct config_credentials credentials;
	enum config_ktls ktls;          /* config_ktls() resolves */
	unsigned int sessions;          /* at once; 0: limits.sessions alone */
	bool inspect;                   /* MC requests are judged; else whole frames pass unread */
	struct address_prefix *clients; /* who may connect at all; none: everybody */
	size_t client_count;
	char *fixed_plc;              /* NULL: PROXY header or SNI decides */
	uint16_t fixed_port;          /* 0: the PLC's first port */
	const struct config_plc *plc; /* of fixed_plc, resolved */
	int listen_line, plc_line, plc_port_line, inspect_line;
	int line;
};

/* A destination range of an edge's route: addresses and ports. */
struct config_destination {
	struct address_prefix addresses;
	uint16_t first_port, last_port;
};

/* Where an edge carries what: destinations -> gateways, tried in order. */
struct config_route {
	char *name;
	struct config_destination *destinations;
	size_t destination_count;
	struct address *gateways;
	size_t gateway_count;
	/* Must be in the gateway's certificate (DNS); NULL: the gateway's address as IP SAN. */
	char *server_name;
	bool proxy_header; /* the gateways are mcseald and are told the destination; default yes */
	enum config_protocol protocol;
	int destinations_line, gateways_line;
	int line;
};

/* Whom an edge carries. All listed kinds must match; within a kind one entry is enough. */
struct config_source {
	char *name;
	struct address_prefix *addresses;
	size_t address_count;
	uid_t *users; /* local clients only */
	size_t user_count;
	struct config_strings cgroups; /* local clients only; paths below /sys/fs/cgroup */
	/* Empty (certificate NULL): the edge's. Else ca and crl, left out, are the edge's. */
	struct config_credentials credentials;
	int line;
};

struct config_edge {
	char *name;
	struct address *listen;
	size_t listen_count;
	bool transparent; /* original destination of a redirected connection; else `destination` */
	struct address destination;            /* AF_UNSPEC when transparent */
	enum config_interception interception; /* of a transparent edge */
	/* Where the clients are: names of interfaces, CONFIG_LOCAL for programs of this machine. */
	struct config_strings interfaces;
	enum config_ktls ktls; /* config_ktls() resolves */
	unsigned int sessions; /* at once; 0: limits.sessions alone */
	struct config_credentials credentials;
	struct config_source *sources;
	size_t source_count;
	struct config_route *routes;
	size_t route_count;
	int listen_line, transparent_line, destination_line, interception_line, interfaces_line;
	int line;
};

/* What only the nftables rules need; docs/nft.md. */
struct config_nft {
	/* Where the PLCs of gateways are; none: the PLCs' own addresses. */
	struct address_prefix *plc_networks;
	size_t plc_network_count;
	char *guard_file;         /* where the boot configuration has the guard; NULL: not said */
	uint32_t flow_mark;       /* conntrack mark of the daemon's connections to PLCs */
	uint32_t divert_mark;     /* packet mark of what TPROXY gives to a listener */
	unsigned int route_table; /* with the local route that it needs */
	int plc_networks_line, flow_mark_line, divert_mark_line;
};

/* Durations in microseconds; the file says seconds with decimals. */
struct config_timeouts {
	clock_us handshake;           /* 3 s: a gateway's TLS handshake */
	clock_us proxy_header;        /* 1 s: an edge's PROXY header after the handshake */
	clock_us dial_gateway;        /* 1.5 s: an edge's dial + handshake over all its gateways */
	clock_us dial_plc;            /* 1 s */
	clock_us slot_wait;           /* 1 s: for a free connection slot of the PLC */
	clock_us frame_rest;          /* 1 s: the rest of a begun frame */
	clock_us request_wait;        /* 1 s: a request, for its turn */
	clock_us answer;              /* 10 s, or what the request itself says if that is more */
	clock_us plc_reopen;          /* 0.5 s between close and next dial of one slot */
	clock_us drain;               /* 5 s: the other direction after one side has closed */
	clock_us keepalive_idle;      /* 10 s; whole seconds */
	clock_us keepalive_interval;  /* 5 s; whole seconds */
	unsigned int keepalive_count; /* 3 */
	clock_us user_timeout;        /* 20 s: TCP_USER_TIMEOUT */
	clock_us max_session_age;     /* 0: none */
};

/* What the end of a certificate, the peer's or our own, does to sessions that rest on it. */
enum config_at_expiry {
	CONFIG_AT_EXPIRY_WARN,
	CONFIG_AT_EXPIRY_CLOSE, /* between two requests */
};

/* What becomes of peers whose CA has no revocation list but one that has ended. */
enum config_crl_stale {
	CONFIG_CRL_STALE_REFUSE,
	CONFIG_CRL_STALE_WARN, /* it counts as if it had not */
};

struct config_limits {
	unsigned int sessions;              /* 10000, whole daemon */
	unsigned int sessions_per_source;   /* 5000; 0: as many as there may be at all */
	unsigned int handshakes;            /* 768 in progress; more wait, sources in turn */
	unsigned int handshakes_per_source; /* 5000 in progress or waiting; 0: any number */
	unsigned int frame;                 /* 8200 bytes */
	/* Records under one key, then it is changed or the connection is closed: 2^24.5 */
	unsigned int key_records;
};

/* What becomes of a request that changes something and cannot be written down first. */
enum config_audit_failure {
	CONFIG_AUDIT_REFUSE_WRITES,
	CONFIG_AUDIT_CONTINUE, /* it passes all the same */
};

/* What is told of requests that pass, and where. */
struct config_audit {
	char *file;  /* NULL: the log alone */
	bool reads;  /* of reads, too */
	bool values; /* what is written, too */
	enum config_audit_failure failure;
};

struct config {
	char *path;
	char *text; /* of the file, as it was read */
	enum log_level log_level;
	unsigned int workers; /* 0: one per core, at most 4 */
	enum config_engine engine;
	enum config_ktls ktls; /* never CONFIG_KTLS_DEFAULT */
	bool busy_poll;        /* where it pays and there are two CPUs: ring/busy_poll.h */
	enum config_confine confine;
	/* Besides those of the files above and below: for libraries, to read and to write. */
	struct config_strings confine_folders;
	uint32_t mark;        /* SO_MARK of the daemon's own sockets; 0: none. Default 0x4d430001 */
	char *control_socket; /* "": none */
	enum config_at_expiry at_expiry;
	enum config_crl_stale crl_stale;
	enum config_tls_profile tls_profile; /* of those that name none */
	bool reload_on_change;               /* of the files that it names */
	struct config_timeouts timeouts;
	struct config_limits limits;
	struct config_nft nft;
	struct config_audit audit;
	struct config_plc *plcs;
	size_t plc_count;
	struct config_policy *policies;
	size_t policy_count;
	struct config_identity *identities;
	size_t identity_count;
	struct config_gateway *gateways;
	size_t gateway_count;
	struct config_edge *edges;
	size_t edge_count;
};

/*
 * Reads and checks `path`. Every fault found is written to `report` as one line
 * `path:line: error: what is wrong, what was expected` (or `warning:`), all of them, not the
 * first only. Returns 0 with *config to be freed by config_free(), -EINVAL when there was any
 * error, another -errno when the file cannot be read (also reported). Blocking file I/O.
 *
 * Certificates are looked at as files here (present, readable, modes); what is in them is judged
 * by tls/tls_context.c.
 */
int config_load(const char *path, FILE *report, struct config **config);
/*
 * The same, but with -EINVAL *config is what could be read all the same (or NULL), to be freed:
 * nobody may run it, but what it names can be judged, too, so that every fault is told at once.
 * What was faulty is missing in it, required options included.
 */
int config_judge(const char *path, FILE *report, struct config **config);
/*
 * config_load() of the file alone: certificates, keys and lists that it names may be elsewhere.
 * For who needs addresses and ports only.
 */
int config_load_alone(const char *path, FILE *report, struct config **config);
/* config_load() from memory: `text` is NUL-terminated, `name` is used in messages. */
int config_load_text(const char *text, const char *name, FILE *report, struct config **config);
void config_free(struct config *config);
/* Writes a file that parses back to the same struct, defaults included. */
void config_dump(const struct config *config, FILE *file);

/* Of a listener: exactly one of the two is given. Never CONFIG_KTLS_DEFAULT. */
enum config_ktls config_ktls(const struct config *config, const struct config_edge *edge,
			     const struct config_gateway *gateway);

/* NULL when there is none. */
const struct config_plc *config_find_plc(const struct config *config, const char *name);
/* By SNI name (its own name or one of `sni`, case-insensitive). */
const struct config_plc *config_find_plc_by_sni(const struct config *config, const char *name);
/* By address and port of a PROXY header or a redirect; *port is set with it. */
const struct config_plc *config_find_plc_by_address(const struct config *config,
						    const struct address *address,
						    const struct config_port **port);
/* `number` 0 = the first port. */
const struct config_port *config_find_port(const struct config_plc *plc, uint16_t number);
/* The route of an edge for a destination; NULL: it is not to be carried. */
const struct config_route *config_find_route(const struct config_edge *edge,
					     const struct address *destination);
/* Does it take the connections of this machine's own programs? Of a transparent edge. */
bool config_edge_is_local(const struct config_edge *edge);
/* NULL when there is none of that name. */
const struct config_policy *config_find_policy(const struct config *config, const char *name);
/* What binds an identity at a PLC; NULL: nothing was said. */
const struct config_policy *config_policy_of(const struct config_identity *identity,
					     const struct config_plc *plc);
/* May this identity reach this PLC's port? */
bool config_identity_may(const struct config_identity *identity, const struct config_plc *plc,
			 const struct config_port *port);

#endif
