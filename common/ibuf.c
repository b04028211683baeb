/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/types.h>
#include <sys/queue.h>

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imsg.h"

/*
 * The bytes from wpos to size are zero at all times, so that neither a
 * reserved area nor a padded one shows what was there before.
 */

struct ibufqueue {
	TAILQ_HEAD(, ibuf) bufs;
	uint32_t queued;
};

struct ibuf *
ibuf_open(size_t len)
{
	if (len == 0) {
		errno = EINVAL;
		return NULL;
	}
	return ibuf_dynamic(len, len);
}

struct ibuf *
ibuf_dynamic(size_t len, size_t max)
{
	struct ibuf *buf;

	if (max == 0 || max < len) {
		errno = EINVAL;
		return NULL;
	}
	if ((buf = calloc(1, sizeof(*buf))) == NULL)
		return NULL;
	if (len > 0 && (buf->buf = calloc(1, len)) == NULL) {
		free(buf);
		return NULL;
	}
	buf->size = len;
	buf->max = max;
	buf->fd = -1;
	return buf;
}

void
ibuf_free(struct ibuf *buf)
{
	int save_errno = errno;

	if (buf == NULL || buf->borrowed)
		return;
	if (buf->fd != -1)
		close(buf->fd);
	if (buf->buf != NULL)
		freezero(buf->buf, buf->size);
	free(buf);
	errno = save_errno;
}

static int
ibuf_grow(struct ibuf *buf, size_t need)
{
	unsigned char *p;
	size_t size;

	size = buf->size < 64 ? 64 : buf->size;
	while (size < need)
		size = size > SIZE_MAX / 2 ? need : size * 2;
	if (size > buf->max)
		size = buf->max;
	if ((p = recallocarray(buf->buf, buf->size, size, 1)) == NULL)
		return -1;
	buf->buf = p;
	buf->size = size;
	return 0;
}

void *
ibuf_reserve(struct ibuf *buf, size_t len)
{
	void *p;

	if (buf->borrowed) {
		errno = EINVAL;
		return NULL;
	}
	if (len > buf->max - buf->wpos) {
		errno = ERANGE;
		return NULL;
	}
	if (buf->wpos + len > buf->size || buf->buf == NULL) {
		if (ibuf_grow(buf, buf->wpos + len) == -1)
			return NULL;
	}
	p = buf->buf + buf->wpos;
	buf->wpos += len;
	return p;
}

int
ibuf_add(struct ibuf *buf, const void *data, size_t len)
{
	void *p;

	if ((p = ibuf_reserve(buf, len)) == NULL)
		return -1;
	if (len > 0)
		memcpy(p, data, len);
	return 0;
}

int
ibuf_add_ibuf(struct ibuf *buf, const struct ibuf *from)
{
	return ibuf_add(buf, ibuf_data(from), ibuf_size(from));
}

int
ibuf_add_zero(struct ibuf *buf, size_t len)
{
	return ibuf_reserve(buf, len) == NULL ? -1 : 0;
}

int
ibuf_add_strbuf(struct ibuf *buf, const char *str, size_t len)
{
	size_t n;
	char *p;

	if ((n = strnlen(str, len)) == len) {
		errno = EOVERFLOW;
		return -1;
	}
	if ((p = ibuf_reserve(buf, len)) == NULL)
		return -1;
	memcpy(p, str, n);
	return 0;
}

void *
ibuf_seek(struct ibuf *buf, size_t pos, size_t len)
{
	size_t size = ibuf_size(buf);

	if (pos > size || len > size - pos) {
		errno = ERANGE;
		return NULL;
	}
	return buf->buf + buf->rpos + pos;
}

int
ibuf_set(struct ibuf *buf, size_t pos, const void *data, size_t len)
{
	void *p;

	if (buf->borrowed) {
		errno = EINVAL;
		return -1;
	}
	if ((p = ibuf_seek(buf, pos, len)) == NULL)
		return -1;
	if (len > 0)
		memcpy(p, data, len);
	return 0;
}

enum byte_order {
	ORDER_HOST,
	ORDER_NET
};

static size_t
number_byte(size_t i, size_t width, enum byte_order order)
{
	if (order == ORDER_NET || BYTE_ORDER == BIG_ENDIAN)
		return width - 1 - i;
	return i;
}

static int
number_encode(
    unsigned char *out, uint64_t value, size_t width, enum byte_order order)
{
	size_t i;

	if (width < sizeof(value) && value >> (8 * width) != 0) {
		errno = EINVAL;
		return -1;
	}
	for (i = 0; i < width; i++)
		out[number_byte(i, width, order)] =
		    (unsigned char)(value >> (8 * i));
	return 0;
}

static int
ibuf_add_number(
    struct ibuf *buf, uint64_t value, size_t width, enum byte_order order)
{
	unsigned char b[sizeof(value)];

	if (number_encode(b, value, width, order) == -1)
		return -1;
	return ibuf_add(buf, b, width);
}

