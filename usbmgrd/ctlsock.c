/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "parent.h"

#define BACKLOG 16

static struct ctlsock {
	struct sockaddr_un sun;
	pid_t owner; /* 0: not made */
} ctlsocks[2];

/*
 * Is somebody there?  Whoever does not accept now is still somebody, and so is
 * whoever has a socket of another type.
 */
static int
is_served(const struct sockaddr_un *sun)
{
	int fd, served;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		fatal("socket");
	served = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ||
		 errno == EAGAIN || errno == EPROTOTYPE;
	close(fd);
	return served;
}

/* A wrong path in the policy must not cost a file. */
static int
remove_stale(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == -1)
		return errno == ENOENT ? 0 : -1;
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return -1;
	}
	return unlink(path);
}

static int
find_group(const char *group, gid_t *gid)
{
	const struct group *gr;

	*gid = 0;
	if (group[0] == '\0')
		return 0;
	errno = 0;
	if ((gr = getgrnam(group)) == NULL) {
		log_warnx("group %s of the control socket does not exist; "
			  "make it: groupadd --system %s",
		    group, group);
		return -1;
	}
	*gid = gr->gr_gid;
	return 0;
}

/* A process that was forked off is not the one to tidy up. */
static void
ctlsocks_remove(void)
{
	const char *path;
	int i;

	for (i = 0; i < 2; i++) {
		path = ctlsocks[i].sun.sun_path;
		if (getpid() == ctlsocks[i].owner && unlink(path) == -1 &&
		    errno != ENOENT)
			log_warn("control socket %s", path);
	}
}

/*
 * Not by chmod(2) afterwards: another file may have taken its name by then.
 * Nobody can connect before listen(2).
 */
static int
bind_mode(struct ctlsock *s, int fd, mode_t mode)
{
	mode_t old = umask(0777 & ~mode);
	int rc;

	rc = bind(fd, (struct sockaddr *)&s->sun, sizeof(s->sun));
	umask(old);
	if (rc == 0) {
		if (ctlsocks[0].owner == 0 && ctlsocks[1].owner == 0)
			atexit(ctlsocks_remove);
		s->owner = getpid();
	}
	return rc;
}

int
ctlsock_listen(const char *path, const char *group, int readonly)
{
	struct ctlsock *s = &ctlsocks[readonly != 0];
	mode_t mode = readonly && group[0] == '\0' ? 0666 : 0660;
	gid_t gid;
	int fd;

	if (find_group(group, &gid) == -1)
		return -1;
	s->sun.sun_family = AF_UNIX;
	strlcpy(s->sun.sun_path, path, sizeof(s->sun.sun_path));
	if (is_served(&s->sun)) {
		log_warnx("another usbmgrd serves %s already", path);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1 || remove_stale(path) == -1 ||
	    bind_mode(s, fd, mode) == -1 || lchown(path, 0, gid) == -1 ||
	    listen(fd, BACKLOG) == -1) {
		log_warn("control socket %s", path);
		if (fd != -1)
			close(fd);
		return -1;
	}
	return fd;
}
