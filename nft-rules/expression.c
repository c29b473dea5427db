/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * A match loads something into register 1 and compares it, or looks it up in a set. Registers
 * 1 to 4 hold 16 bytes each; the same memory is registers 8 to 23 of four bytes (NFT_REG32_00...).
 * A concatenation fills neighbouring four-byte registers: after an IPv4 address in register 1
 * (bytes 0 to 3) the port goes to NFT_REG32_01 (bytes 4 to 7), after an IPv6 address, which fills
 * register 1, to register 2.
 *
 * In a table of the family inet an offset into the network header means something only after the
 * test of the family, one into the transport header after that of the protocol. nft puts these
 * tests in by itself, and so must we.
 */
#include "expression.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <syslog.h>

enum { BURST = 5, SECONDS_PER_MINUTE = 60 };

static struct nftnl_expr *add(struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(name);

	if (expr != NULL)
		nftnl_rule_add_expr(rule, expr);
	return expr;
}

static void set_u32(struct nftnl_expr *expr, uint16_t attribute, uint32_t value)
{
	if (expr != NULL)
		nftnl_expr_set_u32(expr, attribute, value);
}

/* --- building blocks; each returns the last expression, NULL where there was no memory -- */

static struct nftnl_expr *compare(struct nftnl_rule *rule, uint32_t op, const void *data,
				  size_t size)
{
	struct nftnl_expr *expr = add(rule, "cmp");

	set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	set_u32(expr, NFTNL_EXPR_CMP_OP, op);
	if (expr != NULL)
		nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, (uint32_t)size);
	return expr;
}

static struct nftnl_expr *compare_u32(struct nftnl_rule *rule, uint32_t value)
{
	return compare(rule, NFT_CMP_EQ, &value, sizeof(value));
}

static struct nftnl_expr *compare_u8(struct nftnl_rule *rule, uint8_t value)
{
	return compare(rule, NFT_CMP_EQ, &value, sizeof(value));
}

static struct nftnl_expr *meta_load(struct nftnl_rule *rule, uint32_t key)
{
	struct nftnl_expr *expr = add(rule, "meta");

	set_u32(expr, NFTNL_EXPR_META_KEY, key);
	set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_1);
	return expr;
}

static struct nftnl_expr *ct_load(struct nftnl_rule *rule, uint32_t key)
{
	struct nftnl_expr *expr = add(rule, "ct");

	set_u32(expr, NFTNL_EXPR_CT_KEY, key);
	set_u32(expr, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	return expr;
}

static struct nftnl_expr *payload(struct nftnl_rule *rule, uint32_t base, uint32_t offset,
				  uint32_t length, uint32_t to)
{
	struct nftnl_expr *expr = add(rule, "payload");

	set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, base);
	set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, length);
	set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, to);
	return expr;
}

static struct nftnl_expr *lookup(struct nftnl_rule *rule, const char *set)
{
	struct nftnl_expr *expr = add(rule, "lookup");

	set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	if (expr == NULL || nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, set) < 0)
		return NULL;
	return expr;
}

static struct nftnl_expr *immediate(struct nftnl_rule *rule, uint32_t to, const void *data,
				    size_t size)
{
	struct nftnl_expr *expr = add(rule, "immediate");

	set_u32(expr, NFTNL_EXPR_IMM_DREG, to);
	if (expr != NULL)
		nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, data, (uint32_t)size);
	return expr;
}

static struct nftnl_expr *family(struct nftnl_rule *rule, int family)
{
	meta_load(rule, NFT_META_NFPROTO);
	return compare_u8(rule, family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6);
}

static struct nftnl_expr *protocol(struct nftnl_rule *rule, uint8_t protocol)
{
	meta_load(rule, NFT_META_L4PROTO);
	return compare_u8(rule, protocol);
}

/* RFC 791 3.1 and RFC 8200 3: where the addresses are, and how long. */
static struct nftnl_expr *address(struct nftnl_rule *rule, int family, bool source)
{
	if (family == AF_INET)
		return payload(rule, NFT_PAYLOAD_NETWORK_HEADER, source ? 12 : 16, 4, NFT_REG_1);
	return payload(rule, NFT_PAYLOAD_NETWORK_HEADER, source ? 8 : 24, 16, NFT_REG_1);
}

/* The destination port of TCP and UDP alike: RFC 9293 3.1, RFC 768. */
static struct nftnl_expr *port(struct nftnl_rule *rule, uint32_t to)
{
	return payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, to);
}

/* Is one of `bits` set in what register 1 holds? */
static struct nftnl_expr *has_bits(struct nftnl_rule *rule, uint32_t bits)
{
	static const uint32_t zero;
	struct nftnl_expr *expr = add(rule, "bitwise");

