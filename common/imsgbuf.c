/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/types.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "imsg.h"

/* Messages in one sendmsg(2); the kernel's limit is IOV_MAX, 1024. */
#define IMSG_GATHER 256

/* Both ends of a channel that the caller need not see. */
struct msgbuf {
	TAILQ_HEAD(, ibuf) wbufs; /* complete messages to be sent */
	uint32_t queued;
	size_t queuedbytes;
	size_t queuemax;

	struct ibufqueue *rbufs; /* complete messages received */
	struct ibuf *rpart; /* the one whose payload is arriving */
	unsigned char hdr[IMSG_HEADER_SIZE];
	size_t hdrlen; /* how much of hdr has arrived */
	int hdrfd; /* came with the first byte of hdr, or -1 */
	int rerror; /* errno that ended reading, or 0 */
	unsigned char rbuf[IBUF_READ_SIZE];
};

/* Channels. */

int
imsgbuf_init(struct imsgbuf *imsgbuf, int fd)
{
	memset(imsgbuf, 0, sizeof(*imsgbuf));
	imsgbuf->fd = fd;
	imsgbuf->pid = getpid();
	imsgbuf->maxsize = MAX_IMSGSIZE;
	if ((imsgbuf->w = calloc(1, sizeof(*imsgbuf->w))) == NULL)
		return -1;
	if ((imsgbuf->w->rbufs = ibufq_new()) == NULL) {
		free(imsgbuf->w);
		imsgbuf->w = NULL;
		return -1;
	}
	TAILQ_INIT(&imsgbuf->w->wbufs);
	imsgbuf->w->queuemax = IMSG_QUEUE_MAX;
	imsgbuf->w->hdrfd = -1;
	return 0;
}

void
imsgbuf_allow_fdpass(struct imsgbuf *imsgbuf)
{
	imsgbuf->flags |= IMSG_ALLOW_FDPASS;
}

int
imsgbuf_set_maxsize(struct imsgbuf *imsgbuf, uint32_t max)
{
	if (max >= IMSG_FD_MARK - IMSG_HEADER_SIZE) {
		errno = EINVAL;
		return -1;
	}
	imsgbuf->maxsize = max + (uint32_t)IMSG_HEADER_SIZE;
	return 0;
}

void
imsgbuf_set_queuemax(struct imsgbuf *imsgbuf, size_t max)
{
	imsgbuf->w->queuemax = max;
}

uint32_t
imsgbuf_queuelen(struct imsgbuf *imsgbuf)
{
	return imsgbuf->w == NULL ? 0 : imsgbuf->w->queued;
}

size_t
imsgbuf_queuebytes(struct imsgbuf *imsgbuf)
{
	return imsgbuf->w == NULL ? 0 : imsgbuf->w->queuedbytes;
}

static void
msgbuf_drop_received(struct msgbuf *w)
{
	ibufq_flush(w->rbufs);
	ibuf_free(w->rpart);
	w->rpart = NULL;
	w->hdrlen = 0;
	if (w->hdrfd != -1)
		close(w->hdrfd);
	w->hdrfd = -1;
}

static void
msgbuf_dequeue(struct msgbuf *w, struct ibuf *buf)
{
	TAILQ_REMOVE(&w->wbufs, buf, entry);
	w->queued--;
	ibuf_free(buf);
}

void
imsgbuf_clear(struct imsgbuf *imsgbuf)
{
	struct msgbuf *w = imsgbuf->w;
	struct ibuf *buf;

	if (w == NULL)
		return;
	while ((buf = TAILQ_FIRST(&w->wbufs)) != NULL)
		msgbuf_dequeue(w, buf);
	msgbuf_drop_received(w);
	ibufq_free(w->rbufs);
	freezero(w, sizeof(*w));
	imsgbuf->w = NULL;
}

/* Receiving. */

/*
 * Takes the descriptors out of msg.  Returns 0 with *fd the only one or -1,
 * or -1 with none left open.  Room for one is, by alignment, room for two on
 * 64 bit, so the kernel may well hand over two.
 */
