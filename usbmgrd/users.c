/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include "log.h"
#include "parent.h"

static char users[PROC_MAX][USER_IDS_MAX];

/* systemd-sysusers knows those that are built in. */
static void
say_missing(enum proc_id proc, const char *user)
{
	log_warnx(
	    "user %s, whom the %s is to run as, does not exist; %suseradd "
	    "--system --user-group --home-dir /nonexistent --shell "
	    "/usr/sbin/nologin %s",
	    user, proc_name(proc),
	    strcmp(user, proc_table[proc].user) == 0
		? "run systemd-sysusers, or "
		: "run ",
	    user);
}

static int
find_user(enum proc_id proc, const char *user, char *ids)
{
	const struct passwd *pw;

	if ((pw = getpwnam(user)) == NULL) {
		say_missing(proc, user);
		return -1;
	}
	if (pw->pw_uid == 0 || pw->pw_gid == 0) {
		log_warnx("user %s must not have the user or group number of "
			  "root",
		    user);
		return -1;
	}
	snprintf(ids, USER_IDS_MAX, "%u:%u", pw->pw_uid, pw->pw_gid);
	return 0;
}

int
users_find(const struct conf *conf)
{
	const char *user;
	enum proc_id proc;
	int rv = 0;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		user = conf->processes[proc].user;
		if (user[0] == '\0')
			user = proc_table[proc].user;
		if (find_user(proc, user, users[proc]) == -1)
			rv = -1;
	}
	return rv;
}

const char *
users_ids(enum proc_id proc)
{
	return users[proc];
}
