/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/types.h>
#include <sys/uio.h>

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "imsg.h"

/* Building messages. */

int
imsg_add(struct ibuf *msg, const void *data, size_t datalen)
{
	if (ibuf_add(msg, data, datalen) == -1) {
		ibuf_free(msg);
		return -1;
	}
	return (int)datalen;
}

int
imsg_set_maxsize(struct ibuf *msg, size_t max)
{
	if (max > SIZE_MAX - IMSG_HEADER_SIZE) {
		errno = ERANGE;
		return -1;
	}
	return ibuf_set_maxsize(msg, max + IMSG_HEADER_SIZE);
}

int
imsg_compose(struct imsgbuf *imsgbuf, uint32_t type, uint32_t id, pid_t pid,
    int fd, const void *data, size_t datalen)
{
	struct iovec iov;

	/* iovec has no const; it is only read from. */
	iov.iov_base = (void *)(uintptr_t)data;
	iov.iov_len = datalen;
	return imsg_composev(imsgbuf, type, id, pid, fd, &iov, 1);
}

int
imsg_composev(struct imsgbuf *imsgbuf, uint32_t type, uint32_t id, pid_t pid,
    int fd, const struct iovec *iov, int iovcnt)
{
	struct ibuf *msg;
	size_t len = 0;
	int i;

	if (fd != -1 && (imsgbuf->flags & IMSG_ALLOW_FDPASS) == 0) {
		errno = EPERM;
		return -1;
	}
	for (i = 0; i < iovcnt; i++) {
		if (iov[i].iov_len > SIZE_MAX - len) {
			errno = ERANGE;
			return -1;
		}
		len += iov[i].iov_len;
	}
	if ((msg = imsg_create(imsgbuf, type, id, pid, len)) == NULL)
		return -1;
	for (i = 0; i < iovcnt; i++) {
		if (imsg_add(msg, iov[i].iov_base, iov[i].iov_len) == -1)
			return -1;
	}
	ibuf_fd_set(msg, fd);
	imsg_close(imsgbuf, msg);
	return 1;
}

int
imsg_compose_ibuf(struct imsgbuf *imsgbuf, uint32_t type, uint32_t id,
    pid_t pid, struct ibuf *buf)
{
	int n;

	n = imsg_compose(
	    imsgbuf, type, id, pid, -1, ibuf_data(buf), ibuf_size(buf));
	ibuf_free(buf);
	return n;
}

int
imsg_forward(struct imsgbuf *imsgbuf, struct imsg *imsg)
{
	size_t len = imsg->hdr.len - IMSG_HEADER_SIZE;
	uint32_t pid = imsg->hdr.pid;
	struct ibuf *msg;

	msg = imsg_create(imsgbuf, imsg->hdr.type, imsg->hdr.peerid, 0, len);
	if (msg == NULL)
		return -1;
	/* Not by imsg_create(), to which 0 means ourselves. */
	ibuf_set(msg, offsetof(struct imsg_hdr, pid), &pid, sizeof(pid));
	if (imsg_add(msg, imsg->data, len) == -1)
		return -1;
	imsg_close(imsgbuf, msg);
	return 1;
}

/* Taking messages apart. */

/* buf becomes a message whose payload is unread. */
static int
imsg_from_ibuf(struct imsg *imsg, struct ibuf *buf)
{
	memset(imsg, 0, sizeof(*imsg));
	ibuf_rewind(buf);
	if (ibuf_get(buf, &imsg->hdr, sizeof(imsg->hdr)) == -1)
		return -1;
	if (ibuf_size(buf) > 0)
		imsg->data = ibuf_data(buf);
	imsg->buf = buf;
	return 1;
}

ssize_t
imsg_get(struct imsgbuf *imsgbuf, struct imsg *imsg)
{
	int n;

	if ((n = imsgbuf_get(imsgbuf, imsg)) != 1)
		return n;
	return (ssize_t)imsg->hdr.len;
}

void
imsg_free(struct imsg *imsg)
{
	ibuf_free(imsg->buf);
	memset(imsg, 0, sizeof(*imsg));
}

uint32_t
imsg_get_type(struct imsg *imsg)
{
	return imsg->hdr.type;
}

uint32_t
imsg_get_id(struct imsg *imsg)
{
	return imsg->hdr.peerid;
}

pid_t
imsg_get_pid(struct imsg *imsg)
{
	return (pid_t)imsg->hdr.pid;
}

size_t
imsg_get_len(struct imsg *imsg)
{
	return ibuf_size(imsg->buf);
}

int
imsg_get_fd(struct imsg *imsg)
{
	return ibuf_fd_get(imsg->buf);
}

int
imsg_get_data(struct imsg *imsg, void *data, size_t len)
{
	if (len == 0) {
		errno = EINVAL;
		return -1;
	}
	if (ibuf_size(imsg->buf) != len) {
		errno = EBADMSG;
		return -1;
	}
	return ibuf_get(imsg->buf, data, len);
}

int
imsg_get_buf(struct imsg *imsg, void *data, size_t len)
{
	return ibuf_get(imsg->buf, data, len);
}

int
imsg_get_strbuf(struct imsg *imsg, char *str, size_t len)
{
	return ibuf_get_strbuf(imsg->buf, str, len);
}

int
imsg_get_ibuf(struct imsg *imsg, struct ibuf *ibuf)
{
	if (ibuf_size(imsg->buf) == 0) {
		errno = EBADMSG;
		return -1;
	}
	return ibuf_get_ibuf(imsg->buf, ibuf_size(imsg->buf), ibuf);
}

void
imsg_ibufq_push(struct ibufqueue *bufq, struct imsg *imsg)
{
	ibufq_push(bufq, imsg->buf);
	memset(imsg, 0, sizeof(*imsg));
}

int
imsg_ibufq_pop(struct ibufqueue *bufq, struct imsg *imsg)
{
	struct ibuf *buf;
	int n;

	if ((buf = ibufq_pop(bufq)) == NULL)
		return 0;
	if ((n = imsg_from_ibuf(imsg, buf)) == -1)
		ibuf_free(buf);
	return n;
}
