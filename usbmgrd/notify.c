/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>
#include <sys/un.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "log.h"
#include "notify.h"

static int notify_fd = -1;
static uint64_t watchdog_ms;

/* sd_watchdog_enabled(3) */
static uint64_t
parse_watchdog(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid;
	const char *errstr = NULL;
	long long n;

	if (usec == NULL)
		return 0;
	n = strtonum(usec, 1, INT64_MAX, &errstr);
	pid = getenv("WATCHDOG_PID");
	if (errstr == NULL && pid != NULL &&
	    strtonum(pid, 1, INT32_MAX, &errstr) != getpid())
		return 0; /* meant for another process */
	if (errstr == NULL)
		return (uint64_t)n / 1000;
	log_warnx("WATCHDOG_USEC or WATCHDOG_PID is %s", errstr);
	return 0;
}

/* "@name" is an abstract socket, whose name begins with NUL. */
static int
notify_connect(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	int fd;

	if ((path[0] != '/' && path[0] != '@') || len >= sizeof(sun.sun_path)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(sun.sun_path, path, len);
	if (path[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd != -1 && connect(fd, (struct sockaddr *)&sun,
			    (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
					len)) == -1) {
		close(fd);
		return -1;
	}
	return fd;
}

void
notify_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	if (path == NULL)
		return;
	if ((notify_fd = notify_connect(path)) == -1) {
		log_warn("service manager's socket %s", path);
		return;
	}
	watchdog_ms = parse_watchdog();
}

void
notify(const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	if (notify_fd == -1)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(text))
		n = (int)sizeof(text) - 1;
	if (write(notify_fd, text, (size_t)n) == -1)
		log_warn("cannot tell the service manager \"%.*s\"",
		    (int)strcspn(text, "\n"), text);
}

void
notify_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
	    (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

uint64_t
notify_watchdog_ms(void)
{
	return watchdog_ms;
}
