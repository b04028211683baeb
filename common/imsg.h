/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef IMSG_H
#define IMSG_H

#include <sys/types.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include <stddef.h>
#include <stdint.h>

/*
 * Messages between local processes over a SOCK_STREAM unix socket, each with
 * a type, an id, a payload and at most one descriptor.  Names, arguments and
 * return values are those of imsg_init(3) and ibuf_add(3) of OpenBSD 7.8; the
 * code and this text are our own.  Added are imsgbuf_set_queuemax() and
 * imsgbuf_queuebytes().  Where Linux (unix(7), cmsg(3)) or care asked for
 * more than the manual promises, the comment of the function says so.
 *
 * Unless told otherwise a function returning int gives 0 on success and -1
 * with errno set on failure.
 */

#define IBUF_READ_SIZE 65535 /* most bytes taken by one read */
#define IMSG_HEADER_SIZE sizeof(struct imsg_hdr)
#define MAX_IMSGSIZE 16384 /* default limit, header counted */
#define IMSG_FD_MARK 0x80000000U /* in len on the wire: a descriptor follows */
#define IMSG_QUEUE_MAX (1U << 20) /* default limit of unsent bytes */
#define IMSG_FLUSH_TIMEOUT 10 /* seconds imsgbuf_flush() may take */
#define IMSG_ALLOW_FDPASS 0x1 /* in flags of struct imsgbuf */

struct ibuf {
	TAILQ_ENTRY(ibuf) entry;
	unsigned char *buf;
	size_t size; /* allocated */
	size_t max; /* may grow up to this */
	size_t wpos;
	size_t rpos;
	int fd; /* owned, or -1 */
	int borrowed; /* buf belongs to somebody else: read only, not freed */
};

struct ibufqueue;
struct msgbuf;

struct imsgbuf {
	struct msgbuf *w;
	pid_t pid;
	uint32_t maxsize; /* header counted */
	int fd;
	int flags;
};

/*
 * Host byte order, this machine only.  len counts the header.  pid is what
 * the peer wrote into it: never decide anything by it.
 */
struct imsg_hdr {
	uint32_t type;
	uint32_t len;
	uint32_t peerid;
	uint32_t pid;
};

struct imsg {
	struct imsg_hdr hdr;
	void *data; /* payload, NULL if there is none */
	struct ibuf *buf;
};

/* Channels. */

/*
 * Makes imsgbuf one end of a channel over the connected stream socket fd.
 * The socket may block or not; it stays the caller's and is never closed
 * here.  It must not deliver ancillary data other than descriptors (no
 * SO_PASSCRED).  Messages are limited to MAX_IMSGSIZE, descriptors are not
 * accepted, until the two functions below say otherwise.
 * Fails with ENOMEM.  imsgbuf_clear() releases what this allocates.
 */
int imsgbuf_init(struct imsgbuf *imsgbuf, int fd);

/*
 * Lets descriptors pass in both directions.  Without this call composing a
 * message with a descriptor fails with EPERM, and a descriptor the peer
 * sends is closed by the kernel unseen, its message arriving without one.
 */
void imsgbuf_allow_fdpass(struct imsgbuf *imsgbuf);

/*
 * Sets the largest payload in bytes, header not counted (as of 7.8; 7.7
 * counted it), for messages to send and to receive.  EINVAL if the whole
 * message would reach IMSG_FD_MARK.
 */
int imsgbuf_set_maxsize(struct imsgbuf *imsgbuf, uint32_t max);

/*
 * Extension.  Sets how many bytes, headers counted, may wait to be sent; a
 * message that would go past it is refused with ENOBUFS when it is composed.
 * A peer that does not read thus cannot make this process grow.  Messages
 * under construction between imsg_create() and imsg_close() count with the
 * size given to imsg_create() only, at that moment.
 */
void imsgbuf_set_queuemax(struct imsgbuf *imsgbuf, size_t max);

