/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "peer.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PORTS "15"

struct machine {
	int fd;
	int listening;
	size_t len;
	char buf[16384];
};

static const char greeting[] =
    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, "
    "\"major\": 7}, \"package\": \"peer\"}, \"capabilities\": [\"oob\"]}}\r\n";

/* What a command has in it, and what is the answer; the first one counts. */
static const struct {
	const char *part;
	const char *more;
	const char *value;
} answers[] = {
	{ "\"qom-list\"", "\"/machine/peripheral/xhci/xhci.0\"", "[]" },
	{ "\"qom-list\"", "\"/machine/peripheral/xhci\"",
	    "[{\"name\": \"p2\", \"type\": \"uint32\"}, {\"name\": \"p3\", "
	    "\"type\": \"uint32\"}, {\"name\": \"xhci.0\", \"type\": "
	    "\"child<usb-bus>\"}]" },
	{ "\"qom-list\"", "\"/machine/peripheral\"",
	    "[{\"name\": \"xhci\", \"type\": \"child<qemu-xhci>\"}]" },
	{ "\"qom-list\"", "", "[]" },
	{ "\"qom-get\"", "", PORTS },
	{ "\"query-status\"", "",
	    "{\"status\": \"running\", \"running\": true}" },
	{ "\"x-query-usb\"", "", "{\"human-readable-text\": \"\"}" },
	{ "\"query-commands\"", "",
	    "[{\"name\": \"add-fd\"}, {\"name\": \"device_add\"}]" },
	{ "\"device-list-properties\"", "",
	    "[{\"name\": \"hostdevice\", \"type\": \"str\"}]" },
	{ "", "", "{}" },
};

static const char *const heard_parts[] = {
	[HEARD_ADD] = "\"device_add\"",
	[HEARD_DONE] = "\"remove-fd\"",
	[HEARD_DEL] = "\"device_del\"",
};

static int epfd = -1;
static uint64_t heard[HEARD_MAX];

uint64_t
peer_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static struct machine *
watch(int fd, int listening)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = m };

	if (m == NULL)
		err(1, "calloc");
	m->fd = fd;
	m->listening = listening;
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) == -1)
		err(1, "epoll_ctl");
	return m;
}

void
peer_listen(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	if (epfd == -1 && (epfd = epoll_create1(EPOLL_CLOEXEC)) == -1)
		err(1, "epoll_create1");
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1 ||
	    listen(fd, 1) == -1)
		err(1, "%s", path);
	watch(fd, 1);
}

static void
say(struct machine *m, const char *text, size_t len)
{
	if (send(m->fd, text, len, MSG_NOSIGNAL) == -1 && errno != EPIPE)
		err(1, "send");
}

static void
answer(struct machine *m, const char *line)
{
	const char *id = strstr(line, "\"id\":");
	char text[1024];
	size_t i;
	int n;

	/* The last one: a device has an id, too. */
	while (id != NULL && strstr(id + 1, "\"id\":") != NULL)
		id = strstr(id + 1, "\"id\":");
	if (id == NULL)
		return;
	for (i = 0; i < COUNT(answers); i++)
		if (strstr(line, answers[i].part) != NULL &&
		    strstr(line, answers[i].more) != NULL)
			break;
	n = snprintf(text, sizeof(text), "{\"return\": %s, \"id\": %ld}\r\n",
	    answers[i].value, strtol(id + 5, NULL, 10));
	say(m, text, (size_t)n);
}

static void
note(const char *line, uint64_t now)
{
	size_t i;

	for (i = 0; i < HEARD_MAX; i++)
		if (strstr(line, heard_parts[i]) != NULL)
			heard[i] = now;
}

static void
take_lines(struct machine *m, uint64_t now)
{
	char *line = m->buf, *end;

	m->buf[m->len] = '\0';
	while ((end = strchr(line, '\n')) != NULL) {
		*end = '\0';
		note(line, now);
		answer(m, line);
		line = end + 1;
	}
	m->len -= (size_t)(line - m->buf);
	memmove(m->buf, line, m->len);
}

/* A descriptor that comes with it is closed by the kernel: it has no room. */
static void
take(struct machine *m)
{
	ssize_t n = recv(
	    m->fd, m->buf + m->len, sizeof(m->buf) - 1 - m->len, MSG_DONTWAIT);
	uint64_t now = peer_now();

	if (n > 0) {
		m->len += (size_t)n;
		take_lines(m, now);
	} else if (n == 0 || errno != EAGAIN) {
		close(m->fd);
		free(m);
	}
}

static void
serve(struct machine *m)
{
	int fd;

	if (!m->listening) {
		take(m);
		return;
	}
	if ((fd = accept4(m->fd, NULL, NULL, SOCK_CLOEXEC)) == -1)
		err(1, "accept4");
	say(watch(fd, 0), greeting, sizeof(greeting) - 1);
}

uint64_t
peer_wait(enum heard what, int ms)
{
	uint64_t now = peer_now(), end = now + (uint64_t)ms * 1000000;
	struct epoll_event ev;

	while ((what == HEARD_MAX || heard[what] == 0) && now < end) {
		if (epoll_wait(
			epfd, &ev, 1, (int)((end - now) / 1000000) + 1) == 1)
			serve(ev.data.ptr);
		now = peer_now();
	}
	return what == HEARD_MAX ? 0 : heard[what];
}

void
peer_forget(void)
{
	memset(heard, 0, sizeof(heard));
}
