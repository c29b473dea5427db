/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verdicts that are remembered: for the same bytes and expectations, as long as what they rest on
 * lasts, and for nothing else. Chains are verified by OpenSSL; the clock is the test's.
 */
#include "tls/tls_context.h"
#include "tls/verdict.h"

#include "tls_fixture.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#define HOUR 3600
#define DAY  (24 * HOUR)

static struct desk {
	struct tls_context *context; /* its trust anchor and list */
	struct verdict_store *verdicts;
	X509 *office, *gateway, *authority;
	X509_STORE_CTX *store;
	STACK_OF(X509) * chain;
} desk;

static X509 *read_certificate(const char *name)
{
	char path[128];
	FILE *file = fopen(papers_path(path, sizeof(path), name), "r");
	X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);

	fclose(file);
	assert_non_null(certificate);
	return certificate;
}

static int set_up(void **state)
{
	(void)state;
	desk.context = papers_context(TLS_ROLE_GATEWAY, "gw");
	desk.verdicts = verdict_store_new();
	desk.office = read_certificate("issued/office.pem");
	desk.gateway = read_certificate("issued/gw.pem");
	desk.authority = read_certificate("ca.pem");
	desk.store = X509_STORE_CTX_new();
	desk.chain = sk_X509_new_null();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	X509_STORE_CTX_free(desk.store);
	sk_X509_free(desk.chain);
	X509_free(desk.office);
	X509_free(desk.gateway);
	X509_free(desk.authority);
	verdict_store_free(desk.verdicts);
	tls_context_free(desk.context);
	return 0;
}

/* Ready to be verified, as in a handshake. */
static struct verdict present(X509 *certificate, X509 *above, const char *host)
{
	struct verdict verdict;

	X509_STORE_CTX_cleanup(desk.store);
	sk_X509_zero(desk.chain);
	if (above != NULL)
		assert_int_equal(sk_X509_push(desk.chain, above), 1);
	assert_int_equal(X509_STORE_CTX_init(desk.store,
					     SSL_CTX_get_cert_store(desk.context->ssl_context),
					     certificate, above ? desk.chain : NULL),
			 1);
	if (host != NULL)
		X509_VERIFY_PARAM_set1_host(X509_STORE_CTX_get0_param(desk.store), host, 0);
	assert_true(verdict_of(desk.store, &verdict));
	assert_int_equal(ERR_peek_error(), 0);
	return verdict;
}

static bool known(const struct verdict *verdict, time_t now)
{
	return verdict_is_good(desk.verdicts, verdict, now);
}

static struct verdict keep_office(time_t now)
{
	struct verdict office = present(desk.office, desk.authority, NULL);

	assert_int_equal(X509_verify_cert(desk.store), 1);
	verdict_keep(desk.verdicts, &office, desk.store, now);
	return office;
}

static void kept_for_an_hour_at_most(void **state)
{
	time_t now = time(NULL);
	struct verdict office = present(desk.office, desk.authority, NULL);

	(void)state;
	assert_false(known(&office, now));
	office = keep_office(now);
	assert_true(known(&office, now));
	assert_true(known(&office, now + HOUR - 1));
	assert_false(known(&office, now + HOUR));
	/* The clock was put back: nothing is known of that time. */
	assert_false(known(&office, now - 1));
}

static void same_bytes_same_verdict(void **state)
{
	time_t now = time(NULL);
	struct verdict again, office = keep_office(now);
	X509 *copy = read_certificate("issued/office.pem");

	(void)state;
	again = present(copy, desk.authority, NULL);
	assert_memory_equal(&office, &again, sizeof(office));
	assert_true(known(&again, now));
	X509_free(copy);
}

/* The same but for one bit of its signature. */
static X509 *alter(const X509 *certificate)
{
	unsigned char *bytes = NULL;
	int size = i2d_X509(certificate, &bytes);
	const unsigned char *at = bytes;
	X509 *altered;

	assert_true(size > 0);
	bytes[size - 1] ^= 1;
	altered = d2i_X509(NULL, &at, size);
	assert_non_null(altered);
	OPENSSL_free(bytes);
	return altered;
}

static void anything_else_is_unknown(void **state)
{
	time_t now = time(NULL);
	struct verdict other;
	X509 *forged;

	(void)state;
	(void)keep_office(now);
	other = present(desk.office, NULL, NULL);
	assert_false(known(&other, now));
	other = present(desk.office, desk.gateway, NULL);
	assert_false(known(&other, now));
	other = present(desk.gateway, desk.authority, NULL);
	assert_false(known(&other, now));
	other = present(desk.office, desk.authority, "gw.example");
	assert_false(known(&other, now));
	forged = alter(desk.office);
	other = present(forged, desk.authority, NULL);
	assert_false(known(&other, now));
	X509_free(forged);
}

static time_t when(const ASN1_TIME *end)
{
	struct tm utc;

	assert_int_equal(ASN1_TIME_to_tm(end, &utc), 1);
	return timegm(&utc);
}

/* The list ends before the certificates do, and both end some time. */
static void ends_with_what_it_rests_on(void **state)
{
	X509_STORE *store = SSL_CTX_get_cert_store(desk.context->ssl_context);
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
	time_t certificate = when(X509_get0_notAfter(desk.office)), list = 0;
	struct verdict office;

	(void)state;
	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		X509_CRL *found = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i));

		if (found != NULL)
			list = when(X509_CRL_get0_nextUpdate(found));
	}
	assert_true(list > 0 && list < certificate);
	office = keep_office(list - 10);
	assert_true(known(&office, list - 1));
	assert_false(known(&office, list));
	/* Long past: kept, but good for no moment. */
	office = keep_office(certificate + DAY);
	assert_false(known(&office, certificate + DAY));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kept_for_an_hour_at_most, set_up, tear_down),
		cmocka_unit_test_setup_teardown(same_bytes_same_verdict, set_up, tear_down),
		cmocka_unit_test_setup_teardown(anything_else_is_unknown, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ends_with_what_it_rests_on, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("verdict", tests, make_papers, remove_papers);
}