static int
ibuf_set_number(struct ibuf *buf, size_t pos, uint64_t value, size_t width,
    enum byte_order order)
{
	unsigned char b[sizeof(value)];

	if (number_encode(b, value, width, order) == -1)
		return -1;
	return ibuf_set(buf, pos, b, width);
}

static int
ibuf_get_number(
    struct ibuf *buf, uint64_t *value, size_t width, enum byte_order order)
{
	unsigned char b[sizeof(*value)];
	size_t i;

	if (ibuf_get(buf, b, width) == -1)
		return -1;
	*value = 0;
	for (i = 0; i < width; i++)
		*value |= (uint64_t)b[number_byte(i, width, order)] << (8 * i);
	return 0;
}

int
ibuf_add_n8(struct ibuf *buf, uint64_t value)
{
	return ibuf_add_number(buf, value, 1, ORDER_NET);
}

int
ibuf_add_n16(struct ibuf *buf, uint64_t value)
{
	return ibuf_add_number(buf, value, 2, ORDER_NET);
}

int
ibuf_add_n32(struct ibuf *buf, uint64_t value)
{
	return ibuf_add_number(buf, value, 4, ORDER_NET);
}

int
ibuf_add_n64(struct ibuf *buf, uint64_t value)
{
	return ibuf_add_number(buf, value, 8, ORDER_NET);
}

int
ibuf_add_h16(struct ibuf *buf, uint64_t value)
{
	return ibuf_add_number(buf, value, 2, ORDER_HOST);
}

int
ibuf_add_h32(struct ibuf *buf, uint64_t value)
{
	return ibuf_add_number(buf, value, 4, ORDER_HOST);
}

int
ibuf_add_h64(struct ibuf *buf, uint64_t value)
{
	return ibuf_add_number(buf, value, 8, ORDER_HOST);
}

int
ibuf_set_n8(struct ibuf *buf, size_t pos, uint64_t value)
{
	return ibuf_set_number(buf, pos, value, 1, ORDER_NET);
}

int
ibuf_set_n16(struct ibuf *buf, size_t pos, uint64_t value)
{
	return ibuf_set_number(buf, pos, value, 2, ORDER_NET);
}

int
ibuf_set_n32(struct ibuf *buf, size_t pos, uint64_t value)
{
	return ibuf_set_number(buf, pos, value, 4, ORDER_NET);
}

int
ibuf_set_n64(struct ibuf *buf, size_t pos, uint64_t value)
{
	return ibuf_set_number(buf, pos, value, 8, ORDER_NET);
}

int
ibuf_set_h16(struct ibuf *buf, size_t pos, uint64_t value)
{
	return ibuf_set_number(buf, pos, value, 2, ORDER_HOST);
}

int
ibuf_set_h32(struct ibuf *buf, size_t pos, uint64_t value)
{
	return ibuf_set_number(buf, pos, value, 4, ORDER_HOST);
}

int
ibuf_set_h64(struct ibuf *buf, size_t pos, uint64_t value)
{
	return ibuf_set_number(buf, pos, value, 8, ORDER_HOST);
}

int
ibuf_set_maxsize(struct ibuf *buf, size_t max)
{
	if (buf->borrowed) {
		errno = EINVAL;
		return -1;
	}
	if (max == 0 || max > buf->max || max < buf->wpos) {
		errno = ERANGE;
		return -1;
	}
	buf->max = max;
	return 0;
}

int
ibuf_skip(struct ibuf *buf, size_t len)
{
	if (len > ibuf_size(buf)) {
		errno = EBADMSG;
		return -1;
	}
	buf->rpos += len;
	return 0;
}

int
ibuf_get(struct ibuf *buf, void *data, size_t len)
{
	if (ibuf_skip(buf, len) == -1)
		return -1;
	if (len > 0)
		memcpy(data, buf->buf + buf->rpos - len, len);
	return 0;
}

int
ibuf_get_n8(struct ibuf *buf, uint8_t *value)
{
	uint64_t v;

	if (ibuf_get_number(buf, &v, 1, ORDER_NET) == -1)
		return -1;
	*value = (uint8_t)v;
	return 0;
}

int
ibuf_get_n16(struct ibuf *buf, uint16_t *value)
{
	uint64_t v;

	if (ibuf_get_number(buf, &v, 2, ORDER_NET) == -1)
		return -1;
	*value = (uint16_t)v;
	return 0;
}

int
ibuf_get_n32(struct ibuf *buf, uint32_t *value)
{
	uint64_t v;

	if (ibuf_get_number(buf, &v, 4, ORDER_NET) == -1)
		return -1;
	*value = (uint32_t)v;
	return 0;
}

int
ibuf_get_n64(struct ibuf *buf, uint64_t *value)
{
	return ibuf_get_number(buf, value, 8, ORDER_NET);
}

int
ibuf_get_h16(struct ibuf *buf, uint16_t *value)
{
	uint64_t v;

	if (ibuf_get_number(buf, &v, 2, ORDER_HOST) == -1)
		return -1;
	*value = (uint16_t)v;
	return 0;
}