	set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	set_u32(expr, NFTNL_EXPR_BITWISE_LEN, sizeof(bits));
	if (expr == NULL)
		return NULL;
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, &bits, sizeof(bits));
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, &zero, sizeof(zero));
	return compare(rule, NFT_CMP_NEQ, &zero, sizeof(zero));
}

static struct nftnl_expr *verdict(struct nftnl_rule *rule, int code, const char *chain)
{
	struct nftnl_expr *expr = add(rule, "immediate");

	set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	set_u32(expr, NFTNL_EXPR_IMM_VERDICT, (uint32_t)code);
	if (expr != NULL && chain != NULL &&
	    nftnl_expr_set_str(expr, NFTNL_EXPR_IMM_CHAIN, chain) < 0)
		return NULL;
	return expr;
}

/* --- statements: what a packet must be -------------------------------------------------- */

static struct nftnl_expr *add_destination(struct nftnl_rule *rule, const struct statement *from)
{
	family(rule, from->family);
	protocol(rule, from->protocol);
	address(rule, from->family, false);
	port(rule, from->family == AF_INET ? (uint32_t)NFT_REG32_01 : (uint32_t)NFT_REG_2);
	return lookup(rule, from->name);
}

static struct nftnl_expr *add_address(struct nftnl_rule *rule, const struct statement *from)
{
	family(rule, from->family);
	address(rule, from->family, from->source);
	return lookup(rule, from->name);
}

static struct nftnl_expr *add_port(struct nftnl_rule *rule, const struct statement *from)
{
	protocol(rule, IPPROTO_TCP);
	port(rule, NFT_REG_1);
	return lookup(rule, from->name);
}

/* nft before 1.1.2 makes two comparisons of a range, and reads this back as one all the same. */
static struct nftnl_expr *in_range(struct nftnl_rule *rule, const void *first, const void *last,
				   size_t size)
{
	struct nftnl_expr *expr;

	if (memcmp(first, last, size) == 0)
		return compare(rule, NFT_CMP_EQ, first, size);
	expr = add(rule, "range");
	set_u32(expr, NFTNL_EXPR_RANGE_SREG, NFT_REG_1);
	set_u32(expr, NFTNL_EXPR_RANGE_OP, NFT_RANGE_EQ);
	if (expr != NULL) {
		nftnl_expr_set(expr, NFTNL_EXPR_RANGE_FROM_DATA, first, (uint32_t)size);
		nftnl_expr_set(expr, NFTNL_EXPR_RANGE_TO_DATA, last, (uint32_t)size);
	}
	return expr;
}

static struct nftnl_expr *add_addresses(struct nftnl_rule *rule, const struct statement *from)
{
	family(rule, from->family);
	address(rule, from->family, false);
	return in_range(rule, from->first, from->last, from->family == AF_INET ? 4 : 16);
}

static struct nftnl_expr *add_ports(struct nftnl_rule *rule, const struct statement *from)
{
	uint16_t first = htons((uint16_t)from->number), last = htons((uint16_t)from->last_number);

	protocol(rule, from->protocol);
	port(rule, NFT_REG_1);
	return in_range(rule, &first, &last, sizeof(first));
}

static struct nftnl_expr *add_family(struct nftnl_rule *rule, const struct statement *from)
{
	return family(rule, from->family);
}

static struct nftnl_expr *add_protocol(struct nftnl_rule *rule, const struct statement *from)
{
	return protocol(rule, from->protocol);
}

static struct nftnl_expr *add_interface(struct nftnl_rule *rule, const struct statement *from)
{
	meta_load(rule, NFT_META_IIFNAME);
	return lookup(rule, from->name);
}

static struct nftnl_expr *add_loopback(struct nftnl_rule *rule, const struct statement *from)
{
	static const char lo[IFNAMSIZ] = "lo";

	(void)from;
	meta_load(rule, NFT_META_OIFNAME);
	return compare(rule, NFT_CMP_EQ, lo, sizeof(lo));
}

static struct nftnl_expr *add_user(struct nftnl_rule *rule, const struct statement *from)
{
	meta_load(rule, NFT_META_SKUID);
	return lookup(rule, from->name);
}

static struct nftnl_expr *socket_load(struct nftnl_rule *rule, uint32_t key)
{
	struct nftnl_expr *expr = add(rule, "socket");

	set_u32(expr, NFTNL_EXPR_SOCKET_KEY, key);
	set_u32(expr, NFTNL_EXPR_SOCKET_DREG, NFT_REG_1);
	return expr;
}

static struct nftnl_expr *add_cgroup(struct nftnl_rule *rule, const struct statement *from)
{
	struct nftnl_expr *expr = socket_load(rule, NFT_SOCKET_CGROUPV2);

