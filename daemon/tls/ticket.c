/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Sessions in the store are copies (SSL_SESSION_dup): OpenSSL marks the session of a connection
 * that is freed without a closing handshake as not to be resumed, and ours always are. Each
 * handshake gets a copy of its own for the same reason, and because threads share the store.
 *
 * A session knows the peer's certificate, not the intermediates that came with it: the store has
 * them beside it. A ticket does not even have room for them; a gateway whose clients need
 * intermediates that are not among its trust anchors makes full handshakes only.
 */
#include "tls/ticket.h"

#include "base/error.h"
#include "tls/tls_context.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct slot {
	struct address gateway;
	char *name; /* NULL: the address is what the certificate must name */
	SSL_SESSION *session;
	STACK_OF(X509) * chain; /* as the gateway sent it; NULL: nothing besides its own */
	uint64_t kept;          /* by count: the smallest is the oldest */
	time_t since;
};

struct ticket_store {
	pthread_mutex_t lock;
	uint64_t count;
	struct slot slots[TICKET_SLOTS];
};

/* --- gateway --------------------------------------------------------------------------------- */

static bool is_opened(SSL_TICKET_STATUS status)
{
	return status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
}

/* A ticket of ours came back. What is ignored is replaced after the full handshake. */
static SSL_TICKET_RETURN judge_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
				      size_t name_size, SSL_TICKET_STATUS status, void *argument)
{
	const struct tls_context *context = argument;
	struct tls_peer *peer = SSL_get_app_data(ssl);
	X509 *certificate = is_opened(status) ? SSL_SESSION_get0_peer(session) : NULL;

	(void)name;
	(void)name_size;
	if (certificate == NULL || peer == NULL ||
	    !tls_context_judge(context, ssl, certificate, NULL, peer))
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	/* No ticket for a resumed session: it would be good for ever, one hour at a time. */
	return SSL_TICKET_RETURN_USE;
}

void ticket_accept(SSL_CTX *ssl_context, struct tls_context *context)
{
	static const unsigned char id[] = "mcseal";

	/* Without an id context OpenSSL refuses to resume where client certificates are asked for.
	 */
	SSL_CTX_set_session_id_context(ssl_context, id, sizeof(id) - 1);
	SSL_CTX_set_timeout(ssl_context, TICKET_LIFETIME);
	SSL_CTX_set_session_ticket_cb(ssl_context, NULL, judge_ticket, context);
}

void ticket_promise(SSL *ssl)
{
	SSL_clear_options(ssl, SSL_OP_NO_TICKET);
	SSL_set_num_tickets(ssl, 1);
}

/* --- edge: the store ------------------------------------------------------------------------- */

struct ticket_store *ticket_store_new(void)
{
	struct ticket_store *store = calloc(1, sizeof(*store));

	if (store != NULL)
		pthread_mutex_init(&store->lock, NULL);
	return store;
}

static void clear(struct slot *slot)
{
	free(slot->name);
	SSL_SESSION_free(slot->session);
	sk_X509_pop_free(slot->chain, X509_free);
	memset(slot, 0, sizeof(*slot));
}

void ticket_store_free(struct ticket_store *store)
{
	if (store == NULL)
		return;
	for (size_t i = 0; i < TICKET_SLOTS; i++)
		clear(&store->slots[i]);
	pthread_mutex_destroy(&store->lock);
	free(store);
}

static bool is_of(const struct slot *slot, const struct address *gateway, const char *name)
{
	if (slot->session == NULL || !address_equal(&slot->gateway, gateway))
		return false;
	if (slot->name == NULL || name == NULL)
		return slot->name == name;
	return strcmp(slot->name, name) == 0;
}

static struct slot *find(struct ticket_store *store, const struct address *gateway,
			 const char *name)
{
	for (size_t i = 0; i < TICKET_SLOTS; i++)
		if (is_of(&store->slots[i], gateway, name))
			return &store->slots[i];
	return NULL;
}

