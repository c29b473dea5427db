/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What peers have shown: kept once for all that have shown the same to the same context, and judged
 * anew by a context with other files. Certificates and lists are mcseal-pki's.
 */
#include "tls/peer_chain.h"

#include "tls_fixture.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

static struct peer_chain_store *store;

static X509 *read_certificate(const char *name)
{
	char path[128];
	FILE *file = fopen(papers_path(path, sizeof(path), name), "r");
	X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);

	fclose(file);
	assert_non_null(certificate);
	return certificate;
}

/* Of a gateway, with a CA and a list of the folder of papers. */
static struct tls_context *gateway(const char *ca, const char *crl)
{
	char certificate[128], key[128], anchors[128], list[128];
	struct config_credentials files = {
		.certificate = certificate, .key = key, .ca = anchors, .crl = list};
	struct tls_context *made = NULL;

	papers_path(certificate, sizeof(certificate), "issued/gw.pem");
	papers_path(key, sizeof(key), "issued/gw.key");
	papers_path(anchors, sizeof(anchors), ca);
	papers_path(list, sizeof(list), crl);
	assert_int_equal(tls_context_new(&papers_config, &files, TLS_ROLE_GATEWAY,
					 "gateway \"plant\"", stderr, &made),
			 0);
	return made;
}

static int make_more_papers(void **state)
{
	int made = make_papers(state);

	/* Another CA, and the first one's list once it has revoked: a copy, the rest is shared. */
	return made != 0 ? made
			 : papers_shell("cp -r a c && $P -d c revoke office && cp c/crl.pem "
					"a/revoked.pem && $P init d && cp d/ca.pem a/other.pem && "
					"cp d/crl.pem a/other-crl.pem");
}

static int set_up(void **state)
{
	(void)state;
	store = peer_chain_store_new();
	return store == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	peer_chain_store_free(store);
	return 0;
}

static struct peer_chain *keep_office(const struct tls_context *context)
{
	X509 *office = read_certificate("issued/office.pem");
	struct peer_chain *chain = peer_chain_keep(store, context, office, NULL);

	assert_non_null(chain);
	X509_free(office);
	return chain;
}

static void the_same_is_kept_once(void **state)
{
	struct tls_context *context = gateway("ca.pem", "crl.pem");
	struct tls_context *again = gateway("ca.pem", "crl.pem");
	struct tls_context *other = papers_context(TLS_ROLE_GATEWAY, "gw");
	struct peer_chain *first = keep_office(context), *second = keep_office(again);
	struct peer_chain *third = keep_office(other);

	(void)state;
	assert_ptr_equal(first, second); /* of one name: before and after a reload */
	assert_ptr_not_equal(first, third);
	assert_string_equal(peer_chain_context(first), "gateway \"plant\"");
	assert_string_equal(peer_chain_context(third), "test");
	peer_chain_release(first);
	peer_chain_release(third);
	/* One reference is left, and it is whole. */
	first = keep_office(context);
	assert_ptr_equal(first, second);
	peer_chain_release(first);
	peer_chain_release(second);
	peer_chain_release(NULL);
	tls_context_free(context);
	tls_context_free(again);
	tls_context_free(other);
}

static enum peer_standing standing(const char *ca, const char *crl, struct peer_review *review)
{
	struct tls_context *then = gateway("ca.pem", "crl.pem"), *now = gateway(ca, crl);
	struct peer_chain *chain = keep_office(then);

	peer_chain_review(chain, now, review);
	peer_chain_release(chain);
	tls_context_free(then);
	tls_context_free(now);
	return review->standing;
}

