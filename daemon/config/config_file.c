/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option types that are paths of certificates, keys, CAs, CRLs, passwords and logs. The files
 * are looked at from outside (there, regular, readable, who else may touch them); what is in them
 * is judged by tls/. Only regular files are ever opened: opening a device or a FIFO can do things.
 */
#include "base/error.h"
#include "base/file_access.h"
#include "config/config_value.h"
#include "config/key_uri.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_SIZE_MAX       (1 << 20)
#define CA_CERTIFICATES_MAX 20 /* nobody has more anchors of his own; a system's bundle has 140 */

/* Where systems keep the CAs of the public web. */
static const char *const system_folders[] = {
	"/etc/ssl/certs/", "/usr/share/ca-certificates/", "/etc/ca-certificates/", "/etc/pki/",
	"/usr/lib/ssl/",
};

static int fault(const struct config_place *place, const char *path, const char *text)
{
	config_report_error(place->report, place->line, "%s: %s %s", place->option->name, path,
			    text);
	return 1;
}

/* What it should be. */
static const char *kind(const struct config_place *place)
{
	return place->option->type == &config_type_secret ? "file" : "PEM file";
}

/* A descriptor, or -1 when the fault has been reported. */
static int open_regular(const struct config_place *place, const char *path, struct stat *status)
{
	cleanup_fd int fd = -1;

	if (path[0] != '/') {
		fault(place, path, "is a relative path, expected one from the root: /...");
		return -1;
	}
	if (stat(path, status) == 0 && !S_ISREG(status->st_mode)) {
		config_report_error(place->report, place->line,
				    "%s: %s is not a regular file, expected a %s",
				    place->option->name, path, kind(place));
		return -1;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, status) < 0) {
		config_report_error(place->report, place->line,
				    "%s: cannot read %s (%s), expected a readable %s",
				    place->option->name, path, file_denial(path, false, -errno),
				    kind(place));
		return -1;
	}
	if (!S_ISREG(status->st_mode) || status->st_size > FILE_SIZE_MAX) {
		config_report_error(place->report, place->line,
				    "%s: %s is no %s of at most 1 MiB, expected one",
				    place->option->name, path, kind(place));
		return -1;
	}
	return steal_fd(&fd);
}

/* Whoever may write a certificate or a CA decides who is trusted. */
static void warn_writable(const struct config_place *place, const char *path,
			  const struct stat *status)
{
	if (status->st_mode & S_IWOTH)
		config_report_warning(place->report, place->line,
				      "%s: %s can be written by everybody (mode %04o), expected "
				      "0644 or less",
				      place->option->name, path, status->st_mode & 07777);
}

static int look_at_public(const struct config_place *place, const char *path, void *value)
{
	struct stat status;
	cleanup_fd int fd = open_regular(place, path, &status);

	if (fd < 0)
		return 1;
	warn_writable(place, path, &status);
	return config_value_copy(path, value);
}

static int look_at_key(const struct config_place *place, const char *path, void *value)
{
	struct stat status;
	cleanup_fd int fd = open_regular(place, path, &status);

	if (fd < 0)
		return 1;
	if (status.st_mode & (S_IRWXG | S_IRWXO)) {
		config_report_error(place->report, place->line,
				    "%s: %s is open to group or others (mode %04o), expected 0600 "
				    "or 0400",
				    place->option->name, path, status.st_mode & 07777);
		return 1;
	}
	return config_value_copy(path, value);
}

/* A file that somebody else will read. */
static int look_at_secret(const struct config_place *place, const char *path)
{
	char *unused = NULL;
	int error = look_at_key(place, path, (void *)&unused);

	free(unused);
	return error;
}

/* What a token's URI names besides the key: the file of the PIN, and the token's module. */
static int look_at_query(const struct config_place *place, const char *uri)
{
	char path[KEY_URI_MAX];
	int error;

	if (key_uri_query(uri, "pin-value", path, sizeof(path)) != -ENOENT)
		return fault(place, "has its PIN in pin-value",
			     "where everybody reads it, expected pin-source=file:/...");
	error = key_uri_query(uri, "pin-source", path, sizeof(path));
	if (error == -EINVAL)
		return fault(place, "pin-source", "is no path, expected file:/...");
	if (error == 0)
		error = look_at_secret(place, path);
	if (error != 0 && error != -ENOENT)
		return error;
	error = key_uri_query(uri, "module-path", path, sizeof(path));
	if (error == -EINVAL || (error == 0 && access(path, R_OK) < 0))
		return fault(place, error == 0 ? path : "module-path",
			     "cannot be read, expected the token's PKCS #11 module: is its package "
			     "installed?");
	return 0;
}

static int read_key_uri(const struct config_place *place, const char *uri, void *value)
{
	int error = place->report->alone ? 0 : look_at_query(place, uri);

	return error != 0 ? error : config_value_copy(uri, value);
}

/* "-----BEGIN CERTIFICATE-----" and what else OpenSSL takes: "TRUSTED ...", "X509 ...". */
static bool is_certificate(const char *title)
{
	size_t length = strcspn(title, "-\n");

	return length >= strlen("CERTIFICATE") &&
	       strncmp(title + length - strlen("CERTIFICATE"), "CERTIFICATE",
		       strlen("CERTIFICATE")) == 0;
}

