/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CORE_H
#define CORE_H

#include <stddef.h>
#include <stdint.h>
#include "evejson.h"
#include "msg.h"
#include "policy.h"

/*
 * What the engine decides, as a function: an event and the state give the
 * new state and actions.  No clock, no I/O: time comes with the event.
 *
 * It is level-triggered: after each event, what it touched is compared with
 * where policy wants it, and the difference becomes actions.
 */

struct core;

enum core_event_type {
	EV_POLICY, /* policy */
	EV_DEVICE, /* device */
	EV_DEVICE_GONE, /* gone */
	EV_SCAN_DONE,
	EV_VM_LEAVING, /* vm: left before this engine began, has devices */
	EV_VM_SOCKET, /* vm_socket */
	EV_VM_HAS, /* has */
	EV_VM_STATE, /* vm_state */
	EV_VM_DROPPED, /* has */
	EV_VM_FOREIGN, /* foreign */
	EV_VM_PORT, /* vm_number */
	EV_RESULT, /* result */
	EV_TICK, /* time passes */
	EV_SCAN, /* a new monitor tells of all devices, then EV_SCAN_DONE */
	EV_QMPCLIENT_LOST, /* it has ended; a new one connects anew */
	EV_OVERRIDE, /* override */
	/* EVE's files: between BEGIN and END all that there are */
	EV_EVE_BEGIN,
	EV_EVE_END,
	EV_EVE_ADAPTERS, /* adapters; NULL: they could not be read, as before */
	EV_EVE_ADAPTERS_GONE,
	EV_EVE_DOMAIN, /* domain; its status is NULL if it could not be read */
	EV_EVE_DOMAIN_GONE /* domain */
};

/* Who says what is to become of a device, whatever the rules say. */
struct core_override {
	struct usbport port;
	uint16_t devnum; /* 0: whatever is plugged there */
	enum override command;
	int force; /* past pledges and protection */
	uint32_t uid;
	int32_t pid;
	char vm[MSG_VM_NAME_MAX]; /* to attach it to */
};

struct core_domain {
	char key[MSG_KEY_MAX]; /* of its file */
	struct domain *status;
};

struct core_event {
	enum core_event_type type;
	uint64_t now; /* milliseconds, never less than in the event before */
	union {
		struct policy *policy; /* the core takes it */
		const struct usbdev *device;
		const struct msg_device_gone *gone;
		const struct msg_vm *vm;
		const struct msg_vm_socket *vm_socket;
		const struct msg_vm_has *has;
		const struct msg_vm_foreign *foreign;
		const struct msg_vm_number *vm_number;
		const struct msg_vm_state *vm_state;
		const struct msg_result *result;
		const struct core_override *override;
		struct bundle_list *adapters; /* the core takes them */
		const struct core_domain *domain; /* it takes the status */
	} u;
};

/* In the order in which the actions of one event are given. */
enum core_action_type {
	ACT_DETACH,
	ACT_ATTACH,
	ACT_HOLD,
	ACT_RELEASE, /* its machine died: back to the host's drivers */
	ACT_VM_NEW, /* of EVE: vm and vmname */
	ACT_VM_GONE /* vm */
};

struct core_action {
	enum core_action_type type;
	uint32_t vm; /* its number; 0 for a hold and a release */
	const char *vmname; /* NULL for these */
	uint32_t request; /* of an attach, also for its detach */
	uint32_t conn; /* that made the machine ready */
	enum handover handover; /* of an attach: FD or ADDRESS */
	struct usbport port;
	uint16_t devnum;
	uint16_t vendor; /* 0 in a detach of a device that was not seen */
	uint16_t product;
	enum usbspeed speed;
	unsigned int speeds; /* usbdev_speeds */
	int companion; /* the rule matched through the companion port */
	uint64_t uevent;
	uint8_t digest[USBDEV_DIGEST_LEN];
	char id[MSG_ID_MAX]; /* of an attach or a detach */
	char reason[MSG_TEXT_MAX];
};

/* core_new: knows nothing yet; NULL when memory is short. */
struct core *core_new(void);

