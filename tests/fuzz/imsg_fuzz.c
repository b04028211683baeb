/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Any bytes on a channel: messages that are within their bounds, until one
 * that is none, after which there are no more.  The first byte tells who is
 * taken for the sender and who receives.
 */

#include <sys/socket.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include "imsg.h"
#include "msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
take(struct imsg *imsg, enum proc_id from, enum proc_id to)
{
	uint8_t payload[MAX_IMSGSIZE];
	const struct msg_info *info;
	size_t len = imsg_get_len(imsg);

	if (len > MAX_IMSGSIZE - IMSG_HEADER_SIZE || imsg_get_fd(imsg) != -1 ||
	    (len > 0 && imsg_get_data(imsg, payload, len) == -1))
		abort();
	if (msg_check(from, to, imsg_get_type(imsg), len, 0) != NULL)
		return;
	info = msg_info(imsg_get_type(imsg));
	if (info == NULL || info->size != len)
		abort();
}

static void
take_all(struct imsgbuf *buf, uint8_t who)
{
	struct imsg imsg;
	ssize_t n;
	int rc;

	while ((rc = imsgbuf_read(buf)) == 1)
		while ((n = imsg_get(buf, &imsg)) != 0) {
			if (n == -1)
				break;
			take(&imsg, (enum proc_id)(who % PROC_MAX),
			    (enum proc_id)(who / PROC_MAX % PROC_MAX));
			imsg_free(&imsg);
		}
	if (rc == -1 && (imsgbuf_read(buf) != -1 || imsg_get(buf, &imsg) != -1))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imsgbuf buf;
	int fds[2];

	if (size < 1 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		return 0;
	if (imsgbuf_init(&buf, fds[1]) == -1)
		abort();
	imsgbuf_allow_fdpass(&buf);
	if (write(fds[0], data + 1, size - 1) != (ssize_t)size - 1)
		abort();
	close(fds[0]);
	take_all(&buf, data[0]);
	imsgbuf_clear(&buf);
	close(fds[1]);
	return 0;
}
