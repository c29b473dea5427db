/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Both ends remember sessions: the edge by gateway, the gateway by the random name that is all
 * there is in a ticket. OpenSSL could seal the session itself into it; but then the edge's
 * certificate comes along each time, and taking it apart costs more than all the rest of a
 * resumed handshake's cryptography but the key exchange.
 *
 * What is remembered are copies (SSL_SESSION_dup): OpenSSL marks the session of a connection that
 * is freed without a closing handshake as not to be resumed, and ours always are. Each handshake
 * gets a copy of its own for the same reason, and because threads share the store.
 *
 * A session knows the peer's certificate, not the intermediates that came with it: they are kept
 * beside it.
 */
#include "tls/ticket.h"

#include "base/error.h"
#include "tls/tls_context.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct kept {
	SSL_SESSION *session;
	STACK_OF(X509) * chain; /* as the peer sent it; NULL: nothing besides its own */
	uint64_t order;         /* by count: the smallest is the oldest */
	time_t since;
};

struct slot {
	struct address gateway; /* edge */
	char *name;             /* edge; NULL: the address is what the certificate must name */
	uint64_t id;            /* gateway: the beginning of the session's */
	struct kept kept;
};

struct ticket_store {
	pthread_mutex_t lock;
	uint64_t count;
	size_t size;
	struct slot slots[];
};

/* --- the store ------------------------------------------------------------------------------- */

struct ticket_store *ticket_store_new(size_t size)
{
	struct ticket_store *store = calloc(1, sizeof(*store) + size * sizeof(store->slots[0]));

	if (store == NULL)
		return NULL;
	pthread_mutex_init(&store->lock, NULL);
	store->size = size;
	return store;
}

static void clear(struct slot *slot)
{
	free(slot->name);
	SSL_SESSION_free(slot->kept.session);
	sk_X509_pop_free(slot->kept.chain, X509_free);
	memset(slot, 0, sizeof(*slot));
}

void ticket_store_free(struct ticket_store *store)
{
	if (store == NULL)
		return;
	for (size_t i = 0; i < store->size; i++)
		clear(&store->slots[i]);
	pthread_mutex_destroy(&store->lock);
	free(store);
}

/* An empty one, else the one kept longest. */
static struct slot *make_room(struct ticket_store *store)
{
	struct slot *oldest = &store->slots[0];

	for (size_t i = 1; i < store->size; i++)
		if (store->slots[i].kept.order < oldest->kept.order)
			oldest = &store->slots[i];
	return oldest;
}

/* Under the lock. What `fresh` holds is the store's now; `slot` NULL: wherever there is room. */
static void put(struct ticket_store *store, struct slot *slot, const struct slot *fresh)
{
	if (slot == NULL)
		slot = make_room(store);
	clear(slot);
	*slot = *fresh;
	slot->kept.order = ++store->count;
}

static STACK_OF(X509) * references(STACK_OF(X509) * chain)
{
	return chain != NULL ? X509_chain_up_ref(chain) : NULL;
}

/* Under the lock; so that it can be judged without. False: no memory. */
static bool copy_out(const struct kept *kept, struct slot *copy)
{
	copy->kept = (struct kept){.session = SSL_SESSION_dup(kept->session),
				   .chain = references(kept->chain),
				   .since = kept->since};
	if (copy->kept.session == NULL)
		clear(copy);
	return copy->kept.session != NULL;
}

/* --- gateway --------------------------------------------------------------------------------- */

/* The first bytes will do to look for it: they are as random as the others. */
static uint64_t beginning(const unsigned char *id, size_t size)
{
	uint64_t begin = 0;

	memcpy(&begin, id, size < sizeof(begin) ? size : sizeof(begin));
	return begin;
}

static bool is_called(const SSL_SESSION *session, const unsigned char *id, unsigned int id_size)
{
	unsigned int size;
	const unsigned char *mine = SSL_SESSION_get_id(session, &size);

	return size > 0 && size == id_size && CRYPTO_memcmp(mine, id, size) == 0;
}

/* Before the ticket goes out. It cannot be held back here: without memory it is void. */
static int remember(SSL *ssl, void *argument)
{
	const struct tls_context *context = argument;
	struct slot fresh = {.kept = {.session = SSL_SESSION_dup(SSL_get_session(ssl)),
				      .chain = references(SSL_get_peer_cert_chain(ssl)),
				      .since = time(NULL)}};
	const unsigned char *id;
	unsigned int size;

	if (fresh.kept.session == NULL) {
		clear(&fresh);
		return 1;
	}
	id = SSL_SESSION_get_id(fresh.kept.session, &size);
	fresh.id = beginning(id, size);
	pthread_mutex_lock(&context->tickets->lock);
	put(context->tickets, NULL, &fresh);
	pthread_mutex_unlock(&context->tickets->lock);
	return 1;
}

static bool recall(struct ticket_store *store, const unsigned char *id, unsigned int size,
		   struct slot *copy)
{
	uint64_t begin = beginning(id, size);
	bool found = false;

