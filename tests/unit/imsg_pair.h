/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef IMSG_PAIR_H
#define IMSG_PAIR_H

#include <sys/types.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "imsg.h"

/*
 * The two ends of a channel for a test, and how many descriptors were open
 * before it: pair_teardown() fails a test that leaves more or fewer behind,
 * so each test is also one for leaks.
 */
struct pair {
	struct imsgbuf a;
	struct imsgbuf b;
	int sa;
	int sb;
	size_t fds;
};

/* Descriptors open in this process, from /proc (proc(5)). */
static inline size_t
count_fds(void)
{
	struct dirent *de;
	size_t n = 0;
	DIR *d;

	assert_non_null(d = opendir("/proc/self/fd"));
	while ((de = readdir(d)) != NULL)
		n += de->d_name[0] != '.';
	closedir(d);
	return n - 1;
}

/* A file of its own that is recognised by its inode. */
static inline int
new_file(ino_t *ino)
{
	struct stat st;
	int fd;

	assert_int_not_equal(fd = memfd_create("imsg", 0), -1);
	assert_int_equal(fstat(fd, &st), 0);
	*ino = st.st_ino;
	return fd;
}

static inline void
assert_is_file(int fd, ino_t ino)
{
	struct stat st;

	assert_int_not_equal(fd, -1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_ino, ino);
}

/* Non-blocking ends, descriptors allowed. */
static inline int
pair_setup(void **state)
{
	static struct pair pair;
	int sp[2];

	memset(&pair, 0, sizeof(pair));
	pair.fds = count_fds();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		sp) == -1)
		return -1;
	pair.sa = sp[0];
	pair.sb = sp[1];
	if (imsgbuf_init(&pair.a, sp[0]) == -1 ||
	    imsgbuf_init(&pair.b, sp[1]) == -1)
		return -1;
	imsgbuf_allow_fdpass(&pair.a);
	imsgbuf_allow_fdpass(&pair.b);
	*state = &pair;
	return 0;
}

static inline void
pair_close_a(struct pair *p)
{
	if (p->sa != -1)
		close(p->sa);
	p->sa = -1;
}

static inline int
pair_teardown(void **state)
{
	struct pair *p = *state;

	imsgbuf_clear(&p->a);
	imsgbuf_clear(&p->b);
	pair_close_a(p);
	close(p->sb);
	return count_fds() == p->fds ? 0 : -1;
}

/* The next message at b, which must be there, and be of this type. */
static inline void
get_type(struct pair *p, struct imsg *m, uint32_t type)
{
	assert_int_equal(imsgbuf_get(&p->b, m), 1);
	assert_int_equal(imsg_get_type(m), type);
}

/* Carries what a has queued over to b. */
static inline void
carry(struct pair *p)
{
	assert_int_equal(imsgbuf_write(&p->a), 0);
	assert_int_equal(imsgbuf_queuelen(&p->a), 0);
	assert_int_equal(imsgbuf_read(&p->b), 1);
}

/* The raw_ functions are a peer that writes to the socket past the imsgbuf. */

/* Sends len bytes and n new files, of which the first one's inode is told. */
static inline void
raw_send(struct pair *p, const void *data, size_t len, int n, ino_t *ino)
{
	union {
		struct cmsghdr align;
		unsigned char buf[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr msg;
	struct cmsghdr *cmsg;
	ino_t other;
	int i, fd[4];

	memset(&msg, 0, sizeof(msg));
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	for (i = 0; i < n; i++)
		fd[i] = new_file(i == 0 ? ino : &other);
	if (n > 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fd, (size_t)n * sizeof(int));
	}
	assert_int_equal(sendmsg(p->sa, &msg, 0), len);
	for (i = 0; i < n; i++)
		close(fd[i]);
}

static inline struct imsg_hdr
header(uint32_t type, uint32_t len)
{
	struct imsg_hdr hdr = { type, len, 0, 0 };

	return hdr;
}

static inline void
assert_read_fails(struct pair *p, int error)
{
	struct imsg m;
	int i;

	for (i = 0; i < 2; i++) {
		errno = 0;
		assert_int_equal(imsgbuf_read(&p->b), -1);
		assert_int_equal(errno, error);
		errno = 0;
		assert_int_equal(imsgbuf_get(&p->b, &m), -1);
		assert_int_equal(errno, error);
	}
}

/* Closes what the message brought, which must be this file. */
static inline void
assert_brings(struct imsg *m, ino_t ino)
{
	int fd;

	assert_is_file(fd = imsg_get_fd(m), ino);
	close(fd);
	assert_int_equal(imsg_get_fd(m), -1);
	imsg_free(m);
}

static inline void
assert_brings_none(struct imsg *m)
{
	assert_int_equal(imsg_get_fd(m), -1);
	imsg_free(m);
}

#define PAIR_TEST(f) \
	cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)

#endif