int
ibuf_get_h32(struct ibuf *buf, uint32_t *value)
{
	uint64_t v;

	if (ibuf_get_number(buf, &v, 4, ORDER_HOST) == -1)
		return -1;
	*value = (uint32_t)v;
	return 0;
}

int
ibuf_get_h64(struct ibuf *buf, uint64_t *value)
{
	return ibuf_get_number(buf, value, 8, ORDER_HOST);
}

int
ibuf_get_ibuf(struct ibuf *buf, size_t len, struct ibuf *view)
{
	void *p = ibuf_data(buf);

	if (ibuf_skip(buf, len) == -1)
		return -1;
	ibuf_from_buffer(view, p, len);
	return 0;
}

char *
ibuf_get_string(struct ibuf *buf, size_t len)
{
	const char *p = ibuf_data(buf);
	char *str;

	if (len > ibuf_size(buf)) {
		errno = EBADMSG;
		return NULL;
	}
	if ((str = strndup(len > 0 ? p : "", len)) == NULL)
		return NULL;
	buf->rpos += len;
	return str;
}

int
ibuf_get_strbuf(struct ibuf *buf, char *str, size_t len)
{
	if (len == 0) {
		errno = EINVAL;
		return -1;
	}
	if (ibuf_get(buf, str, len) == -1)
		return -1;
	if (str[len - 1] != '\0') {
		str[len - 1] = '\0';
		errno = EOVERFLOW;
		return -1;
	}
	return 0;
}

void
ibuf_rewind(struct ibuf *buf)
{
	buf->rpos = 0;
}

int
ibuf_truncate(struct ibuf *buf, size_t len)
{
	size_t size = ibuf_size(buf);

	if (len > size)
		return ibuf_add_zero(buf, len - size);
	if (!buf->borrowed && len < size)
		explicit_bzero(buf->buf + buf->rpos + len, size - len);
	buf->wpos = buf->rpos + len;
	return 0;
}

size_t
ibuf_size(const struct ibuf *buf)
{
	return buf->wpos - buf->rpos;
}

size_t
ibuf_left(const struct ibuf *buf)
{
	return buf->borrowed ? 0 : buf->max - buf->wpos;
}

void *
ibuf_data(const struct ibuf *buf)
{
	return buf->buf == NULL ? NULL : buf->buf + buf->rpos;
}

void
ibuf_from_buffer(struct ibuf *buf, void *data, size_t len)
{
	memset(buf, 0, sizeof(*buf));
	buf->buf = data;
	buf->size = buf->max = buf->wpos = len;
	buf->fd = -1;
	buf->borrowed = 1;
}

void
ibuf_from_ibuf(struct ibuf *buf, const struct ibuf *from)
{
	ibuf_from_buffer(buf, ibuf_data(from), ibuf_size(from));
}

int
ibuf_fd_avail(struct ibuf *buf)
{
	return buf->fd != -1;
}

int
ibuf_fd_get(struct ibuf *buf)
{
	int fd = buf->fd;

	buf->fd = -1;
	return fd;
}

void
ibuf_fd_set(struct ibuf *buf, int fd)
{
	int save_errno = errno;

	if (buf->fd != -1)
		close(buf->fd);
	buf->fd = fd < 0 ? -1 : fd;
	/* Nobody frees a view, so it cannot own a descriptor. */
	if (buf->borrowed && buf->fd != -1)
		close(ibuf_fd_get(buf));
	errno = save_errno;
}

struct ibufqueue *
ibufq_new(void)
{
	struct ibufqueue *bufq;

	if ((bufq = calloc(1, sizeof(*bufq))) == NULL)
		return NULL;
	TAILQ_INIT(&bufq->bufs);
	return bufq;
}

void
ibufq_free(struct ibufqueue *bufq)
{
	if (bufq == NULL)
		return;
	ibufq_flush(bufq);
	free(bufq);
}

struct ibuf *
ibufq_pop(struct ibufqueue *bufq)
{
	struct ibuf *buf;

	if ((buf = TAILQ_FIRST(&bufq->bufs)) == NULL)
		return NULL;
	TAILQ_REMOVE(&bufq->bufs, buf, entry);
	bufq->queued--;
	return buf;
}

void
ibufq_push(struct ibufqueue *bufq, struct ibuf *buf)
{
	TAILQ_INSERT_TAIL(&bufq->bufs, buf, entry);
	bufq->queued++;
}

uint32_t
ibufq_queuelen(struct ibufqueue *bufq)
{
	return bufq->queued;
}

void
ibufq_concat(struct ibufqueue *to, struct ibufqueue *from)
{
	TAILQ_CONCAT(&to->bufs, &from->bufs, entry);
	to->queued += from->queued;
	from->queued = 0;
}

void
ibufq_flush(struct ibufqueue *bufq)
{
	struct ibuf *buf;

	while ((buf = ibufq_pop(bufq)) != NULL)
		ibuf_free(buf);
}
