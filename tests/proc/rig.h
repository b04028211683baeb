/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef RIG_H
#define RIG_H

#include <sys/types.h>

#include <stdint.h>

#include "imsg.h"
#include "msg.h"

/*
 * The real usbmgrd-qmpclient between a parent and an engine that the test
 * plays, and machines for it to talk to.  Whatever fails ends the test
 * (cmocka); rig_stop, to be called in a teardown, ends every process that
 * was started and removes what they left.
 */
#define RIG_PROCS_MAX 16
#define RIG_VMS_MAX 128
#define RIG_QUEUE_MAX 512
#define RIG_PAYLOAD_MAX 1024

/* A test waits this long for what should come at once. */
#define RIG_SOON_MS 5000

/* Of a QEMU: a controller, and a device that waits for one never plugged. */
#define RIG_XHCI " -device qemu-xhci,id=xhci,p2=15,p3=15"
#define RIG_NO_DEVICE " -device usb-host,vendorid=0xfff0"
#define RIG_OURS "usbmgrd-3-1.2-22-7" /* an id as usbmgrd gives them */

enum rig_link {
	RIG_PARENT,
	RIG_ENGINE,
	RIG_LINKS
};

/* A message that came and that nobody has asked for yet. */
struct rig_message {
	enum rig_link link;
	uint32_t type;
	uint32_t key; /* the first number of every payload: vm or request */
	uint32_t size;
	uint8_t payload[RIG_PAYLOAD_MAX];
};

struct rig {
	struct imsgbuf link[RIG_LINKS];
	int fd[RIG_LINKS];
	pid_t pid; /* of the qmpclient */
	pid_t procs[RIG_PROCS_MAX];
	unsigned int nprocs;
	struct rig_message queue[RIG_QUEUE_MAX];
	unsigned int nqueue;
	uint32_t conns; /* connections made so far */
	uint32_t ready[RIG_VMS_MAX]; /* the one of each machine's last ready */
	uint32_t handover[RIG_VMS_MAX]; /* and what that said */
	char dir[64];
	char log[96];
};

/*
 * rig_account: from now on, and only for this process and what it starts,
 * the user of the QMP client exists.  Ends the program if we are not root.
 */
void rig_account(void);

/*
 * rig_start: the process is started, confined and ready.  rig_bare: without
 * a process, only for machines.
 */
void rig_start(struct rig *);
void rig_bare(struct rig *);
void rig_stop(struct rig *);

/* rig_setup, rig_teardown: of a test with a rig, which is its state. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* rig_exit: close our ends if close_links; its exit status, or -signal. */
int rig_exit(struct rig *, int close_links);

/* rig_send: as parent or engine; takes fd. */
void rig_send(struct rig *, enum rig_link, enum msg_type, const void *, int fd);

/*
 * rig_get: wait for the next message of that type and key, from others come
 * before or not, and copy its payload (NULL: not wanted).  1, or 0 when it
 * did not come in ms.  rig_expect: it must come within RIG_SOON_MS.
 */
int rig_get(struct rig *, enum msg_type, uint32_t key, void *payload, int ms);
void rig_expect(struct rig *, enum msg_type, uint32_t key, void *payload);

/*
 * rig_qemu: start a QEMU with its QMP socket NAME; args is more of its
 * command line, split at blanks.  rig_peer: start qmp_peer.py instead.  Both
 * return when it listens, with the process id.
 */
pid_t rig_qemu(struct rig *, const char *name, const char *args);
pid_t rig_peer(
    struct rig *, const char *name, const char *when, const char *fault);

/* rig_two_monitors: rig_qemu with another QMP socket NAME2. */
pid_t rig_two_monitors(struct rig *, const char *name, const char *args);

/* rig_kill: that process, and wait for it. */
void rig_kill(struct rig *, pid_t, int sig);

/* rig_dial: connect to socket NAME. */
int rig_dial(struct rig *, const char *name);

/*
 * rig_vm: MSG_QMP_VM, as rig_vm_fill fills it; rig_connect: connect to NAME
 * and hand it over.
 */
void rig_vm_fill(
    struct msg_vm *, uint32_t number, const char *bus, enum handover);
void rig_vm(struct rig *, uint32_t number, const char *bus, enum handover);
void rig_connect(struct rig *, uint32_t number, const char *name);

/* rig_state: the machine must next be in that state; the reason in text. */
void rig_state(struct rig *, uint32_t number, enum vm_state, char *text);

/* rig_ready: rig_vm, rig_connect and wait until it is ready. */
void rig_ready(struct rig *, uint32_t number, const char *name, const char *bus,
    enum handover, char *text);

/* rig_lost: the machine must be lost with a reason that holds text. */
void rig_lost(struct rig *, uint32_t number, enum qmp_end, const char *text);

/* rig_attach, rig_detach: ask as the engine; device 3:9, devnum as given. */
void rig_attach(
    struct rig *, uint32_t request, uint32_t vm, unsigned int devnum);
void rig_detach(struct rig *, uint32_t request, uint32_t vm, const char *id);

/* rig_result: wait for it, at most ms; it must be that one. */
void rig_result(
    struct rig *, uint32_t request, enum result, struct msg_result *, int ms);

/* rig_rss: resident memory of the process in KiB. */
long rig_rss(const struct rig *);

/* rig_fds: number of descriptors that the process has open. */
unsigned int rig_fds(const struct rig *);

/* rig_now: milliseconds. */
uint64_t rig_now(void);

/*
 * rig_command: send one QMP command (whole JSON text) to socket NAME by a
 * connection of its own; the answer must hold text.
 */
void rig_command(
    struct rig *, const char *name, const char *json, const char *text);

#endif
