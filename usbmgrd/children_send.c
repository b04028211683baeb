/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <fcntl.h>
#include "children.h"
#include "children_int.h"
#include "log.h"
#include "parent.h"
#include "parent_eve.h"
#include "reload.h"

static const struct msg_none none;
static int verbose;
static int control_socket = -1; /* once all serve */
static int readonly_socket = -1;
static int proc_self; /* /proc/PID of this process */

void
children_send_init(int verbosity)
{
	verbose = verbosity;
	/* A symbolic link, which nothing here follows later. */
	proc_self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc_self == -1)
		fatal("/proc/self");
}

static void
send_file(enum msg_type type, int dirfd, const char *path)
{
	int fd = parent_open_beneath(dirfd, path, O_RDONLY);

	if (fd == -1)
		fatal("%s", path);
	children_send(PROC_MONITOR, type, &none, fd);
}

static void
tell_engine_leaving(const struct msg_vm *vm)
{
	children_send(PROC_ENGINE, MSG_VM_LEAVING, vm, -1);
}

int
children_send_start(enum proc_id proc)
{
	struct msg_start start = { .verbose = (uint32_t)verbose };

	switch (proc) {
	case PROC_ENGINE:
		start.last_request = children_last_request();
		if (children_policy_start() == -1)
			return -1;
		reload_each_leaving(tell_engine_leaving);
		break;
	case PROC_MONITOR:
		send_file(MSG_MOUNTINFO, proc_self, "mountinfo");
		send_file(MSG_SWAPS, AT_FDCWD, "/proc/swaps");
		break;
	default:
		children_vm_send();
	}
	children_send(proc, MSG_START, &start, -1);
	return 0;
}

void
children_send_verbose(const struct msg_verbose *m)
{
	enum proc_id proc;

	verbose = m->verbose != 0;
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		children_send(proc, MSG_VERBOSE, m, -1);
}

/* What an engine has beside its policy */

void
children_send_process(enum proc_id proc)
{
	struct msg_process m;

	child_process(proc, &m);
	if (m.pid > 0)
		children_send(PROC_ENGINE, MSG_PROCESS, &m, -1);
}

static void
send_control(int sock, uint32_t readonly)
{
	struct msg_control m = { .readonly = readonly };
	int fd;

	if (sock == -1)
		return;
	if ((fd = fcntl(sock, F_DUPFD_CLOEXEC, 0)) == -1)
		fatal("control socket");
	children_send(PROC_ENGINE, MSG_CONTROL, &m, fd);
}

void
children_send_control(int control_fd, int readonly_fd)
{
	control_socket = control_fd;
	readonly_socket = readonly_fd;
}

void
children_send_engine(void)
{
	enum proc_id proc;

	for (proc = PROC_PARENT; proc <= PROC_LAST_CHILD; proc++)
		children_send_process(proc);
	children_send_process(PROC_SPAWNER);
	children_vm_send_failed();
	send_control(control_socket, 0);
	send_control(readonly_socket, 1);
	parent_eve_serve();
}