/*
 * Reads once, at most IBUF_READ_SIZE bytes, and sorts what came into
 * messages for imsgbuf_get().  Returns 1 on success and also when nothing
 * was there (EAGAIN); 0 when the peer has closed; -1 on error.  EINTR is
 * retried.  Descriptors arrive close-on-exec.  Besides the errors of
 * recvmsg(2):
 *   ERANGE   a length below the header's or above the limit;
 *   EBADMSG  a descriptor without a marked message, a marked message without
 *            a descriptor, or more than one descriptor with a message;
 *   EMFILE   the kernel dropped a descriptor because this process may not
 *            open more (Linux tells it by MSG_CTRUNC, not by an error).
 * An error is final, as the position in the stream is lost: what was
 * received and not yet fetched is dropped, its descriptors closed, and each
 * later imsgbuf_read() and imsgbuf_get() fails with the same errno.
 */
int imsgbuf_read(struct imsgbuf *imsgbuf);

/*
 * Sends queued messages until none is left or the socket is full.  Returns 0
 * in both cases (and on ENOBUFS), so ask imsgbuf_queuelen() whether to poll
 * for POLLOUT; -1 on error.  EINTR is retried.  No SIGPIPE is raised; a
 * closed peer is EPIPE.  A descriptor is closed here once it has been sent.
 */
int imsgbuf_write(struct imsgbuf *imsgbuf);

/*
 * Sends everything queued, waiting for the peer as needed, also on a
 * non-blocking socket and without spinning.  Fails with ETIMEDOUT after
 * IMSG_FLUSH_TIMEOUT seconds (ours; upstream waits for ever); the rest stays
 * queued.
 */
int imsgbuf_flush(struct imsgbuf *imsgbuf);

/*
 * Moves the oldest received message into imsg, which the caller then owns
 * and gives to imsg_free().  Returns 1, or 0 if no whole message is there,
 * or -1 after a failed read.
 */
int imsgbuf_get(struct imsgbuf *imsgbuf, struct imsg *imsg);

/* Number of messages waiting to be sent, a partly sent one included. */
uint32_t imsgbuf_queuelen(struct imsgbuf *imsgbuf);

/* Extension.  Bytes waiting to be sent, headers counted. */
size_t imsgbuf_queuebytes(struct imsgbuf *imsgbuf);

/*
 * Drops all queued messages in both directions, closes the descriptors in
 * them and frees the rest; the socket stays open.  Harmless if repeated.
 */
void imsgbuf_clear(struct imsgbuf *imsgbuf);

/* Building messages. */

/*
 * Queues a message with datalen bytes of data and, unless fd is -1, the
 * descriptor fd.  pid 0 means our own process.  Data is copied as it is:
 * never pass a struct with holes that were not cleared.  Returns 1; -1 with
 * ERANGE (too long), ENOBUFS (queue full), EPERM (descriptors not allowed)
 * or ENOMEM.  On success fd belongs to the queue, on failure to the caller.
 */
int imsg_compose(struct imsgbuf *imsgbuf, uint32_t type, uint32_t id, pid_t pid,
    int fd, const void *data, size_t datalen);

/* As imsg_compose(), the payload gathered from iovcnt pieces. */
int imsg_composev(struct imsgbuf *imsgbuf, uint32_t type, uint32_t id,
    pid_t pid, int fd, const struct iovec *iov, int iovcnt);

/*
 * As imsg_compose() without a descriptor, the payload being the unread part
 * of buf.  buf is freed in every case, with a descriptor it may hold.
 */
int imsg_compose_ibuf(struct imsgbuf *imsgbuf, uint32_t type, uint32_t id,
    pid_t pid, struct ibuf *buf);

/*
 * Starts a message for which datalen bytes of payload are foreseen; more may
 * be added up to the limit.  The result is owned by the caller until
 * imsg_close() or ibuf_free().  A descriptor is attached with ibuf_fd_set().
 * NULL with the errors of imsg_compose().
 */
struct ibuf *imsg_create(struct imsgbuf *imsgbuf, uint32_t type, uint32_t id,
    pid_t pid, size_t datalen);

/*
 * Appends datalen bytes.  Returns datalen; on failure msg is freed, its
 * descriptor closed, and -1 returned (ERANGE, ENOMEM).
 */
int imsg_add(struct ibuf *msg, const void *data, size_t datalen);

/* Lowers the payload limit of one message.  ERANGE if raised or passed. */
int imsg_set_maxsize(struct ibuf *msg, size_t max);