/* An empty one, else the one kept longest. */
static struct slot *make_room(struct ticket_store *store)
{
	struct slot *oldest = &store->slots[0];

	for (size_t i = 1; i < TICKET_SLOTS; i++)
		if (store->slots[i].kept < oldest->kept)
			oldest = &store->slots[i];
	return oldest;
}

void ticket_keep(const struct tls_context *context, const struct address *gateway, const char *name,
		 const SSL *ssl, SSL_SESSION *session)
{
	struct ticket_store *store = context->tickets;
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
	struct slot fresh = {
		.gateway = *gateway,
		.since = time(NULL),
		.name = name ? strdup(name) : NULL,
		.session = SSL_SESSION_up_ref(session) == 1 ? session : NULL,
		.chain = chain ? X509_chain_up_ref(chain) : NULL,
	};
	struct slot *slot;

	/* Without memory the next handshake is a full one. */
	if (fresh.session == NULL || (name != NULL && fresh.name == NULL)) {
		clear(&fresh);
		return;
	}
	pthread_mutex_lock(&store->lock);
	slot = find(store, gateway, name);
	if (slot == NULL)
		slot = make_room(store);
	clear(slot);
	*slot = fresh;
	slot->kept = ++store->count;
	pthread_mutex_unlock(&store->lock);
}

void ticket_drop(const struct tls_context *context, const struct address *gateway, const char *name)
{
	struct ticket_store *store = context->tickets;
	struct slot *slot;

	pthread_mutex_lock(&store->lock);
	slot = find(store, gateway, name);
	if (slot != NULL)
		clear(slot);
	pthread_mutex_unlock(&store->lock);
}

/* --- edge: using it -------------------------------------------------------------------------- */

static int note_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct tls_peer *peer = SSL_get_app_data(ssl);

	if (peer == NULL)
		return 0; /* long after the handshake */
	SSL_SESSION_free(peer->ticket);
	peer->ticket = SSL_SESSION_dup(session);
	return 0; /* `session` stays OpenSSL's */
}

void ticket_collect(SSL_CTX *ssl_context)
{
	SSL_CTX_set_session_cache_mode(ssl_context,
				       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ssl_context, note_ticket);
}

static bool is_alive(const struct slot *slot)
{
	unsigned long said = SSL_SESSION_get_ticket_lifetime_hint(slot->session);
	time_t age = time(NULL) - slot->since;

	return SSL_SESSION_is_resumable(slot->session) == 1 && age >= 0 && age < TICKET_LIFETIME &&
	       (unsigned long)age < said;
}

/* Copies out what is kept, so that it can be judged without the lock. */
static bool look_up(struct ticket_store *store, const struct address *gateway, const char *name,
		    struct slot *copy)
{
	const struct slot *slot;

	memset(copy, 0, sizeof(*copy));
	pthread_mutex_lock(&store->lock);
	slot = find(store, gateway, name);
	if (slot != NULL) {
		copy->session = SSL_SESSION_dup(slot->session);
		copy->since = slot->since;
		copy->chain = slot->chain ? X509_chain_up_ref(slot->chain) : NULL;
	}
	pthread_mutex_unlock(&store->lock);
	return copy->session != NULL;
}

bool ticket_offer(const struct tls_context *context, const struct address *gateway,
		  const char *name, SSL *ssl, struct tls_peer *peer)
{
	struct slot copy;
	X509 *certificate;
	bool good;

	if (!look_up(context->tickets, gateway, name, &copy))
		return false;
	certificate = SSL_SESSION_get0_peer(copy.session);
	good = is_alive(&copy) && certificate != NULL &&
	       tls_context_judge(context, ssl, certificate, copy.chain, peer) &&
	       SSL_set_session(ssl, copy.session) == 1;
	clear(&copy);
	if (!good)
		ticket_drop(context, gateway, name);
	ERR_clear_error();
	return good;
}