	set_u32(expr, NFTNL_EXPR_SOCKET_LEVEL, from->number);
	return lookup(rule, from->name);
}

static struct nftnl_expr *add_transparent(struct nftnl_rule *rule, const struct statement *from)
{
	(void)from;
	socket_load(rule, NFT_SOCKET_TRANSPARENT);
	compare_u8(rule, 1);
	socket_load(rule, NFT_SOCKET_WILDCARD);
	return compare_u8(rule, 0);
}

static struct nftnl_expr *add_mark(struct nftnl_rule *rule, const struct statement *from)
{
	meta_load(rule, NFT_META_MARK);
	return compare_u32(rule, from->number);
}

static struct nftnl_expr *add_ct_mark(struct nftnl_rule *rule, const struct statement *from)
{
	ct_load(rule, NFT_CT_MARK);
	return compare_u32(rule, from->number);
}

static struct nftnl_expr *add_established(struct nftnl_rule *rule, const struct statement *from)
{
	(void)from;
	ct_load(rule, NFT_CT_STATE);
	return has_bits(rule, NF_CT_STATE_BIT(IP_CT_ESTABLISHED));
}

static struct nftnl_expr *add_reply(struct nftnl_rule *rule, const struct statement *from)
{
	(void)from;
	ct_load(rule, NFT_CT_DIRECTION);
	return compare_u8(rule, 1); /* IP_CT_DIR_REPLY, nf_conntrack_tuple_common.h */
}

static struct nftnl_expr *add_dnat(struct nftnl_rule *rule, const struct statement *from)
{
	(void)from;
	ct_load(rule, NFT_CT_STATUS);
	return has_bits(rule, IPS_DST_NAT);
}

/* --- statements: what is done with it --------------------------------------------------- */

static struct nftnl_expr *add_counter(struct nftnl_rule *rule, const struct statement *from)
{
	(void)from;
	return add(rule, "counter");
}

static struct nftnl_expr *add_limit(struct nftnl_rule *rule, const struct statement *from)
{
	struct nftnl_expr *expr = add(rule, "limit");

	if (expr != NULL) {
		nftnl_expr_set_u64(expr, NFTNL_EXPR_LIMIT_RATE, from->number);
		nftnl_expr_set_u64(expr, NFTNL_EXPR_LIMIT_UNIT, SECONDS_PER_MINUTE);
	}
	set_u32(expr, NFTNL_EXPR_LIMIT_BURST, BURST);
	set_u32(expr, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
	set_u32(expr, NFTNL_EXPR_LIMIT_FLAGS, 0);
	return expr;
}

static struct nftnl_expr *add_log(struct nftnl_rule *rule, const struct statement *from)
{
	struct nftnl_expr *expr = add(rule, "log");

	set_u32(expr, NFTNL_EXPR_LOG_LEVEL, LOG_WARNING);
	if (expr == NULL || nftnl_expr_set_str(expr, NFTNL_EXPR_LOG_PREFIX, from->name) < 0)
		return NULL;
	return expr;
}

static struct nftnl_expr *add_set_mark(struct nftnl_rule *rule, const struct statement *from)
{
	struct nftnl_expr *expr;

	immediate(rule, NFT_REG_1, &from->number, sizeof(from->number));
	expr = add(rule, "meta");
	set_u32(expr, NFTNL_EXPR_META_KEY, NFT_META_MARK);
	set_u32(expr, NFTNL_EXPR_META_SREG, NFT_REG_1);
	return expr;
}

static struct nftnl_expr *add_set_ct_mark(struct nftnl_rule *rule, const struct statement *from)
{
	struct nftnl_expr *expr;

	immediate(rule, NFT_REG_1, &from->number, sizeof(from->number));
	expr = add(rule, "ct");
	set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
	set_u32(expr, NFTNL_EXPR_CT_SREG, NFT_REG_1);
	return expr;
}

static struct nftnl_expr *add_accept(struct nftnl_rule *rule, const struct statement *from)
{
	(void)from;
	return verdict(rule, NF_ACCEPT, NULL);
}

static struct nftnl_expr *add_drop(struct nftnl_rule *rule, const struct statement *from)
{
	(void)from;
	return verdict(rule, NF_DROP, NULL);
}

static struct nftnl_expr *add_return(struct nftnl_rule *rule, const struct statement *from)
{
	(void)from;
	return verdict(rule, NFT_RETURN, NULL);
}

static struct nftnl_expr *add_jump(struct nftnl_rule *rule, const struct statement *from)
{
	return verdict(rule, NFT_JUMP, from->name);
}

static struct nftnl_expr *add_goto(struct nftnl_rule *rule, const struct statement *from)
{
	return verdict(rule, NFT_GOTO, from->name);
}

static struct nftnl_expr *add_reset(struct nftnl_rule *rule, const struct statement *from)
{
	struct nftnl_expr *expr = add(rule, "reject");

