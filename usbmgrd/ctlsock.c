/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <errno.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "parent.h"

#define BACKLOG 16

static struct sockaddr_un ctlsock;

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

static int
bind_private(int fd)
{
	mode_t old = umask(0777);
	int rc;

	/* Nobody may connect before owner and mode are right. */
	rc = bind(fd, (struct sockaddr *)&ctlsock, sizeof(ctlsock));
	umask(old);
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
	if (unlink(path) == -1 && errno != ENOENT) {
		log_warn("control socket %s", path);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1 || bind_private(fd) == -1 || chown(path, 0, gid) == -1 ||
	    chmod(path, 0660) == -1 || listen(fd, BACKLOG) == -1) {
		log_warn("control socket %s", path);
		if (fd != -1)
			close(fd);
		return -1;
	}
	return fd;
}

void
ctlsock_remove(void)
{
	if (unlink(ctlsock.sun_path) == -1 && errno != ENOENT)
		log_warn("control socket %s", ctlsock.sun_path);
}
