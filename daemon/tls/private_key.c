/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Providers for tokens are loaded when the first key needs them; so is the engine. Neither is given
 * back: keys in use rest on them, and a token keeps a login as long as its module is there. The
 * engine has one PKCS #11 module for the whole process.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* engines, where there is no provider */
#include "tls/private_key.h"

#include "base/error.h"
#include "config/key_uri.h"
#include "tls/tpm_key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <string.h>
#include <sys/queue.h>

#define PIN_SIZE 256
#define ASK      "?pass" /* the provider tpm2 asks for a secret only then */

static EVP_PKEY *refuse(char *why, const char *text, const char *detail)
{
	unsigned long code = ERR_peek_last_error();

	if (detail == NULL)
		detail = code != 0 ? ERR_reason_error_string(code) : NULL;
	snprintf(why, PRIVATE_KEY_WHY_SIZE, "%s%s%s", text,
		 detail != NULL && *detail != '\0' ? ": " : "", detail != NULL ? detail : "");
	ERR_clear_error();
	return NULL;
}

/* --- a file ---------------------------------------------------------------------------------- */

/* A key file may ask for a pass phrase; a daemon has nobody to ask. */
static int no_pass_phrase(char *buffer, int size, int writing, void *argument)
{
	(void)buffer;
	(void)size;
	(void)writing;
	(void)argument;
	return -1;
}

static EVP_PKEY *load_file(const char *path, char *why)
{
	BIO *file = BIO_new_file(path, "r");
	EVP_PKEY *key =
		file != NULL ? PEM_read_bio_PrivateKey(file, NULL, no_pass_phrase, NULL) : NULL;

	BIO_free(file);
	return key != NULL ? key
			   : refuse(why, "no usable PEM private key without pass phrase", NULL);
}

/* --- the PIN --------------------------------------------------------------------------------- */

/* The first line of the file that pin-source names; "" without one. False: *why is set. */
static bool read_pin(const char *uri, char *pin, char *why)
{
	char path[KEY_URI_MAX];
	cleanup_fd int fd = -1;
	ssize_t got;

	*pin = '\0';
	if (key_uri_query(uri, "pin-source", path, sizeof(path)) != 0)
		return true;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	got = fd >= 0 ? read(fd, pin, PIN_SIZE - 1) : -1;
	if (got < 0) {
		(void)refuse(why, "pin-source cannot be read", strerrordesc_np(errno));
		return false;
	}
	pin[got] = '\0';
	pin[strcspn(pin, "\r\n")] = '\0';
	return true;
}

static int give_pin(char *buffer, int size, int writing, void *argument)
{
	const char *pin = argument;
	size_t length = strlen(pin);

	(void)writing;
	if (length == 0 || length >= (size_t)size)
		return -1;
	memcpy(buffer, pin, length + 1);
	return (int)length;
}

/* --- OSSL_STORE ------------------------------------------------------------------------------ */

static bool has_loader(const char *scheme)
{
	OSSL_STORE_LOADER *loader;

	ERR_set_mark();
	loader = OSSL_STORE_LOADER_fetch(NULL, scheme, NULL);
	ERR_pop_to_mark();
	OSSL_STORE_LOADER_free(loader);
	return loader != NULL;
}

/* From a provider that is configured or installed. */
static bool find_loader(const char *uri)
{
	char module[KEY_URI_MAX];

	if (has_loader("pkcs11"))
		return true;
	/* pkcs11-provider is told of its module so, unless openssl.cnf does; before it is there. */
	if (key_uri_query(uri, "module-path", module, sizeof(module)) == 0)
		(void)setenv("PKCS11_PROVIDER_MODULE", module, 0);
	ERR_set_mark();
	(void)OSSL_PROVIDER_try_load(NULL, "pkcs11", 1);
	ERR_pop_to_mark();
	return has_loader("pkcs11");
}

