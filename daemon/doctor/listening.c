/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/listening.h"

#include "base/error.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define STATE_LISTEN 0x0a /* TCP_LISTEN, net/tcp_states.h */

/* As the kernel prints it: words of 32 bits in the byte order of this machine. */
static bool parse_host(const char *text, struct address *address)
{
	size_t words = strlen(text) / 8;
	uint32_t parts[4] = {0};
	char word[9] = "";

	for (size_t i = 0; i < words && i < ARRAY_SIZE(parts); i++) {
		memcpy(word, text + 8 * i, 8);
		parts[i] = (uint32_t)strtoul(word, NULL, 16);
	}
	if (words == 1) {
		address->v4 = (struct sockaddr_in){.sin_family = AF_INET};
		memcpy(&address->v4.sin_addr, parts, 4);
	} else if (words == 4) {
		address->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
		memcpy(&address->v6.sin6_addr, parts, 16);
	}
	return words == 1 || words == 4;
}

static bool is_any(const struct address *address)
{
	static const struct in6_addr any = IN6ADDR_ANY_INIT;

	return address->any.sa_family == AF_INET6
		       ? memcmp(&address->v6.sin6_addr, &any, sizeof(any)) == 0
		       : address->v4.sin_addr.s_addr == 0;
}

static bool in_the_way(const struct address *there, const struct address *address)
{
	/* Whether :: takes IPv4, too, is not told; mcseald's own listeners do not. */
	if (there->any.sa_family != address->any.sa_family)
		return false;
	return is_any(there) || is_any(address) || address_same_host(there, address);
}

/* The inode of such a listener in a line of the table; 0: it is none. */
static unsigned long inode_of(const char *line, const struct address *address)
{
	char host[33], port[5], state[3], inode[21];
	struct address there;

	/* sl local remote st tx:rx tr:when retransmits uid timeout inode */
	if (sscanf(line, "%*s %32[0-9A-F]:%4[0-9A-F] %*s %2[0-9A-F] %*s %*s %*s %*s %*s %20[0-9]",
		   host, port, state, inode) != 4 ||
	    strtoul(state, NULL, 16) != STATE_LISTEN ||
	    strtoul(port, NULL, 16) != address_port(address) || !parse_host(host, &there) ||
	    !in_the_way(&there, address))
		return 0;
	return strtoul(inode, NULL, 10);
}

static unsigned long find_inode(const char *table, const struct address *address)
{
	FILE *file = fopen(table, "re");
	unsigned long found = 0;
	char line[512];

	while (file != NULL && found == 0 && fgets(line, sizeof(line), file) != NULL)
		found = inode_of(line, address);
	if (file != NULL)
		fclose(file);
	return found;
}

static bool holds(const char *process, unsigned long inode)
{
	char path[64 + NAME_MAX], target[64], wanted[64];
	struct dirent *entry;
	bool found = false;
	DIR *folder;
	ssize_t length;

	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	snprintf(path, sizeof(path), "/proc/%.16s/fd", process);
	folder = opendir(path);
	while (folder != NULL && !found && (entry = readdir(folder)) != NULL) {
		snprintf(path, sizeof(path), "/proc/%.16s/fd/%s", process, entry->d_name);
		length = readlink(path, target, sizeof(target) - 1);
		target[length < 0 ? 0 : length] = '\0';
		found = strcmp(target, wanted) == 0;
	}
	if (folder != NULL)
		closedir(folder);
	return found;
}

static void name_program(struct listening *listening)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%ld/comm", (long)listening->pid);
	file = fopen(path, "re");
	if (file != NULL && fgets(listening->program, sizeof(listening->program), file) != NULL)
		listening->program[strcspn(listening->program, "\n")] = '\0';
	if (file != NULL)
		fclose(file);
}

static void find_holder(unsigned long inode, struct listening *listening)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;

	while (processes != NULL && listening->pid == 0 && (entry = readdir(processes)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]) && holds(entry->d_name, inode))
			listening->pid = (pid_t)strtol(entry->d_name, NULL, 10);
	if (processes != NULL)
		closedir(processes);
	if (listening->pid != 0)
		name_program(listening);
}

int listening_find(const struct address *address, struct listening *listening)
{
	const char *table = address->any.sa_family == AF_INET6 ? "/proc/net/tcp6" : "/proc/net/tcp";
	unsigned long inode;

	*listening = (struct listening){.taken = false};
	if (access(table, R_OK) < 0)
		return -errno;
	inode = find_inode(table, address);
	if (inode == 0)
		return 0;
	listening->taken = true;
	find_holder(inode, listening);
	return 0;
}
