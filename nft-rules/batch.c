/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * The messages lie one behind the other in one buffer, numbered from 1 on (0 is the begin), so
 * that an error, which carries the number of its message, can be told with what that was about.
 * An error also carries the offset of the attribute that the kernel did not like; inside a rule
 * that is one expression, whose name says which module or kernel version is missing.
 *
 * Without the end message the kernel does everything up to the commit, validation of the chains
 * included, and takes it back: that is how `nft -c` works, too.
 */
#include "batch.h"

#include "expression.h"

#include "base/error.h"

#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct batch_message {
	size_t at; /* in the buffer */
	char *what;
};

struct batch {
	char *bytes;
	size_t size, room;
	struct batch_message *messages;
	size_t count, message_room;
	bool failed;
};

struct batch *batch_new(void)
{
	return calloc(1, sizeof(struct batch));
}

void batch_free(struct batch *batch)
{
	if (batch == NULL)
		return;
	for (size_t i = 0; i < batch->count; i++)
		free(batch->messages[i].what);
	free(batch->messages);
	free(batch->bytes);
	free(batch);
}

/* The last message's length is only known once the next one begins. */
static void close_message(struct batch *batch)
{
	const struct nlmsghdr *last;

	if (batch->count == 0)
		return;
	last = (const void *)(batch->bytes + batch->messages[batch->count - 1].at);
	batch->size = batch->messages[batch->count - 1].at + NLMSG_ALIGN(last->nlmsg_len);
}

size_t batch_count(const struct batch *batch)
{
	return batch->count;
}

size_t batch_size(const struct batch *batch)
{
	return batch->size;
}

static bool make_room(struct batch *batch)
{
	size_t room = batch->room * 2 + 4 * BATCH_MESSAGE_MAX;
	char *bytes;
	struct batch_message *messages;

	if (batch->room - batch->size < 2 * BATCH_MESSAGE_MAX) {
		bytes = realloc(batch->bytes, room);
		if (bytes == NULL)
			return false;
		batch->bytes = bytes;
		batch->room = room;
	}
	if (batch->count == batch->message_room) {
		messages = reallocarray(batch->messages, batch->count * 2 + 64, sizeof(*messages));
		if (messages == NULL)
			return false;
		batch->messages = messages;
		batch->message_room = batch->count * 2 + 64;
	}
	return true;
}

/* A batch begins with its begin message, number 0. */
static bool begin(struct batch *batch)
{
	struct nlmsghdr *message;

	if (!make_room(batch))
		return false;
	if (batch->count > 0)
		return true;
	message = nftnl_batch_begin(batch->bytes, 0);
	batch->messages[batch->count++] = (struct batch_message){.at = 0};
	batch->size = message->nlmsg_len;
	return true;
}

struct nlmsghdr *batch_add(struct batch *batch, uint16_t type, uint16_t flags, const char *what,
			   ...)
{
	struct batch_message *message;
	va_list arguments;
	int length;

	close_message(batch);
	if (batch->failed || !begin(batch)) {
		batch->failed = true;
		return NULL;
	}
	message = &batch->messages[batch->count];
	message->at = batch->size;
	va_start(arguments, what);
	length = vasprintf(&message->what, what, arguments);
	va_end(arguments);
	if (length < 0) {
		batch->failed = true;
		return NULL;
	}
	return nftnl_nlmsg_build_hdr(batch->bytes + message->at, type, NFPROTO_INET, flags,
				     (uint32_t)batch->count++);
}

/* --- what the kernel says --------------------------------------------------------------- */

struct verdict {
	const struct batch *batch;
	FILE *report;
	int error;
};

/* The name of the expression in which the kernel found the fault; NULL: not in one. */
static const char *faulty_expression(const struct nlmsghdr *message, uint32_t offset)
{
	const struct nlattr *attribute, *inner;
	const char *end = (const char *)message + message->nlmsg_len;

	if ((message->nlmsg_type & 0xff) != NFT_MSG_NEWRULE || offset >= message->nlmsg_len)
		return NULL;
	attribute = (const void *)((const char *)message + offset);
	if ((const char *)attribute + MNL_ATTR_HDRLEN > end ||
	    mnl_attr_get_type(attribute) != NFTA_LIST_ELEM)
		return NULL;
	/* The name comes first: include/uapi/linux/netfilter/nf_tables.h, enum nft_expr_attributes.
	 */
	inner = mnl_attr_get_payload(attribute);
	if (!mnl_attr_ok(inner, mnl_attr_get_payload_len(attribute)) ||
	    mnl_attr_get_type(inner) != NFTA_EXPR_NAME)
		return NULL;
	return mnl_attr_get_str(inner);
}

static void report_expression(FILE *report, int error, const char *name)
{
	const char *module = expression_module(name);

	if (module != NULL && (error == ENOENT || error == EOPNOTSUPP || error == EINVAL))
		fprintf(report,
			" (this kernel has no \"%s\" here: module %s is missing or too old)", name,
			module);
	else
		fprintf(report, " (in \"%s\")", name);
}

