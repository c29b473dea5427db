/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/plc_password.h"

#include "base/error.h"
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { COMMAND_UNLOCK = 0x1630 };

struct plc_password {
	uint8_t size;
	char text[PLC_PASSWORD_MAX + 2]; /* while it is read: a line's end and what is too much */
};

_Static_assert(sizeof(struct plc_password) <= SECRET_SIZE, "a piece of secret memory holds it");

static int judge(struct plc_password *password, size_t got)
{
	size_t size = 0;

	while (size < got && password->text[size] != '\n' && password->text[size] != '\r')
		size++;
	if (size == 0 || size > PLC_PASSWORD_MAX)
		return -EINVAL;
	for (size_t i = 0; i < size; i++)
		if (password->text[i] < ' ' || password->text[i] > '~')
			return -EINVAL;
	password->size = (uint8_t)size;
	return 0;
}

int plc_password_load(const char *path, struct plc_password **out)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct plc_password *password;
	ssize_t got;
	int error;

	if (fd < 0)
		return -errno;
	password = secret_new();
	if (password == NULL)
		return -ENOMEM;
	/* Not through stdio, whose buffer would keep it. */
	got = read(fd, password->text, sizeof(password->text));
	error = got < 0 ? -errno : judge(password, (size_t)got);
	if (error < 0)
		secret_free(password);
	else
		*out = password;
	return error;
}

void plc_password_free(struct plc_password *password)
{
	secret_free(password);
}

size_t plc_password_request(const struct plc_password *password, const struct mc_request *first,
			    uint8_t *out)
{
	uint8_t data[4 + PLC_PASSWORD_MAX];
	size_t head = first->code == MC_CODE_ASCII ? 4 : 2, size;
	char digits[5];
	struct mc_request request = {
		.family = first->family == MC_FAMILY_1E ? MC_FAMILY_3E : first->family,
		.code = first->code,
		.route = MC_ROUTE_OWN,
		.timer = first->family == MC_FAMILY_1E ? 0 : first->timer,
		.command = COMMAND_UNLOCK,
		.data = data,
		.data_size = head + password->size,
	};

	memset(request.serial, first->code == MC_CODE_ASCII ? '0' : 0, sizeof(request.serial));
	snprintf(digits, sizeof(digits), "%04X", password->size);
	if (first->code == MC_CODE_ASCII)
		memcpy(data, digits, head);
	else
		memcpy(data, (uint8_t[]){password->size, 0}, head);
	memcpy(data + head, password->text, password->size);
	size = mc_frame_put_request(&request, out, PLC_PASSWORD_REQUEST_SIZE);
	explicit_bzero(data, sizeof(data));
	return size;
}