	pthread_mutex_lock(&store->lock);
	for (size_t i = 0; i < store->size && !found; i++) {
		const struct slot *slot = &store->slots[i];

		if (slot->id == begin && slot->kept.session != NULL &&
		    is_called(slot->kept.session, id, size))
			found = copy_out(&slot->kept, copy);
	}
	pthread_mutex_unlock(&store->lock);
	return found;
}

/* A ticket of ours came back. NULL: a full handshake is due, and a new ticket after it. */
static SSL_SESSION *find_session(SSL *ssl, const unsigned char *id, int size, int *up_ref)
{
	const struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct tls_peer *peer = SSL_get_app_data(ssl);
	long lifetime = SSL_CTX_get_timeout(SSL_get_SSL_CTX(ssl));
	SSL_SESSION *session = NULL;
	struct slot copy = {.id = 0};
	X509 *certificate;
	time_t age;

	*up_ref = 0;
	if (!peer->edge || !recall(context->tickets, id, (unsigned int)size, &copy))
		return NULL;
	certificate = SSL_SESSION_get0_peer(copy.kept.session);
	age = time(NULL) - copy.kept.since;
	if (age >= 0 && age < lifetime && certificate != NULL &&
	    tls_context_judge(context, ssl, certificate, copy.kept.chain, peer)) {
		session = copy.kept.session;
		copy.kept.session = NULL;
	}
	clear(&copy);
	return session;
}

void ticket_accept(SSL_CTX *ssl_context, struct tls_context *context)
{
	static const unsigned char id[] = "mcseal";

	/* Without an id context OpenSSL refuses to resume where client certificates are asked for.
	 */
	SSL_CTX_set_session_id_context(ssl_context, id, sizeof(id) - 1);
	SSL_CTX_set_timeout(ssl_context, TICKET_LIFETIME);
	SSL_CTX_set_session_cache_mode(ssl_context, SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_set_app_data(ssl_context, context);
	SSL_CTX_set_session_ticket_cb(ssl_context, remember, NULL, context);
	SSL_CTX_sess_set_get_cb(ssl_context, find_session);
}

void ticket_promise(SSL *ssl)
{
	SSL_set_num_tickets(ssl, 1);
}

/* --- edge: which session ---------------------------------------------------------------------- */

static bool is_of(const struct slot *slot, const struct address *gateway, const char *name)
{
	if (slot->kept.session == NULL || !address_equal(&slot->gateway, gateway))
		return false;
	if (slot->name == NULL || name == NULL)
		return slot->name == name;
	return strcmp(slot->name, name) == 0;
}

static struct slot *find(struct ticket_store *store, const struct address *gateway,
			 const char *name)
{
	for (size_t i = 0; i < store->size; i++)
		if (is_of(&store->slots[i], gateway, name))
			return &store->slots[i];
	return NULL;
}

void ticket_keep(const struct tls_context *context, const struct address *gateway, const char *name,
		 const SSL *ssl, SSL_SESSION *session)
{
	struct ticket_store *store = context->tickets;
	struct slot fresh = {
		.gateway = *gateway,
		.name = name ? strdup(name) : NULL,
		.kept = {.session = SSL_SESSION_up_ref(session) == 1 ? session : NULL,
			 .chain = references(SSL_get_peer_cert_chain(ssl)),
			 .since = time(NULL)},
	};

	/* Without memory the next handshake is a full one. */
	if (fresh.kept.session == NULL || (name != NULL && fresh.name == NULL)) {
		clear(&fresh);
		return;
	}
	pthread_mutex_lock(&store->lock);
	put(store, find(store, gateway, name), &fresh);
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

static bool is_alive(const struct kept *kept)
{
	unsigned long said = SSL_SESSION_get_ticket_lifetime_hint(kept->session);
	time_t age = time(NULL) - kept->since;

	return SSL_SESSION_is_resumable(kept->session) == 1 && age >= 0 && age < TICKET_LIFETIME &&
	       (unsigned long)age < said;
}

static bool look_up(struct ticket_store *store, const struct address *gateway, const char *name,
		    struct slot *copy)
{
	const struct slot *slot;
	bool found;

	pthread_mutex_lock(&store->lock);
	slot = find(store, gateway, name);
	found = slot != NULL && copy_out(&slot->kept, copy);
	pthread_mutex_unlock(&store->lock);
	return found;
}

bool ticket_offer(const struct tls_context *context, const struct address *gateway,
		  const char *name, SSL *ssl, struct tls_peer *peer)
{
	struct slot copy = {.id = 0};
	X509 *certificate;
	bool good;

	if (!look_up(context->tickets, gateway, name, &copy))
		return false;
	certificate = SSL_SESSION_get0_peer(copy.kept.session);
	good = is_alive(&copy.kept) && certificate != NULL &&
	       tls_context_judge(context, ssl, certificate, copy.kept.chain, peer) &&
	       SSL_set_session(ssl, copy.kept.session) == 1;
	clear(&copy);
	if (!good)
		ticket_drop(context, gateway, name);
	ERR_clear_error();
	return good;
}