static void judged_by_the_new_files(void **state)
{
	struct peer_review review;

	(void)state;
	assert_int_equal(standing("ca.pem", "crl.pem", &review), PEER_GOOD);
	assert_ptr_equal(review.identity, &papers_identity);
	assert_int_equal(standing("ca.pem", "revoked.pem", &review), PEER_REVOKED);
	assert_null(review.identity);
	assert_string_equal(review.why, "certificate revoked");
	assert_int_equal(standing("other.pem", "other-crl.pem", &review), PEER_UNTRUSTED);
	assert_non_null(review.why);
	/* There is no list of its CA: new ones are refused for that, it is not. */
	assert_int_equal(standing("ca.pem", "other-crl.pem", &review), PEER_GOOD);
	assert_int_equal(ERR_peek_error(), 0);
}

static void verified_once_for_a_context(void **state)
{
	struct tls_context *context = gateway("ca.pem", "crl.pem");
	struct tls_context *revoked = gateway("ca.pem", "revoked.pem");
	struct peer_chain *chain = keep_office(context);
	struct peer_review review;

	(void)state;
	peer_chain_review(chain, context, &review);
	assert_int_equal(review.standing, PEER_GOOD);
	/* Nothing is asked of the files again: the answer is there. */
	X509_STORE_set_flags(SSL_CTX_get_cert_store(context->ssl_context), X509_V_FLAG_CRL_CHECK);
	SSL_CTX_set_cert_store(context->ssl_context, X509_STORE_new());
	peer_chain_review(chain, context, &review);
	assert_int_equal(review.standing, PEER_GOOD);
	/* Another context is another question, and then the first is asked anew. */
	peer_chain_review(chain, revoked, &review);
	assert_int_equal(review.standing, PEER_REVOKED);
	peer_chain_review(chain, context, &review);
	assert_int_equal(review.standing, PEER_UNTRUSTED);
	peer_chain_release(chain);
	tls_context_free(context);
	tls_context_free(revoked);
}

static const struct tls_context *only_plant(const void *from, const char *name)
{
	return strcmp(name, "gateway \"plant\"") == 0 ? from : NULL;
}

static void all_at_once(void **state)
{
	struct tls_context *context = gateway("ca.pem", "crl.pem");
	struct tls_context *revoked = gateway("ca.pem", "revoked.pem");
	struct tls_context *other = papers_context(TLS_ROLE_GATEWAY, "gw");
	struct peer_chain *chain = keep_office(context), *elsewhere = keep_office(other);
	struct peer_review review;

	(void)state;
	peer_chain_store_review(store, only_plant, revoked);
	/* The answer is kept: the files it came from are no longer there. */
	SSL_CTX_set_cert_store(revoked->ssl_context, X509_STORE_new());
	peer_chain_review(chain, revoked, &review);
	assert_int_equal(review.standing, PEER_REVOKED);
	peer_chain_release(chain);
	peer_chain_release(elsewhere);
	tls_context_free(context);
	tls_context_free(revoked);
	tls_context_free(other);
}

/* What does not fit is left out, and the peer's own certificate is never among that. */
static void much_is_not_kept(void **state)
{
	struct tls_context *context = gateway("ca.pem", "crl.pem");
	X509 *office = read_certificate("issued/office.pem"), *other = read_certificate("ca.pem");
	STACK_OF(X509) *many = sk_X509_new_null();
	struct peer_chain *chain, *same;
	struct peer_review review;

	(void)state;
	for (int i = 0; i < 200; i++)
		assert_true(sk_X509_push(many, other) > 0);
	chain = peer_chain_keep(store, context, office, many);
	assert_true(sk_X509_push(many, other) > 0);
	same = peer_chain_keep(store, context, office, many);
	assert_ptr_equal(chain, same);
	peer_chain_review(chain, context, &review);
	assert_int_equal(review.standing, PEER_GOOD);
	peer_chain_release(chain);
	peer_chain_release(same);
	sk_X509_free(many);
	X509_free(office);
	X509_free(other);
	tls_context_free(context);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_same_is_kept_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(judged_by_the_new_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(verified_once_for_a_context, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(much_is_not_kept, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, make_more_papers, remove_papers);
}
