/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>
#include <sys/un.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "client.h"
#include "imsg.h"
#include "log.h"

#define DEFAULT_SOCKET RUNDIR "/usbmgrd.sock"
/* For those who may only look, by convention: see usbmgrd.conf.5. */
#define DEFAULT_READONLY RUNDIR "/usbmgrd-ro.sock"

static int
try(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, saved;

	if (strlcpy(sun.sun_path, path, sizeof(sun.sun_path)) >=
	    sizeof(sun.sun_path))
		fatalx("socket %s: path is too long", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		fatal("socket");
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static const char *
path_of(const struct arguments *a)
{
	return a->socket != NULL ? a->socket : DEFAULT_SOCKET;
}

int
client_try(const struct arguments *a)
{
	int fd = try(path_of(a));

	if (fd == -1 && errno == EACCES && a->socket == NULL &&
	    (fd = try(DEFAULT_READONLY)) == -1)
		errno = EACCES;
	if (fd == -1 && errno != ENOENT && errno != ECONNREFUSED)
		fatal("socket %s", path_of(a));
	return fd;
}

int
client_connect(const struct arguments *a)
{
	int fd = client_try(a);

	if (fd != -1)
		return fd;
	log_warnx("usbmgrd is not running: nobody serves %s", path_of(a));
	exit(EXIT_NOT_RUNNING);
}

void
client_unexpected(enum msg_type type)
{
	fatalx("usbmgrd answered with %s", msg_name(type));
}

/*
 * The next message of the answer; its payload fits what the table says.
 * MSG_FIRST_UNUSED when the connection has ended.
 */
static enum msg_type
receive(struct imsgbuf *ibuf, void *payload, size_t size)
{
	struct imsg imsg;
	const char *why;
	uint32_t type;
	int n;

	while ((n = imsgbuf_get(ibuf, &imsg)) == 0)
		if ((n = imsgbuf_read(ibuf)) != 1)
			break;
	if (n == -1 && errno != ECONNRESET)
		fatalx("usbmgrd ended the connection: %s", strerror(errno));
	if (n != 1)
		return MSG_FIRST_UNUSED;
	type = imsg_get_type(&imsg);
	why = msg_check(PROC_ENGINE, PROC_CLIENT, type, imsg_get_len(&imsg), 0);
	if (why != NULL || imsg_get_len(&imsg) > size ||
	    imsg_get_data(&imsg, payload, imsg_get_len(&imsg)) == -1)
		fatalx("usbmgrd sent something odd (%s): is it of another "
		       "version?",
		    why == NULL ? msg_name(type) : why);
	imsg_free(&imsg);
	return (enum msg_type)type;
}

static void
ask(struct imsgbuf *ibuf, int fd, enum msg_type request, const void *payload)
{
	if (imsgbuf_init(ibuf, fd) == -1)
		fatal("imsgbuf_init");
	if (imsg_compose(ibuf, request, 0, -1, -1, payload,
		msg_info(request)->size) == -1 ||
	    imsgbuf_flush(ibuf) == -1)
		fatal("cannot ask usbmgrd");
}

void
client_ask(int fd, enum msg_type request, const void *payload,
    void (*answer)(enum msg_type, const void *), struct msg_done *done)
{
	enum msg_type type, last = done == NULL ? MSG_CTL_END : MSG_CTL_DONE;
	union client_item item;
	struct imsgbuf ibuf;

	ask(&ibuf, fd, request, payload);
	while ((type = receive(&ibuf, &item, sizeof(item))) != last) {
		if (type == MSG_FIRST_UNUSED)
			fatalx("usbmgrd ended the connection");
		answer(type, &item);
	}
	if (done != NULL)
		*done = item.done;
	close(fd);
	imsgbuf_clear(&ibuf);
}

void
client_watch(int fd, enum msg_type request, const void *payload,
    void (*answer)(enum msg_type, const void *))
{
	union client_item item;
	struct imsgbuf ibuf;
	enum msg_type type;

	ask(&ibuf, fd, request, payload);
	while ((type = receive(&ibuf, &item, sizeof(item))) != MSG_FIRST_UNUSED)
		answer(type, &item);
	close(fd);
	imsgbuf_clear(&ibuf);
}
