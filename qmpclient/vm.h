/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef VM_H
#define VM_H

#include <sys/queue.h>

#include <stdint.h>
#include "conn.h"
#include "msg.h"
#include "ports.h"
#include "qmpid.h"

/* A device of ours in a machine, or on its way in or out. */
enum device_at {
	DEVICE_ATTACHING,
	DEVICE_ATTACHED,
	DEVICE_DETACHING
};

/* By the last inventory. */
enum device_seen {
	DEVICE_UNSEEN,
	DEVICE_KNOWN,
	DEVICE_NEW
};

struct device {
	TAILQ_ENTRY(device) entry;
	char id[MSG_ID_MAX];
	struct qmpid parts; /* of id */
	enum device_at at;
	enum device_seen seen;
	unsigned int guest_port; /* 0: unknown */
};
TAILQ_HEAD(devices, device);

/* More than the 64 slots of an xHCI and what two hubs may add. */
#define VM_DEVICES_MAX 128
#define VM_FDSETS_MAX 64
#define VM_FOREIGNS_MAX 32
#define QOM_PATH_MAX 256
#define QOM_NAME_MAX 128

struct inventory;

/*
 * What a machine whose QMP socket others use, too (MONITOR_SHARED), needs
 * beside the rest: see shared.h.
 */
struct shared {
	struct loop_timer linger; /* until it is let go, or asked for again */
	uint64_t since; /* when it got online */
	int online; /* the inventory of this connection is complete */
	int wanted; /* a connection was asked for and did not come yet */
	int late; /* it was told that no greeting comes */
};

struct vm {
	TAILQ_ENTRY(vm) entry;
	struct msg_vm conf;
	int32_t pid; /* of the QEMU at the other end */
	uint32_t nconn; /* number of the connection */
	struct conn conn;
	/* The engine was told so: an inventory was complete. */
	uint32_t ready; /* the connection that it was of, 0: it is not */
	int untold; /* but it is a new one, and was not yet: see again.h */
	struct shared shared;
	int running; /* guest code runs: query-status, STOP, RESUME */
	int migrating; /* nothing is sent meanwhile */
	int recheck; /* take another inventory, not during this one */
	uint64_t looked; /* when the last one of all began */
	enum handover handover; /* in use: FD or ADDRESS */
	char ready_text[MSG_TEXT_MAX]; /* last told */
	char unable[32]; /* why it can take no device at all, or "" */
	struct msg_vm_foreign *foreigns; /* as last told */
	unsigned int nforeigns;
	char version[64];
	struct inventory *inventory; /* while one is taken */
	struct loop_timer recount; /* ask which ports are taken */
	char bus_path[QOM_PATH_MAX]; /* "": no bus to attach to */
	int had_bus; /* at the end of the last inventory */
	char bus_name[QOM_NAME_MAX];
	char problem[128]; /* why there is none, or "" */
	struct ports ports;
	struct port_range range; /* of the policy */
	struct devices devices;
	unsigned int ndevices;
	/* remove-fd of these has to be sent again when the machine runs */
	int32_t fdsets[VM_FDSETS_MAX];
	unsigned int nfdsets;
};

/*
 * The machines.  vm_add, vm_remove and vm_socket (which takes fd) are for
 * the messages of the parent, whose mistakes end the process.
 */
void vm_add(const struct msg_vm *);
void vm_remove(uint32_t number);
void vm_socket(const struct msg_qmp_socket *, int fd);

/* vm_gone: MSG_QMP_GONE. */
void vm_gone(uint32_t number);

/*
 * vm_say_state: tell the engine of a state, why in text, and log it.
 * vm_say_ready: the same of a machine that is ready, in words of its own;
 * told says that the engine was told of all that the machine has.  Nothing
 * is said that was said last, unless told.
 */
void vm_say_state(const struct vm *, enum vm_state, const char *text);
void vm_say_ready(struct vm *, int told);

/* vm_find: machine of that number, or NULL.  vm_each: fn for all of them. */
struct vm *vm_find(uint32_t number);
void vm_each(void (*fn)(struct vm *));

/*
 * vm_device_find: device of ours with that id, or NULL.  vm_device_add: a
 * new one, or NULL when there are VM_DEVICES_MAX.  vm_device_remove: forget
 * it, and its guest port is free.
 */
struct device *vm_device_find(struct vm *, const char *id);
struct device *vm_device_add(
    struct vm *, const char *id, const struct qmpid *, enum device_at);
void vm_device_remove(struct vm *, struct device *);

/*
 * vm_device_say: tell the engine of a device; type is MSG_VM_HAS or
 * MSG_VM_DROPPED.
 */
void vm_device_say(
    const struct vm *, const struct device *, enum msg_type type);

/* vm_port_free: nothing is in that guest port any more. */
void vm_port_free(struct vm *, unsigned int port);

/*
 * vm_inventory_done: all questions were answered; what others gave to the
 * machine are n devices at foreigns, which is taken (malloc; NULL if none).
 */
void vm_inventory_done(
    struct vm *, struct msg_vm_foreign *foreigns, unsigned int n);

/*
 * vm_look_again: something of what an inventory asks has changed; ask it all
 * again, after the inventory that is taken and not more often than once a
 * second.
 */
void vm_look_again(struct vm *);

/*
 * vm_recount_soon: what is in the guest's ports may have changed without us;
 * ask again, but not more often than once a second.
 */
void vm_recount_soon(struct vm *);

#endif
