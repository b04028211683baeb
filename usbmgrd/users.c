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

static const char *
user_of(const struct conf *conf, enum proc_id proc)
{
	const char *user = conf->processes[proc].user;

	return user[0] == '\0' ? proc_table[proc].user : user;
}

/* One could signal and trace the other. */
static int
check_own(const struct conf *conf, enum proc_id proc)
{
	size_t len = strcspn(users[proc], ":") + 1;
	enum proc_id other;

	for (other = PROC_FIRST_CHILD; other < proc; other++)
		if (strncmp(users[proc], users[other], len) == 0) {
			log_warnx("user %s has the number of %s: each process "
				  "needs its own",
			    user_of(conf, proc), user_of(conf, other));
			return -1;
		}
	return 0;
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
	enum proc_id proc;
	int rv = 0;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (find_user(proc, user_of(conf, proc), users[proc]) == -1 ||
		    check_own(conf, proc) == -1)
			rv = -1;
	return rv;
}

const char *
users_ids(enum proc_id proc)
{
	return users[proc];
}