static EVP_PKEY *first_key(OSSL_STORE_CTX *store)
{
	EVP_PKEY *key = NULL;

	while (key == NULL && OSSL_STORE_eof(store) != 1) {
		OSSL_STORE_INFO *info = OSSL_STORE_load(store);

		if (info == NULL && OSSL_STORE_error(store) == 1)
			break;
		if (info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
			key = OSSL_STORE_INFO_get1_PKEY(info);
		OSSL_STORE_INFO_free(info);
	}
	return key;
}

static EVP_PKEY *load_by_store(const char *uri, char *pin, char *why)
{
	UI_METHOD *ui = UI_UTIL_wrap_read_pem_callback(give_pin, 0);
	char bare[KEY_URI_MAX];
	OSSL_STORE_CTX *store;
	EVP_PKEY *key;

	key_uri_bare(uri, bare, sizeof(bare) - sizeof(ASK)); /* what its query says is done */
	if (key_uri_is_tpm2(uri) && *pin != '\0')
		memcpy(bare + strlen(bare), ASK, sizeof(ASK));
	store = ui != NULL ? OSSL_STORE_open(bare, ui, pin, NULL, NULL) : NULL;
	key = store != NULL ? first_key(store) : NULL;
	(void)OSSL_STORE_close(store);
	UI_destroy_method(ui);
	return key != NULL ? key
			   : refuse(why, "no such key there, or it is not given out (PIN, rights)",
				    NULL);
}

/* --- the engine ------------------------------------------------------------------------------ */

/* One for the process. */
static struct {
	ENGINE *engine;
	char module[KEY_URI_MAX];
	bool used; /* a key has come from it: it cannot be given back */
} token;

static void stop_engine(void)
{
	if (token.engine == NULL || token.used)
		return;
	ENGINE_finish(token.engine);
	ENGINE_free(token.engine);
	token.engine = NULL;
}

/* False: *why is set. */
static bool start_engine(const char *module, char *why)
{
	ENGINE *engine;

	ENGINE_load_dynamic();
	engine = ENGINE_by_id("pkcs11");
	if (engine == NULL) {
		ERR_clear_error();
		(void)refuse(why, "nothing here reads pkcs11: keys",
			     "install pkcs11-provider, or libengine-pkcs11-openssl on Debian 12");
		return false;
	}
	/* It says on stderr what it leaves as errors, too. */
	(void)ENGINE_ctrl_cmd_string(engine, "QUIET", NULL, 0);
	if ((*module != '\0' && ENGINE_ctrl_cmd_string(engine, "MODULE_PATH", module, 0) != 1) ||
	    ENGINE_init(engine) != 1) {
		ENGINE_free(engine);
		(void)refuse(why, "the engine pkcs11 does not start", NULL);
		return false;
	}
	token.engine = engine;
	snprintf(token.module, sizeof(token.module), "%s", module);
	return true;
}

/* With the module that the URI names. False: *why is set. */
static bool have_engine(const char *uri, char *why)
{
	char module[KEY_URI_MAX] = "";

	(void)key_uri_query(uri, "module-path", module, sizeof(module));
	if (token.engine == NULL)
		return start_engine(module, why);
	if (strcmp(module, token.module) == 0)
		return true;
	(void)refuse(why, "another key has another module-path, expected one for all", "");
	return false;
}

/* A token locks itself after a few wrong PINs: the same one is not tried a second time. */
static uint8_t wrong[32];

static bool make_digest(const char *uri, const char *pin, uint8_t digest[32])
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	bool made = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
		    EVP_DigestUpdate(hash, uri, strlen(uri) + 1) == 1 &&
		    EVP_DigestUpdate(hash, pin, strlen(pin)) == 1 &&
		    EVP_DigestFinal_ex(hash, digest, NULL) == 1;

	EVP_MD_CTX_free(hash);
	return made;
}

#define NO_KEY    "no key by this URI"
#define WRONG_PIN "the PIN is wrong: see the file that pin-source names"

/* What libp11 leaves in the queue, in words that somebody can act on. */
static const char *engine_fault(void)
{
	static const struct {
		const char *reason, *text;
	} FAULTS[] = {
		{"PIN incorrect", WRONG_PIN},
		{"PIN locked", "the token has locked the PIN after too many wrong ones"},
		{"PIN invalid", WRONG_PIN},
		{"Invalid PIN length", WRONG_PIN},
		{"PIN expired", "the PIN has expired: set a new one with the token's tool"},
		{"Unable to load PKCS#11 module", "the module does not load: see module-path"},
	};
	const char *text = NULL;
	unsigned long code;

	while ((code = ERR_get_error()) != 0) {
		const char *reason = ERR_reason_error_string(code);

		for (size_t i = 0; i < ARRAY_SIZE(FAULTS) && reason != NULL && text == NULL; i++)
			if (strcasecmp(reason, FAULTS[i].reason) == 0)
				text = FAULTS[i].text;
	}
	return text != NULL ? text
			    : "no such token or key, or the PIN is missing; p11tool --list-all "
			      "shows what there is";
}

