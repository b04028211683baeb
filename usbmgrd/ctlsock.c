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

static struct sockaddr_un ctlsock;
static pid_t ctlsock_owner;

/* Is somebody there?  Whoever does not accept now is still somebody. */
static int
is_served(void)
{
	int fd, served;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		fatal("socket");
	served =
	    connect(fd, (struct sockaddr *)&ctlsock, sizeof(ctlsock)) == 0 ||
	    errno == EAGAIN;
	close(fd);
	return served;
}

/* A wrong path in the policy must not cost a file. */
static int
remove_stale(void)
{
	struct stat st;

	if (lstat(ctlsock.sun_path, &st) == -1)
		return errno == ENOENT ? 0 : -1;
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return -1;
	}
	return unlink(ctlsock.sun_path);
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
ctlsock_remove(void)
{
	if (getpid() == ctlsock_owner && unlink(ctlsock.sun_path) == -1 &&
	    errno != ENOENT)
		log_warn("control socket %s", ctlsock.sun_path);
}

static int
bind_private(int fd)
{
	mode_t old = umask(0777);
	int rc;

	/* Nobody may connect before owner and mode are right. */
	rc = bind(fd, (struct sockaddr *)&ctlsock, sizeof(ctlsock));
	umask(old);
	if (rc == 0) {
		ctlsock_owner = getpid();
		atexit(ctlsock_remove);
	}
	return rc;
}

int
ctlsock_listen(const char *path, const char *group)
{
	gid_t gid;
	int fd;

	if (find_group(group, &gid) == -1)
		return -1;
	ctlsock.sun_family = AF_UNIX;
	strlcpy(ctlsock.sun_path, path, sizeof(ctlsock.sun_path));
	if (is_served()) {
		log_warnx("another usbmgrd serves %s already", path);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1 || remove_stale() == -1 || bind_private(fd) == -1 ||
	    chown(path, 0, gid) == -1 || chmod(path, 0660) == -1 ||
	    listen(fd, BACKLOG) == -1) {
		log_warn("control socket %s", path);
		if (fd != -1)
			close(fd);
		return -1;
	}
	return fd;
}
