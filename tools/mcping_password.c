/* SPDX-License-Identifier: Apache-2.0 */
#include "mcping_password.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

#include "base/error.h"

/* One line from `fd`, byte by byte: nothing of it stays in a stdio buffer. */
static bool read_line(int fd, char password[PASSWORD_SIZE])
{
	size_t length = 0;
	char byte;
	ssize_t got;

	while ((got = read(fd, &byte, 1)) == 1 && byte != '\n' && length < PASSWORD_SIZE - 1)
		password[length++] = byte;
	if (length > 0 && password[length - 1] == '\r')
		length--;
	password[length] = '\0';
	if (got == 0 || length == 0)
		errno = ENODATA;
	return got >= 0 && length > 0;
}

bool password_from_file(const char *path, char password[PASSWORD_SIZE])
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read_line(fd, password);
}

static bool ask(char password[PASSWORD_SIZE])
{
	static const char prompt[] = "Remote password: ";
	cleanup_fd int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	struct termios before, silent;
	bool read;

	if (fd < 0 || tcgetattr(fd, &before) < 0) {
		errno = ENOTTY;
		return false;
	}
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(fd, TCSAFLUSH, &silent);
	if (write(fd, prompt, sizeof(prompt) - 1) < 0)
		read = false;
	else
		read = read_line(fd, password);
	tcsetattr(fd, TCSAFLUSH, &before);
	if (write(fd, "\n", 1) < 0)
		return false;
	return read;
}

bool password_get(const char *path, char password[PASSWORD_SIZE])
{
	const char *variable = getenv("MCPING_PASSWORD");

	if (path)
		return password_from_file(path, password);
	if (!variable)
		return ask(password);
	snprintf(password, PASSWORD_SIZE, "%s", variable);
	return true;
}