static EVP_PKEY *ask_engine(const char *bare, char *pin, char *why)
{
	/* Without it the engine would ask at the terminal. */
	UI_METHOD *ui = UI_UTIL_wrap_read_pem_callback(give_pin, 0);
	EVP_PKEY *key = ui != NULL ? ENGINE_load_private_key(token.engine, bare, ui, pin) : NULL;

	UI_destroy_method(ui);
	if (key == NULL)
		(void)refuse(why, NO_KEY, engine_fault());
	return key;
}

static EVP_PKEY *load_by_engine(const char *uri, char *pin, char *why)
{
	char bare[KEY_URI_MAX];
	uint8_t digest[32];
	EVP_PKEY *key = NULL;

	key_uri_bare(uri, bare, sizeof(bare));
	if (!make_digest(bare, pin, digest))
		return refuse(why, NO_KEY, NULL);
	if (memcmp(digest, wrong, sizeof(wrong)) == 0)
		return refuse(why, NO_KEY, WRONG_PIN);
	if (have_engine(uri, why)) {
		key = ask_engine(bare, pin, why);
		token.used = token.used || key != NULL;
		if (strstr(why, WRONG_PIN) != NULL)
			memcpy(wrong, digest, sizeof(wrong));
	}
	stop_engine();
	return key;
}

/* --- a TPM 2.0 ------------------------------------------------------------------------------- */

/*
 * Kept for good: of one handle the library of the TPM has one object, however often it is asked
 * for, and with the first key that is freed all others of that handle would be gone.
 */
struct tpm_handle {
	SLIST_ENTRY(tpm_handle) entry;
	EVP_PKEY *key;
	char uri[];
};

static SLIST_HEAD(tpm_handles, tpm_handle) handles = SLIST_HEAD_INITIALIZER(handles);

static struct tpm_handle *find_handle(const char *uri)
{
	struct tpm_handle *handle;

	SLIST_FOREACH (handle, &handles, entry)
		if (strcmp(handle->uri, uri) == 0)
			break;
	return handle;
}

static EVP_PKEY *new_handle(const char *uri, char *pin, char *why)
{
	struct tpm_handle *handle = calloc(1, sizeof(*handle) + strlen(uri) + 1);
	EVP_PKEY *key;

	if (handle == NULL)
		return refuse(why, "out of memory", "");
	tpm_key_lock();
	key = load_by_store(uri, pin, why);
	tpm_key_unlock();
	handle->key = key != NULL ? tpm_key_new(key) : NULL;
	if (key != NULL && handle->key == NULL)
		(void)refuse(why, "no key of an elliptic curve", "no other kind is taken");
	if (handle->key == NULL) {
		free(handle);
		return NULL;
	}
	memcpy(handle->uri, uri, strlen(uri) + 1);
	SLIST_INSERT_HEAD(&handles, handle, entry);
	return handle->key;
}

static EVP_PKEY *load_from_tpm(const char *uri, char *pin, char *why)
{
	struct tpm_handle *handle = find_handle(uri);
	EVP_PKEY *key;

	if (handle == NULL && !has_loader("handle") &&
	    (OSSL_PROVIDER_try_load(NULL, "tpm2", 1) == NULL || !has_loader("handle")))
		return refuse(why, "nothing here reads handle: keys",
			      "install tpm2-openssl; is there a TPM 2.0 at /dev/tpmrm0, and may "
			      "this user use it?");
	key = handle != NULL ? handle->key : new_handle(uri, pin, why);
	if (key != NULL)
		EVP_PKEY_up_ref(key);
	return key;
}

EVP_PKEY *private_key_load(const char *key, char why[PRIVATE_KEY_WHY_SIZE])
{
	char pin[PIN_SIZE];
	EVP_PKEY *loaded = NULL;

	*why = '\0';
	ERR_clear_error();
	if (!key_uri_is_token(key))
		return load_file(key, why);
	if (!read_pin(key, pin, why))
		return NULL;
	if (key_uri_is_tpm2(key))
		loaded = load_from_tpm(key, pin, why);
	else if (find_loader(key))
		loaded = load_by_store(key, pin, why);
	else
		loaded = load_by_engine(key, pin, why);
	explicit_bzero(pin, sizeof(pin));
	return loaded;
}