static int
cmsg_take_fd(struct msghdr *msg, int *fd)
{
	struct cmsghdr *cmsg;
	size_t i, n, total = 0;
	int got;

	*fd = -1;
	for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET ||
		    cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(&got, CMSG_DATA(cmsg) + i * sizeof(int),
			    sizeof(int));
			if (total++ == 0)
				*fd = got;
			else
				close(got);
		}
	}
	if (total <= 1 && (msg->msg_flags & MSG_CTRUNC) == 0)
		return 0;
	if (*fd != -1)
		close(*fd);
	*fd = -1;
	errno = total > 1 ? EBADMSG : EMFILE;
	return -1;
}

/*
 * One recvmsg(2).  Without room for control data the kernel itself drops
 * descriptors that come along (unix(7)).
 */
static ssize_t
imsgbuf_recv(struct imsgbuf *imsgbuf, int *fd)
{
	union {
		struct cmsghdr align;
		unsigned char buf[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct msghdr msg;
	struct iovec iov;
	ssize_t n;

	*fd = -1;
	memset(&msg, 0, sizeof(msg));
	iov.iov_base = imsgbuf->w->rbuf;
	iov.iov_len = sizeof(imsgbuf->w->rbuf);
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	if (imsgbuf->flags & IMSG_ALLOW_FDPASS) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.buf);
	}
	do {
		n = recvmsg(imsgbuf->fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n == -1 && errno == EINTR);
	if (n == -1 || (imsgbuf->flags & IMSG_ALLOW_FDPASS) == 0)
		return n;
	if (cmsg_take_fd(&msg, fd) == -1)
		return -1;
	return n;
}

/*
 * The descriptor for the message whose header is now complete, to go with
 * it.  On a stream the kernel attaches a descriptor to the first byte of
 * what the peer sent with it and ends a read after that piece, so it belongs
 * either to the header which was begun with it or to the one marked header
 * that begins in this read.
 */
static int
imsgbuf_claim_fd(struct imsgbuf *imsgbuf, int marked, int *newfd, int *fd)
{
	struct msgbuf *w = imsgbuf->w;
	int *src = w->hdrfd != -1 ? &w->hdrfd : newfd;

	*fd = -1;
	if ((imsgbuf->flags & IMSG_ALLOW_FDPASS) == 0)
		return 0;
	if (!marked && w->hdrfd == -1)
		return 0;
	if (!marked || *src == -1) {
		errno = EBADMSG;
		return -1;
	}
	*fd = *src;
	*src = -1;
	return 0;
}

/* The header is complete: nothing is allocated before it has been checked. */
static int
imsgbuf_start_message(struct imsgbuf *imsgbuf, int *newfd)
{
	struct msgbuf *w = imsgbuf->w;
	struct imsg_hdr hdr;
	uint32_t marked;
	int fd;

	memcpy(&hdr, w->hdr, sizeof(hdr));
	marked = hdr.len & IMSG_FD_MARK;
	hdr.len &= ~IMSG_FD_MARK;
	if (hdr.len < IMSG_HEADER_SIZE || hdr.len > imsgbuf->maxsize) {
		errno = ERANGE;
		return -1;
	}
	if (imsgbuf_claim_fd(imsgbuf, marked != 0, newfd, &fd) == -1)
		return -1;
	if ((w->rpart = ibuf_open(hdr.len)) == NULL) {
		if (fd != -1)
			close(fd);
		return -1;
	}
	ibuf_fd_set(w->rpart, fd);
	w->hdrlen = 0;
	return ibuf_add(w->rpart, &hdr, sizeof(hdr));
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Sorts n bytes at p into messages. */
static int
imsgbuf_parse(
    struct imsgbuf *imsgbuf, const unsigned char *p, size_t n, int *newfd)
{
	struct msgbuf *w = imsgbuf->w;
	size_t take;

	while (n > 0) {
		if (w->rpart == NULL) {
			take = smaller(n, sizeof(w->hdr) - w->hdrlen);
			memcpy(w->hdr + w->hdrlen, p, take);
			w->hdrlen += take;
			p += take;
			n -= take;
			if (w->hdrlen < sizeof(w->hdr))
				break;
			if (imsgbuf_start_message(imsgbuf, newfd) == -1)
				return -1;
		}
		take = smaller(n, ibuf_left(w->rpart));
		if (ibuf_add(w->rpart, p, take) == -1)
			return -1;
		p += take;
		n -= take;
		if (ibuf_left(w->rpart) == 0) {
			ibufq_push(w->rbufs, w->rpart);
			w->rpart = NULL;
		}
	}
	return 0;
}

/* A descriptor nobody claimed must be that of the header cut off. */
static int
msgbuf_keep_fd(struct msgbuf *w, int *newfd)
{
	if (*newfd == -1)
		return 0;
	if (w->hdrlen == 0 || w->hdrfd != -1) {
		errno = EBADMSG;
		return -1;
	}
	w->hdrfd = *newfd;
	*newfd = -1;
	return 0;
}

static int
imsgbuf_read_failed(struct imsgbuf *imsgbuf, int newfd)
{
	struct msgbuf *w = imsgbuf->w;

	w->rerror = errno;
	if (newfd != -1)
		close(newfd);
	msgbuf_drop_received(w);
	errno = w->rerror;
	return -1;
}

int
imsgbuf_read(struct imsgbuf *imsgbuf)
{
	struct msgbuf *w = imsgbuf->w;
	ssize_t n;
	int fd;

	if (w->rerror != 0) {
		errno = w->rerror;
		return -1;
	}
	n = imsgbuf_recv(imsgbuf, &fd);
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 1;
	if (n == -1)
		return imsgbuf_read_failed(imsgbuf, fd);
	if (n == 0)
		return 0;
	if (imsgbuf_parse(imsgbuf, w->rbuf, (size_t)n, &fd) == -1)
		return imsgbuf_read_failed(imsgbuf, fd);
	if (msgbuf_keep_fd(w, &fd) == -1)
		return imsgbuf_read_failed(imsgbuf, fd);
	return 1;
}

int
imsgbuf_get(struct imsgbuf *imsgbuf, struct imsg *imsg)
{
	struct msgbuf *w = imsgbuf->w;

	if (w->rerror != 0) {
		errno = w->rerror;
		return -1;
	}
	return imsg_ibufq_pop(w->rbufs, imsg);
}

/* Sending. */

/*
 * Fills iov with what one sendmsg(2) may carry: a message with a descriptor
 * must be the first, as that is where the receiver looks for it.
 */
static size_t
msgbuf_gather(struct msgbuf *w, struct iovec *iov, size_t max)
{
	struct ibuf *buf;
	size_t n = 0;

	TAILQ_FOREACH(buf, &w->wbufs, entry) {
		if (n == max || (n > 0 && ibuf_fd_avail(buf)))
			break;
		iov[n].iov_base = ibuf_data(buf);
		iov[n].iov_len = ibuf_size(buf);
		n++;
	}
	return n;
}

static void
msgbuf_sent(struct msgbuf *w, size_t n)
{
	struct ibuf *buf;
	size_t take;

	w->queuedbytes -= n;
	while ((buf = TAILQ_FIRST(&w->wbufs)) != NULL && n > 0) {
		/* The descriptor went with the first byte. */
		ibuf_fd_set(buf, -1);
		take = smaller(n, ibuf_size(buf));
		n -= take;
		if (ibuf_skip(buf, take) == 0 && ibuf_size(buf) == 0)
			msgbuf_dequeue(w, buf);
	}
}

static ssize_t
imsgbuf_send(struct imsgbuf *imsgbuf, int flags)
{
	union {
		struct cmsghdr align;
		unsigned char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct ibuf *first = TAILQ_FIRST(&imsgbuf->w->wbufs);
	struct iovec iov[IMSG_GATHER];
	struct cmsghdr *cmsg;
	struct msghdr msg;
	ssize_t n;

	memset(&msg, 0, sizeof(msg));
	msg.msg_iov = iov;
	msg.msg_iovlen = msgbuf_gather(imsgbuf->w, iov, IMSG_GATHER);
	if (ibuf_fd_avail(first)) {
		if ((imsgbuf->flags & IMSG_ALLOW_FDPASS) == 0) {
			errno = EPERM;
			return -1;
		}
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.buf);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &first->fd, sizeof(int));
	}
	do {
		n = sendmsg(imsgbuf->fd, &msg, MSG_NOSIGNAL | flags);
	} while (n == -1 && errno == EINTR);
	return n;
}

static int
imsgbuf_write_flags(struct imsgbuf *imsgbuf, int flags)
{
	struct msgbuf *w = imsgbuf->w;
	ssize_t n;

	while (!TAILQ_EMPTY(&w->wbufs)) {
		if ((n = imsgbuf_send(imsgbuf, flags)) == -1) {
			if (errno == EAGAIN || errno == EWOULDBLOCK ||
			    errno == ENOBUFS)
				return 0;
			return -1;
		}
		msgbuf_sent(w, (size_t)n);
	}
	return 0;
}

int
imsgbuf_write(struct imsgbuf *imsgbuf)
{
	return imsgbuf_write_flags(imsgbuf, 0);
}

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int
imsgbuf_flush(struct imsgbuf *imsgbuf)
{
	struct pollfd pfd = { .fd = imsgbuf->fd, .events = POLLOUT };
	struct msgbuf *w = imsgbuf->w;
	int64_t left, deadline = now_ms() + IMSG_FLUSH_TIMEOUT * 1000;
	size_t before;

	while (!TAILQ_EMPTY(&w->wbufs)) {
		if ((left = deadline - now_ms()) <= 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (poll(&pfd, 1, (int)left) == -1 && errno != EINTR)
			return -1;
		before = w->queuedbytes;
		if (imsgbuf_write_flags(imsgbuf, MSG_DONTWAIT) == -1)
			return -1;
		/* Writable but out of memory: poll(2) would not wait. */
		if (w->queuedbytes == before && (pfd.revents & POLLOUT))
			poll(NULL, 0, 10);
	}
	return 0;
}

/* Queueing. */

struct ibuf *
imsg_create(struct imsgbuf *imsgbuf, uint32_t type, uint32_t id, pid_t pid,
    size_t datalen)
{
	struct msgbuf *w = imsgbuf->w;
	struct imsg_hdr hdr;
	struct ibuf *msg;
	size_t len;

	if (datalen > imsgbuf->maxsize - IMSG_HEADER_SIZE) {
		errno = ERANGE;
		return NULL;
	}
	len = datalen + IMSG_HEADER_SIZE;
	if (w->queuedbytes > w->queuemax ||
	    len > w->queuemax - w->queuedbytes) {
		errno = ENOBUFS;
		return NULL;
	}
	hdr.type = type;
	hdr.len = 0;
	hdr.peerid = id;
	hdr.pid = (uint32_t)(pid == 0 ? imsgbuf->pid : pid);
	if ((msg = ibuf_dynamic(len, imsgbuf->maxsize)) == NULL)
		return NULL;
	if (imsg_add(msg, &hdr, sizeof(hdr)) == -1)
		return NULL;
	return msg;
}

void
imsg_close(struct imsgbuf *imsgbuf, struct ibuf *msg)
{
	struct msgbuf *w = imsgbuf->w;
	uint32_t len = (uint32_t)ibuf_size(msg);

	if (ibuf_fd_avail(msg))
		len |= IMSG_FD_MARK;
	/* Cannot fail: imsg_create() put a header there. */
	ibuf_set(msg, offsetof(struct imsg_hdr, len), &len, sizeof(len));
	TAILQ_INSERT_TAIL(&w->wbufs, msg, entry);
	w->queued++;
	w->queuedbytes += ibuf_size(msg);
}