/*
 * core_alone: there are no other processes, as in replay: EVE's files are
 * known from the begin, and its machines are ready once they run.
 */
void core_alone(struct core *);

/*
 * core_eve_refused: call cb for each bundle of EVE that gives no rule though
 * it should, unless the bundles are those of that time; returns the time now.
 */
unsigned int core_eve_refused(const struct core *, unsigned int time,
    void (*cb)(const struct bundle *, const char *why, void *arg), void *arg);

/* core_free: no effect on NULL. */
void core_free(struct core *);

/*
 * core_event: the event's data are the caller's and were checked (see
 * usbdev_check).  Returns the actions, *n of them, sorted by type, bus and
 * port; they stay until the next call.  NULL, *n 0, if there are none.
 * When memory runs out the process ends.
 */
const struct core_action *core_event(
    struct core *, const struct core_event *, size_t *n);

/*
 * core_sort_actions: put the actions of several calls in the order in which
 * those of one call are.
 */
void core_sort_actions(struct core_action *, size_t n);

/* core_devnum: of what is plugged there, 0 for nothing. */
uint16_t core_devnum(struct core *, const struct usbport *);

/* core_next: when EV_TICK is due, in the time of events; 0: never. */
uint64_t core_next(const struct core *);

/*
 * core_requests_from: requests up to that number were made before; one that
 * is out of range has no effect.
 */
void core_requests_from(struct core *, uint32_t last);

/*
 * core_check_result: is it an answer to something that was asked of that
 * machine?  1 or 0.
 */
int core_check_result(const struct core *, const struct msg_result *);

/*
 * core_override_try: may that be done now?  0; or -1 with the reason in why.
 * EV_OVERRIDE has no effect if not.
 */
int core_override_try(
    struct core *, const struct core_override *, char *why, size_t size);

/* core_vm_name: of a machine, "" if there is none of that number. */
const char *core_vm_name(const struct core *, uint32_t number);

/*
 * core_vm_number: of that name; 0 if there is none.  core_vm_left: 1 if it
 * left the policy; then another one may have its name.
 */
uint32_t core_vm_number(const struct core *, const char *name, int left);
int core_vm_left(const struct core *, uint32_t number);

/*
 * core_left: the machines that left the policy and of which nothing is known
 * any more since the last event; *n of them.
 */
const uint32_t *core_left(const struct core *, size_t *n);

/* What is known of a request number. */
struct core_request {
	struct usbport port;
	uint16_t devnum;
	int detaching; /* else attaching, or attached */
	uint64_t
	    since; /* when the attach was asked for, 0: before we started */
};

/* core_request_find: 0, or -1 if that machine has nothing of that number. */
int core_request_find(
    const struct core *, uint32_t vm, uint32_t request, struct core_request *);

/* core_device_get: all about a device; -1 if nothing is plugged there. */
int core_device_get(struct core *, const struct usbport *, struct ctl_device *);

/* core_nrules: how many the policy has, 0 if there is none. */
uint32_t core_nrules(const struct core *);

/*
 * core_rules: call cb for up to n rules of the policy from the one with that
 * place on.
 */
void core_rules(const struct core *, uint32_t first, uint32_t n,
    void (*cb)(const struct ctl_policy_rule *, void *), void *arg);

/* core_clock: the time that retries are shown relative to. */
void core_clock(struct core *, uint64_t now);

/*
 * core_explain: call rule for each rule that matches the device, in the
 * order of the policy, the deciding one last, then device.  -1 if nothing is
 * plugged there, else 0.  Looks at all rules: for people.
 */
int core_explain(struct core *, const struct usbport *,
    void (*rule)(const struct ctl_rule *, void *arg),
    void (*device)(const struct ctl_device *, void *arg), void *arg);

/*
 * core_devices, core_vms: call cb for each device, by bus and port; for each
 * machine, in the order of the policy.
 */
void core_devices(const struct core *,
    void (*cb)(const struct ctl_device *, void *arg), void *arg);
void core_vms(
    const struct core *, void (*cb)(const struct ctl_vm *, void *), void *arg);

#endif
