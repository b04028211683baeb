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

int
client_connect(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	if (strlcpy(sun.sun_path, path, sizeof(sun.sun_path)) >=
	    sizeof(sun.sun_path))
		fatalx("socket %s: path is too long", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		fatal("socket");
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED) {
		log_warnx("usbmgrd is not running: nobody serves %s", path);
		exit(EXIT_NOT_RUNNING);
	}
	fatal("socket %s", path);
}

/* The next message of the answer; its payload fits what the table says. */
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
	if (n != 1)
		fatalx("usbmgrd ended the connection%s%s", n == 0 ? "" : ": ",
		    n == 0 ? "" : strerror(errno));
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

void
client_ask(int fd, enum msg_type request, const void *payload,
    void (*answer)(enum msg_type, const void *))
{
	union client_item item;
	struct imsgbuf ibuf;
	enum msg_type type;

	if (imsgbuf_init(&ibuf, fd) == -1)
		fatal("imsgbuf_init");
	if (imsg_compose(&ibuf, request, 0, -1, -1, payload,
		msg_info(request)->size) == -1 ||
	    imsgbuf_flush(&ibuf) == -1)
		fatal("cannot ask usbmgrd");
	while ((type = receive(&ibuf, &item, sizeof(item))) != MSG_CTL_END)
		answer(type, &item);
	close(fd);
	imsgbuf_clear(&ibuf);
}