/* Is it about one message, not about the transaction as a whole? */
static bool is_numbered(const struct verdict *verdict, const struct nlmsghdr *answer)
{
	return answer->nlmsg_seq > 0 && answer->nlmsg_seq < verdict->batch->count;
}

static void report_fault(struct verdict *verdict, const struct nlmsghdr *answer, int error,
			 const char *text, uint32_t offset)
{
	const struct batch *batch = verdict->batch;
	const struct batch_message *message;
	const char *expression;

	if (!is_numbered(verdict, answer)) {
		if (error == EPERM)
			fprintf(verdict->report,
				"no right to change nftables: this needs root or CAP_NET_ADMIN\n");
		else if (error != ERESTART)
			fprintf(verdict->report, "the kernel refuses the whole transaction: %s\n",
				strerrordesc_np(error));
		return;
	}
	message = &batch->messages[answer->nlmsg_seq];
	fprintf(verdict->report, "%s: %s", message->what,
		error == EPERM ? "not permitted: another program owns this table"
			       : strerrordesc_np(error));
	if (text != NULL)
		fprintf(verdict->report, ": %s", text);
	expression = offset > 0
			     ? faulty_expression((const void *)(batch->bytes + message->at), offset)
			     : NULL;
	if (expression != NULL)
		report_expression(verdict->report, error, expression);
	putc('\n', verdict->report);
}

static int take_error(const struct nlmsghdr *answer, void *data)
{
	struct verdict *verdict = data;
	const struct nlmsgerr *fault = mnl_nlmsg_get_payload(answer);
	const struct nlattr *attribute;
	const char *text = NULL;
	uint32_t offset = 0;

	if (fault->error == 0)
		return MNL_CB_OK;
	if (answer->nlmsg_flags & NLM_F_ACK_TLVS) {
		for (attribute = netlink_next(answer, sizeof(*fault), NULL); attribute != NULL;
		     attribute = netlink_next(answer, sizeof(*fault), attribute)) {
			if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG)
				text = mnl_attr_get_str(attribute);
			if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_OFFS)
				offset = mnl_attr_get_u32(attribute);
		}
	}
	/* A single message is not permitted to nobody but the owner of a table. */
	if (verdict->error == 0)
		verdict->error = fault->error == -EPERM && is_numbered(verdict, answer)
					 ? -EBUSY
					 : fault->error;
	report_fault(verdict, answer, -fault->error, text, offset);
	return MNL_CB_OK;
}

/* The kernel has worked the batch off inside sendmsg(): every answer is there already. */
static int read_answers(struct netlink *netlink, struct verdict *verdict)
{
	static mnl_cb_t controls[NLMSG_MIN_TYPE] = {[NLMSG_ERROR] = take_error};
	int fd = mnl_socket_get_fd(netlink->socket);
	char buffer[65536];
	ssize_t size;

	for (;;) {
		size = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (size < 0)
			break;
		(void)mnl_cb_run2(buffer, (size_t)size, 0, netlink->port, NULL, verdict, controls,
				  NLMSG_MIN_TYPE);
	}
	return errno == EAGAIN ? 0 : -errno;
}

/* --- sending ---------------------------------------------------------------------------- */

static void set_generation(struct batch *batch, uint32_t generation)
{
	struct nlmsghdr *message = (void *)batch->bytes;
	size_t length = message->nlmsg_len;
	size_t rest = batch->size - length;

	/* The begin message grows by one attribute; what follows moves up. */
	memmove(batch->bytes + length + MNL_ATTR_HDRLEN + 4, batch->bytes + length, rest);
	mnl_attr_put_u32(message, NFNL_BATCH_GENID, htonl(generation));
	batch->size += MNL_ATTR_HDRLEN + 4;
	for (size_t i = 1; i < batch->count; i++)
		batch->messages[i].at += MNL_ATTR_HDRLEN + 4;
}

static void make_buffers(const struct netlink *netlink, size_t size)
{
	int fd = mnl_socket_get_fd(netlink->socket);
	int bytes = (int)size + 65536;

	/* Forced (past net.core.wmem_max) needs CAP_NET_ADMIN, without which all this fails anyway.
	 */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	bytes = 4 << 20;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

int batch_send(struct batch *batch, struct netlink *netlink, uint32_t generation, bool try_it,
	       FILE *report)
{
	struct verdict verdict = {.batch = batch, .report = report};
	size_t end_size = 0;
	int error;

	close_message(batch);
	if (batch->failed)
		return -ENOMEM;
	if (batch->count == 0)
		return 0;
	if (generation != 0)
		set_generation(batch, generation);
	if (!try_it)
		end_size = nftnl_batch_end(batch->bytes + batch->size, (uint32_t)batch->count)
				   ->nlmsg_len;
	make_buffers(netlink, batch->size + end_size);
	if (mnl_socket_sendto(netlink->socket, batch->bytes, batch->size + end_size) < 0)
		return -errno;
	error = read_answers(netlink, &verdict);
	return verdict.error != 0 ? verdict.error : error;
}