static int read_all(int fd, char *text, size_t size)
{
	size_t used = 0;

	while (used < size) {
		ssize_t got = read(fd, text + used, size - used);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0)
			break;
		if (got > 0)
			used += (size_t)got;
	}
	text[used] = '\0';
	return 0;
}

/* The number of certificates in a PEM file of `size` bytes, or -errno. */
static int count_certificates(int fd, size_t size)
{
	static const char mark[] = "-----BEGIN ";
	char *text = malloc(size + 1);
	int count = text ? read_all(fd, text, size) : -ENOMEM;

	for (const char *at = count == 0 ? strstr(text, mark) : NULL; at; at = strstr(at, mark)) {
		at += strlen(mark);
		count += is_certificate(at);
	}
	free(text);
	return count;
}

static bool in_system_folder(const char *path)
{
	char real[PATH_MAX];

	if (!realpath(path, real))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(system_folders); i++) {
		if (strncmp(real, system_folders[i], strlen(system_folders[i])) == 0)
			return true;
	}
	return false;
}

static int look_at_ca(const struct config_place *place, const char *path, void *value)
{
	struct stat status;
	cleanup_fd int fd = open_regular(place, path, &status);
	int count;

	if (fd < 0)
		return 1;
	if (in_system_folder(path))
		return fault(place, path,
			     "belongs to the system's CAs: everybody can buy a certificate there, "
			     "expected a CA of your own");
	count = count_certificates(fd, (size_t)status.st_size);
	if (count == -ENOMEM)
		return count;
	if (count < 0)
		return fault(place, path, "cannot be read, expected a PEM file");
	if (count > CA_CERTIFICATES_MAX)
		return fault(place, path,
			     "holds more than 20 certificates, as a system's bundle does, "
			     "expected a CA of your own");
	if (count == 0)
		return fault(place, path, "holds no certificate, expected PEM");
	warn_writable(place, path, &status);
	return config_value_copy(path, value);
}

/* The paths alone: the files may be on another machine. */
static int read_unseen(const struct config_place *place, const char *path, void *value)
{
	if (path[0] != '/')
		return fault(place, path, "is a relative path, expected one from the root: /...");
	return config_value_copy(path, value);
}

static int read_public(const struct config_place *place, const char *path, void *value)
{
	return place->report->alone ? read_unseen(place, path, value)
				    : look_at_public(place, path, value);
}

static int read_secret(const struct config_place *place, const char *path, void *value)
{
	return place->report->alone ? read_unseen(place, path, value)
				    : look_at_key(place, path, value);
}

static int read_key(const struct config_place *place, const char *path, void *value)
{
	if (key_uri_is_token(path))
		return read_key_uri(place, path, value);
	if (key_uri_path(path) != NULL)
		path = key_uri_path(path);
	return place->report->alone ? read_unseen(place, path, value)
				    : look_at_key(place, path, value);
}

static int read_ca(const struct config_place *place, const char *path, void *value)
{
	return place->report->alone ? read_unseen(place, path, value)
				    : look_at_ca(place, path, value);
}

#define PATH_TYPE(reader)                                                                          \
	{                                                                                          \
		.expected = "the path of a PEM file", .size = sizeof(char *), .read = (reader),    \
		.print = config_value_print_text, .release = config_value_free_text,               \
		.present = config_value_has_text,                                                  \
	}

const struct config_type config_type_certificate = PATH_TYPE(read_public);
const struct config_type config_type_key = PATH_TYPE(read_key);
const struct config_type config_type_ca = PATH_TYPE(read_ca);
const struct config_type config_type_crl = PATH_TYPE(read_public);

/* What is in it is read when it is used. */
const struct config_type config_type_secret = {
	.expected = "the path of a file with the password",
	.size = sizeof(char *),
	.read = read_secret,
	.print = config_value_print_text,
	.release = config_value_free_text,
	.present = config_value_has_text,
};

/* A disk may come later, and what happens until then is the configuration's choice: a warning. */
static int look_at_log(const struct config_place *place, const char *path, void *value)
{
	struct stat status;
	int error = file_try_write(path);

	if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
		return fault(place, path, "is not a regular file, expected one, or none yet");
	if (error < 0)
		config_report_warning(place->report, place->line,
				      "%s: %s cannot be written now (%s), expected a file, or the "
				      "folder for one, that this user may write",
				      place->option->name, path, strerror(-error));
	return config_value_copy(path, value);
}

static int read_log(const struct config_place *place, const char *path, void *value)
{
	if (path[0] != '/' || path[1] == '\0')
		return fault(place, path, "is no path from the root, expected one: /...");
	return place->report->alone ? config_value_copy(path, value)
				    : look_at_log(place, path, value);
}

const struct config_type config_type_log = {
	.expected = "the path of a file",
	.size = sizeof(char *),
	.read = read_log,
	.print = config_value_print_text,
	.release = config_value_free_text,
	.present = config_value_has_text,
};

static int read_folder(const struct config_place *place, const char *path, void *value)
{
	struct stat status;

	if (path[0] != '/')
		return fault(place, path, "is a relative path, expected one from the root: /...");
	if (!place->report->alone && (stat(path, &status) < 0 || !S_ISDIR(status.st_mode)))
		return fault(place, path, "is no folder of this machine, expected one");
	return config_value_copy(path, value);
}

const struct config_type config_type_folder = {
	.expected = "the path of a folder",
	.size = sizeof(char *),
	.read = read_folder,
	.print = config_value_print_text,
	.release = config_value_free_text,
	.present = config_value_has_text,
};