/*
 * Completes msg and queues it; msg belongs to the queue.  If it carries a
 * descriptor on a channel that does not allow them, imsgbuf_write() fails
 * with EPERM on reaching it.
 */
void imsg_close(struct imsgbuf *imsgbuf, struct ibuf *msg);

/*
 * Queues a copy of a received message with its type, id, pid and whole
 * payload, however much of it was read, never with its descriptor.  May be
 * called repeatedly.  Returns 1 or -1 as imsg_compose().
 */
int imsg_forward(struct imsgbuf *imsgbuf, struct imsg *msg);

/* Taking messages apart. */

/* The older form of imsgbuf_get(): returns the length with header, 0, -1. */
ssize_t imsg_get(struct imsgbuf *imsgbuf, struct imsg *imsg);

/* Frees the message and closes its descriptor if nobody took it. */
void imsg_free(struct imsg *imsg);

uint32_t imsg_get_type(struct imsg *imsg);
uint32_t imsg_get_id(struct imsg *imsg);
pid_t imsg_get_pid(struct imsg *imsg); /* as told by the peer */

/* Bytes of payload not yet read; all of it before the first read. */
size_t imsg_get_len(struct imsg *imsg);

/* Takes the descriptor, which the caller then owns; -1 if there is none. */
int imsg_get_fd(struct imsg *imsg);

/*
 * Copies the unread payload, which must be len bytes exactly: EBADMSG
 * otherwise, EINVAL if len is 0.
 */
int imsg_get_data(struct imsg *imsg, void *data, size_t len);

/* Copies the next len bytes.  EBADMSG if there are fewer. */
int imsg_get_buf(struct imsg *imsg, void *data, size_t len);

/* As ibuf_get_strbuf() on the payload. */
int imsg_get_strbuf(struct imsg *imsg, char *str, size_t len);

/*
 * Makes ibuf a view of the unread payload and counts it as read.  Valid
 * until imsg_free(); not to be freed.  EBADMSG if nothing is unread.
 */
int imsg_get_ibuf(struct imsg *imsg, struct ibuf *ibuf);

/* Sets a message aside, descriptor and all; imsg is empty afterwards. */
void imsg_ibufq_push(struct ibufqueue *bufq, struct imsg *imsg);

/* Takes the oldest one back, unread.  Returns 1, 0 if none, -1 EBADMSG. */
int imsg_ibufq_pop(struct ibufqueue *bufq, struct imsg *imsg);

/* Buffers.  Memory not yet written is zero; freed memory is wiped. */

/* A buffer of len bytes that cannot grow.  NULL: ENOMEM, EINVAL if len 0. */
struct ibuf *ibuf_open(size_t len);

/* Starts with len bytes and grows up to max.  EINVAL if max is 0 or < len. */
struct ibuf *ibuf_dynamic(size_t len, size_t max);

/* Frees buf, if not NULL, and closes its descriptor.  Keeps errno. */
void ibuf_free(struct ibuf *buf);

/*
 * Append data, zeros, the unread part of another buffer, or a number in
 * network (n) or host (h) byte order.  ERANGE beyond the limit of buf,
 * EINVAL if a number does not fit or buf is only a view.  On failure buf is
 * as before.
 */
int ibuf_add(struct ibuf *buf, const void *data, size_t len);
int ibuf_add_ibuf(struct ibuf *buf, const struct ibuf *from);
int ibuf_add_zero(struct ibuf *buf, size_t len);
int ibuf_add_n8(struct ibuf *buf, uint64_t value);
int ibuf_add_n16(struct ibuf *buf, uint64_t value);
int ibuf_add_n32(struct ibuf *buf, uint64_t value);
int ibuf_add_n64(struct ibuf *buf, uint64_t value);
int ibuf_add_h16(struct ibuf *buf, uint64_t value);
int ibuf_add_h32(struct ibuf *buf, uint64_t value);
int ibuf_add_h64(struct ibuf *buf, uint64_t value);

/* Appends str as len bytes padded with NULs; EOVERFLOW if no NUL fits. */
int ibuf_add_strbuf(struct ibuf *buf, const char *str, size_t len);

/* Appends len zero bytes and returns where they are; NULL as ibuf_add(). */
void *ibuf_reserve(struct ibuf *buf, size_t len);

