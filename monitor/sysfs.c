/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "sysfs.h"

static ssize_t
read_once(int fd, char *buf, size_t size)
{
	ssize_t n;

	do
		n = read(fd, buf, size);
	while (n == -1 && errno == EINTR);
	return n;
}

/* Fills buf or reaches the end. */
static ssize_t
read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read_once(fd, buf + len, size - len)) != 0) {
		if (n == -1)
			return -1;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static ssize_t
read_file(int dirfd, const char *name, void *buf, size_t size,
    ssize_t (*how)(int, char *, size_t))
{
	ssize_t n;
	int error, fd;

	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd == -1)
		return -1;
	n = how(fd, buf, size);
	error = errno;
	close(fd);
	errno = error;
	return n;
}

ssize_t
sysfs_read(int dirfd, const char *name, void *buf, size_t size)
{
	ssize_t n;

	n = read_file(dirfd, name, buf, size, read_all);
	/* A full buffer does not tell whether there is more. */
	if (n >= 0 && (size_t)n == size) {
		errno = EFBIG;
		return -1;
	}
	return n;
}

int
sysfs_string(int dirfd, const char *name, char *buf, size_t size)
{
	ssize_t n;

	memset(buf, 0, size);
	/* A text is at most a page, and given whole (fs/seq_file.c). */
	n = read_file(dirfd, name, buf, size - 1, read_once);
	if (n == -1) {
		memset(buf, 0, size);
		return -1;
	}
	if (n > 0 && buf[n - 1] == '\n')
		buf[n - 1] = '\0';
	return 0;
}

int
sysfs_number(int dirfd, const char *name, int max)
{
	char buf[32];
	const char *errstr;
	int n;

	if (sysfs_string(dirfd, name, buf, sizeof(buf)) == -1)
		return -1;
	n = (int)strtonum(buf, 1, max, &errstr);
	if (errstr != NULL) {
		errno = EINVAL;
		return -1;
	}
	return n;
}

int
sysfs_link(int dirfd, const char *name, char *buf, size_t size)
{
	ssize_t n;

	n = readlinkat(dirfd, name, buf, size);
	if (n == -1)
		return -1;
	if ((size_t)n == size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	buf[n] = '\0';
	return 0;
}

int
sysfs_link_name(int dirfd, const char *name, char *buf, size_t size)
{
	char path[SYSFS_PATH_MAX];
	const char *last;

	if (sysfs_link(dirfd, name, path, sizeof(path)) == -1)
		return -1;
	last = strrchr(path, '/');
	if (strlcpy(buf, last == NULL ? path : last + 1, size) >= size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

const char *
sysfs_device_name(const struct usbport *port, char *buf)
{
	char *colon;

	usbport_string(port, buf);
	if ((colon = strchr(buf, ':')) != NULL)
		*colon = '-';
	return buf;
}

/*
 * Calls fn for each component, the last one first, until it returns other
 * than 0; returns that.
 */
static int
path_backwards(
    const char *path, int (*fn)(const char *name, void *arg), void *arg)
{
	char name[NAME_MAX + 1];
	size_t end, start;
	int n;

	for (end = strlen(path); end > 0; end = start > 0 ? start - 1 : 0) {
		for (start = end; start > 0 && path[start - 1] != '/'; start--)
			;
		if (end - start >= sizeof(name))
			continue;
		memcpy(name, path + start, end - start);
		name[end - start] = '\0';
		if ((n = fn(name, arg)) != 0)
			return n;
	}
	return 0;
}

struct port_search {
	struct usbport *port;
	unsigned int passed; /* components that were none */
};

static int
is_port(const char *name, void *arg)
{
	struct port_search *search = arg;

	if (usbport_parse_sysfs(search->port, name) == 0)
		return 1;
	search->passed++;
	return 0;
}

int
sysfs_path_port(const char *path, struct usbport *port)
{
	struct port_search search = { .port = port };

	if (path_backwards(path, is_port, &search) == 0)
		return -1;
	return search.passed == 0;
}

/* "0000:00:14.0"; the domain has more digits on some machines. */
static int
is_pci(const char *name, void *arg)
{
	static const char hex[] = "0123456789abcdef";
	size_t domain = strspn(name, hex);
	const char *p = name + domain;

	if (domain < 4 || p[0] != ':' || strspn(p + 1, hex) != 2 ||
	    p[3] != ':' || strspn(p + 4, hex) != 2 || p[6] != '.' ||
	    p[7] < '0' || p[7] > '7' || p[8] != '\0' ||
	    p + 8 - name >= USBDEV_CONTROLLER_MAX)
		return 0;
	strlcpy(arg, name, USBDEV_CONTROLLER_MAX);
	return 1;
}

void
sysfs_path_controller(const char *path, char buf[static USBDEV_CONTROLLER_MAX])
{
	memset(buf, 0, USBDEV_CONTROLLER_MAX);
	path_backwards(path, is_pci, buf);
}

int
sysfs_hub_port(const char *name, struct usbport *port)
{
	char buf[USBPORT_STRLEN + 8];
	const char *number;
	size_t hub;

	number = strstr(name, "-port");
	if (number == NULL)
		return -1;
	hub = (size_t)(number - name);
	number += strlen("-port");
	if (strncmp(name, "usb", 3) == 0)
		snprintf(buf, sizeof(buf), "%.*s-%.6s", (int)hub - 3, name + 3,
		    number);
	else
		snprintf(buf, sizeof(buf), "%.*s.%.6s", (int)hub, name, number);
	return usbport_parse_sysfs(port, buf);
}