	(void)from;
	set_u32(expr, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_TCP_RST);
	if (expr != NULL)
		nftnl_expr_set_u8(expr, NFTNL_EXPR_REJECT_CODE, 0);
	return expr;
}

static struct nftnl_expr *add_redirect(struct nftnl_rule *rule, const struct statement *from)
{
	uint16_t number = htons((uint16_t)from->number);
	struct nftnl_expr *expr;

	immediate(rule, NFT_REG_1, &number, sizeof(number));
	expr = add(rule, "redir");
	set_u32(expr, NFTNL_EXPR_REDIR_REG_PROTO_MIN, NFT_REG_1);
	/* nft leaves it out, and the kernel puts it in. */
	set_u32(expr, NFTNL_EXPR_REDIR_REG_PROTO_MAX, NFT_REG_1);
	set_u32(expr, NFTNL_EXPR_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
	return expr;
}

static struct nftnl_expr *add_tproxy(struct nftnl_rule *rule, const struct statement *from)
{
	bool v4 = from->address.any.sa_family == AF_INET;
	struct nftnl_expr *expr;

	if (v4)
		immediate(rule, NFT_REG_1, &from->address.v4.sin_addr, 4);
	else
		immediate(rule, NFT_REG_1, &from->address.v6.sin6_addr, 16);
	/* In network byte order, and at the same place in either kind of socket address. */
	immediate(rule, NFT_REG_2, &from->address.v4.sin_port, 2);
	expr = add(rule, "tproxy");
	set_u32(expr, NFTNL_EXPR_TPROXY_FAMILY, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	set_u32(expr, NFTNL_EXPR_TPROXY_REG_ADDR, NFT_REG_1);
	set_u32(expr, NFTNL_EXPR_TPROXY_REG_PORT, NFT_REG_2);
	return expr;
}

static struct nftnl_expr *(*const adders[STATEMENT_KINDS])(struct nftnl_rule *rule,
							   const struct statement *from) = {
	[STATEMENT_DESTINATION] = add_destination,
	[STATEMENT_ADDRESS] = add_address,
	[STATEMENT_PORT] = add_port,
	[STATEMENT_ADDRESSES] = add_addresses,
	[STATEMENT_PORTS] = add_ports,
	[STATEMENT_FAMILY] = add_family,
	[STATEMENT_PROTOCOL] = add_protocol,
	[STATEMENT_INTERFACE] = add_interface,
	[STATEMENT_LOOPBACK] = add_loopback,
	[STATEMENT_USER] = add_user,
	[STATEMENT_CGROUP] = add_cgroup,
	[STATEMENT_MARK] = add_mark,
	[STATEMENT_CT_MARK] = add_ct_mark,
	[STATEMENT_ESTABLISHED] = add_established,
	[STATEMENT_REPLY] = add_reply,
	[STATEMENT_DNAT] = add_dnat,
	[STATEMENT_TRANSPARENT] = add_transparent,
	[STATEMENT_COUNTER] = add_counter,
	[STATEMENT_LIMIT] = add_limit,
	[STATEMENT_LOG] = add_log,
	[STATEMENT_SET_MARK] = add_set_mark,
	[STATEMENT_SET_CT_MARK] = add_set_ct_mark,
	[STATEMENT_ACCEPT] = add_accept,
	[STATEMENT_DROP] = add_drop,
	[STATEMENT_RESET] = add_reset,
	[STATEMENT_RETURN] = add_return,
	[STATEMENT_JUMP] = add_jump,
	[STATEMENT_GOTO] = add_goto,
	[STATEMENT_REDIRECT] = add_redirect,
	[STATEMENT_TPROXY] = add_tproxy,
};

int expression_add(struct nftnl_rule *to, const struct rule *rule)
{
	for (size_t i = 0; i < rule->count; i++) {
		const struct statement *statement = &rule->statements[i];

		/* A missing one in the middle would change what the rule means. */
		errno = 0;
		if (adders[statement->kind](to, statement) == NULL || errno == ENOMEM)
			return -ENOMEM;
	}
	return 0;
}

const char *expression_module(const char *name)
{
	static const struct {
		const char *expression, *module;
	} modules[] = {
		{"redir", "nft_redir"},
		{"tproxy", "nft_tproxy"},
		{"socket", "nft_socket"},
		{"ct", "nft_ct"},
		{"log", "nft_log"},
		{"limit", "nft_limit"},
		{"reject", "nft_reject_inet"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		if (strcmp(modules[i].expression, name) == 0)
			return modules[i].module;
	}
	return NULL;
}