/*
 * The len bytes at offset pos of the unread part, NULL with ERANGE outside
 * of it.  The next append may move them.
 */
void *ibuf_seek(struct ibuf *buf, size_t pos, size_t len);

/* Overwrite at offset pos of the unread part: errors of seek and append. */
int ibuf_set(struct ibuf *buf, size_t pos, const void *data, size_t len);
int ibuf_set_n8(struct ibuf *buf, size_t pos, uint64_t value);
int ibuf_set_n16(struct ibuf *buf, size_t pos, uint64_t value);
int ibuf_set_n32(struct ibuf *buf, size_t pos, uint64_t value);
int ibuf_set_n64(struct ibuf *buf, size_t pos, uint64_t value);
int ibuf_set_h16(struct ibuf *buf, size_t pos, uint64_t value);
int ibuf_set_h32(struct ibuf *buf, size_t pos, uint64_t value);
int ibuf_set_h64(struct ibuf *buf, size_t pos, uint64_t value);

/* Lowers the limit.  ERANGE if above the present one or already passed. */
int ibuf_set_maxsize(struct ibuf *buf, size_t max);

/*
 * Consume from the front.  EBADMSG, with nothing consumed, if the unread
 * part is too short.
 */
int ibuf_get(struct ibuf *buf, void *data, size_t len);
int ibuf_get_n8(struct ibuf *buf, uint8_t *value);
int ibuf_get_n16(struct ibuf *buf, uint16_t *value);
int ibuf_get_n32(struct ibuf *buf, uint32_t *value);
int ibuf_get_n64(struct ibuf *buf, uint64_t *value);
int ibuf_get_h16(struct ibuf *buf, uint16_t *value);
int ibuf_get_h32(struct ibuf *buf, uint32_t *value);
int ibuf_get_h64(struct ibuf *buf, uint64_t *value);
int ibuf_skip(struct ibuf *buf, size_t len);

/* Makes view cover the next len bytes; valid as long as buf is. */
int ibuf_get_ibuf(struct ibuf *buf, size_t len, struct ibuf *view);

/* The next len bytes, up to a NUL in them, as a string to free(3). */
char *ibuf_get_string(struct ibuf *buf, size_t len);

/*
 * Copies the next len bytes, the last of which must be a NUL: EOVERFLOW
 * otherwise, str being terminated nevertheless.  EINVAL if len is 0.
 */
int ibuf_get_strbuf(struct ibuf *buf, char *str, size_t len);

/* Reads start over. */
void ibuf_rewind(struct ibuf *buf);

/* Makes the unread part len bytes long, cut or padded with zeros. */
int ibuf_truncate(struct ibuf *buf, size_t len);

size_t ibuf_size(const struct ibuf *buf); /* bytes unread */
size_t ibuf_left(const struct ibuf *buf); /* bytes that may be added */
void *ibuf_data(const struct ibuf *buf); /* start of the unread part */

/* Makes buf a view to read from; nothing to free. */
void ibuf_from_buffer(struct ibuf *buf, void *data, size_t len);
void ibuf_from_ibuf(struct ibuf *buf, const struct ibuf *from);

/* Is there a descriptor?  Take it (-1 if none).  Give one, closing another. */
int ibuf_fd_avail(struct ibuf *buf);
int ibuf_fd_get(struct ibuf *buf);
void ibuf_fd_set(struct ibuf *buf, int fd);

/*
 * Queues of buffers, which they own.  ibufq_new() is NULL on ENOMEM,
 * ibufq_pop() on an empty queue.  ibufq_concat() moves all of from to the
 * end of to.  ibufq_flush() frees the buffers, ibufq_free() the queue too.
 */
struct ibufqueue *ibufq_new(void);
void ibufq_free(struct ibufqueue *bufq);
struct ibuf *ibufq_pop(struct ibufqueue *bufq);
void ibufq_push(struct ibufqueue *bufq, struct ibuf *buf);
uint32_t ibufq_queuelen(struct ibufqueue *bufq);
void ibufq_concat(struct ibufqueue *to, struct ibufqueue *from);
void ibufq_flush(struct ibufqueue *bufq);

#endif
