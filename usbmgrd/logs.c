/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "log.h"
#include "parent.h"

static int logs_dir = -1;

int
logs_init(const char *directory)
{
	struct stat st;

	if (mkdir(directory, 0750) == -1 && errno != EEXIST) {
		log_warn("log directory %s", directory);
		return -1;
	}
	logs_dir =
	    parent_open_beneath(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY);
	if (logs_dir == -1 || fstat(logs_dir, &st) == -1) {
		log_warn("log directory %s", directory);
		return -1;
	}
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		log_warnx("log directory %s must be owned by root and "
			  "writable by nobody else",
		    directory);
		return -1;
	}
	return 0;
}

int
logs_open(enum proc_id proc)
{
	return parent_open_beneath(logs_dir, proc_table[proc].log,
	    O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW);
}
