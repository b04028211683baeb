/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef ATTACH_H
#define ATTACH_H

#include "vm.h"

/*
 * Attaching and detaching.  For an attach the engine says what (MSG_ATTACH)
 * and the parent sends the open usbfs node (MSG_DEVICE_FD, or
 * MSG_OPEN_FAILED).  The two come in any order and are brought together by
 * the request number; where one does not come the other one is given up.
 * Each MSG_ATTACH and MSG_DETACH is answered by exactly one MSG_RESULT.
 */
#define ATTACH_HALF_MS 10000
#define ATTACH_PENDING_MAX 128

/* attach_request: MSG_ATTACH.  A payload that makes no sense ends us. */
void attach_request(const struct msg_attach *);

/* attach_device: MSG_DEVICE_FD; takes fd. */
void attach_device(const struct msg_open_device *, int fd);

/* attach_open_failed: MSG_OPEN_FAILED. */
void attach_open_failed(const struct msg_open_failed *);

/* detach_request: MSG_DETACH.  An id that is not of ours ends us. */
void detach_request(const struct msg_detach *);

/*
 * detach_refuse: answer MSG_DETACH without doing anything; text says why.
 */
void detach_refuse(const struct msg_detach *, enum result, const char *text);

/*
 * attach_vm_lost: the requests that wait, for their other half or for a
 * connection, fail.  attach_vm_online: those that waited for a connection
 * are sent.  attach_waiting: 1 if there are such ones, else 0.
 */
void attach_vm_lost(uint32_t vm);
void attach_vm_online(uint32_t vm);
int attach_waiting(uint32_t vm);

/*
 * attach_forget: there is a new engine.  What still waits is dropped, and
 * what is on its way is answered to nobody.
 */
void attach_forget(void);

/* detach_fdsets: the machine runs again: drop what it could not close. */
void detach_fdsets(struct vm *);

#endif
