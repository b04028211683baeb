/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef PARENT_H
#define PARENT_H

#include <stdint.h>
#include "auditchain.h"
#include "conf.h"

/*
 * What the parent opens, a file each.  A child asks by number; nothing here
 * takes a path from one.
 */

/*
 * parent_open_beneath: openat2(2) of path below dirfd, or of an absolute one
 * where dirfd is AT_FDCWD, without following a symbolic link anywhere.
 * O_CLOEXEC is added.  Returns a descriptor that is the caller's, or -1 with
 * errno set (ELOOP: a symbolic link).
 */
int parent_open_beneath(int dirfd, const char *path, int flags);

/* "UID:GID" of a child's user. */
#define USER_IDS_MAX 24

/*
 * users_find: look up the users of all children, those of the policy or else
 * those that are built in.  0, or -1 after a message for each that is missing,
 * root's or has the number of another one.  users_ids: what was found, static
 * storage.
 */
int users_find(const struct conf *);
const char *users_ids(enum proc_id);

/*
 * logs_init: open the log directory, which is made (0750) when only its last
 * component is missing.  0, or -1 after a message.
 */
int logs_init(const char *directory);

/*
 * logs_open: the audit log of a process, appending, made 0640 when missing,
 * and where the chain of its lines ends: in this file, or in the one that it
 * was renamed to, FILE.1, or nowhere.  The lines are not understood, only
 * hashed.  Returns a descriptor that is the caller's, or -1 with errno set.
 */
int logs_open(enum proc_id, struct auditchain *);

/*
 * logs_watch: call deleted when the log of a process was deleted, which then
 * should open it again.
 */
void logs_watch(void (*deleted)(enum proc_id));

/*
 * logs_again: use the directory that has that name now.  -1 after a message
 * if there is none that may be used, or no log can be made in it; the one
 * before is then kept.
 */
int logs_again(void);

/*
 * ctlsock_listen: make a control socket of that group ("": root's); mode
 * 0660, or 0666 if it is readonly and has no group.  Refuses when somebody
 * answers on it; replaces one that nobody does.  exit(3) will remove it.
 * Returns the listening descriptor, the caller's, or -1 after a message.
 * Once for each value of readonly.
 */
int ctlsock_listen(const char *path, const char *group, int readonly);

/* usbfs_init: hold /dev open.  Ends the process when it cannot. */
void usbfs_init(void);

/*
 * usbfs_open: the node of a device, opened for reading and writing, that is
 * the character device 189 with the minor number of that bus and device
 * (kernel drivers/usb/core/devio.c).  Returns a descriptor that is the
 * caller's, or -1 with errno set.
 */
int usbfs_open(unsigned int busnum, unsigned int devnum);

/*
 * usbfs_release: bind the host's drivers to the interfaces of a device that
 * have none (USBDEVFS_CONNECT, kernel drivers/usb/core/devio.c proc_ioctl);
 * a driver that is bound stays.  How many were bound, or -1 with errno set.
 */
int usbfs_release(unsigned int busnum, unsigned int devnum);

/*
 * Told what comes of connecting.  connected: the conn-th connection is there,
 * fd is the callee's from then on, pid the process at the other end.  failed:
 * error is an errno, told once; ended is 1 if no QEMU that was connected before
 * lives any more, conn the last connection that there was, 0 if none.
 * gone: the machine that was released has ended, so has what was wanted; to
 * be answered with qmpsock_lost.
 */
struct qmpsock_ops {
	void (*connected)(uint32_t vm, uint32_t conn, int fd, int32_t pid);
	void (*failed)(uint32_t vm, int error, int ended, uint32_t conn);
	void (*gone)(uint32_t vm);
};

/* qmpsock_init: prepare for watching sockets. */
void qmpsock_init(const struct qmpsock_ops *);

/*
 * qmpsock_add: connect to the socket of a machine now and whenever it
 * appears (inotify(7)), until it is connected.  What was connected once is
 * connected to again until it is dead, whatever has its name by then.  Only
 * one that is shared may be released.
 */
void qmpsock_add(uint32_t vm, const char *path, int shared);

/* qmpsock_remove: forget that machine; no effect if there is none. */
void qmpsock_remove(uint32_t vm);

/* qmpsock_has: 1 if that machine's socket is looked after. */
int qmpsock_has(uint32_t vm);

/*
 * qmpsock_release: the connection was closed, and no other one is made until
 * qmpsock_want; meanwhile the end of the machine is noticed by that of its
 * process or of its socket file.  While the machine's queue of clients is
 * full (EAGAIN) the tries go on.  Both: -1 if it is not the time for that.
 */
int qmpsock_release(uint32_t vm);
int qmpsock_want(uint32_t vm);

/*
 * qmpsock_suspend: the QMP client has ended, and all connections with it:
 * none is made until qmpsock_resume, which begins with all machines anew.
 */
void qmpsock_suspend(void);
void qmpsock_resume(void);

/*
 * qmpsock_each_failed: call cb with what was last told to failed, if it is so.
 */
void qmpsock_each_failed(
    void (*cb)(uint32_t vm, int error, int ended, uint32_t conn));

/*
 * qmpsock_lost: the connection is over; how it ended decides how soon the
 * next try is.  -1 if there is no such machine or it has no connection.
 */
int qmpsock_lost(uint32_t vm, enum qmp_end);

#endif
