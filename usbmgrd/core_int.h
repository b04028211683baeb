/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CORE_INT_H
#define CORE_INT_H

#include <sys/queue.h>
#include <sys/tree.h>
#include "core.h"
#include "core_source.h"
#include "retry.h"

/*
 * What the files of the engine's core share, and nobody else includes but
 * tests/sim/memory.c.
 */

/* Where an attachment stands. */
enum att_state {
	ATT_PENDING,
	ATT_ATTACHED,
	ATT_DETACHING,
	ATT_LOST /* so is the connection: the machine may have it still */
};

struct device;
struct vm;

/* A device in a machine, on its way into it or out of it. */
struct attachment {
	RB_ENTRY(attachment) vm_entry;
	LIST_ENTRY(attachment) orphan_entry; /* when dev is NULL */
	struct vm *vm;
	struct device *dev; /* NULL: not plugged (any more) */
	enum att_state state;
	int unplugged; /* one that is plugged there by now is another one */
	int dropped; /* detaching, and somebody else took it out */
	int outdated; /* pending, and judged anew since it was asked for */
	uint32_t request;
	uint32_t guest_port;
	uint64_t since; /* when it was asked for */
	struct usbport port;
	uint16_t devnum;
	char id[MSG_ID_MAX];
	struct retry retry; /* of a detach that failed */
};

/* That the rule of a device names a machine. */
struct interest {
	LIST_ENTRY(interest) entry;
	struct device *dev;
};

struct device {
	RB_ENTRY(device) entry;
	struct usbdev dev;
	const struct msg_rule *rule; /* NULL: none matches */
	int companion; /* it matched through the other half of the port */
	struct interest interests[MSG_RULE_VMS_MAX + 1];
	unsigned int ninterests;
	struct attachment *att;
	enum device_state state;
	uint32_t request; /* of the last attach */
	int dropped; /* somebody else took it out of its machine */
	enum override override; /* what a person said, */
	uint32_t override_vm; /* the machine, */
	uint32_t override_uid; /* and who it was */
	int override_force;
	unsigned int scan; /* the last one that told of it */
	struct retry retry; /* of an attach that failed */
	TAILQ_ENTRY(device) damped_entry;
	uint64_t damped_until; /* it is to stay first; 0: not */
	uint32_t failed_vm; /* the machine that refused it */
	char failure[MSG_TEXT_MAX]; /* and why */
	char reason[MSG_TEXT_MAX];
	struct source_device source;
};

/* What a machine was given by somebody else. */
struct foreign {
	LIST_ENTRY(foreign) entry;
	struct vm *vm;
	int told; /* since the machine last said that this was all */
	struct msg_vm_foreign msg;
};

RB_HEAD(core_att_tree, attachment);
RB_PROTOTYPE(core_att_tree, attachment, vm_entry, core_att_cmp)

struct vm {
	TAILQ_ENTRY(vm) entry;
	struct msg_vm conf;
	enum vm_state state;
	int known; /* it was heard of: up, or nobody listens there */
	uint32_t conn; /* number of the last connection that was told of */
	int deserted; /* the parent's last word: no QEMU is left of it, */
	uint32_t deserted_conn; /* after that connection */
	int full; /* some device may wait for a port */
	int migrating; /* it is to be left alone */
	enum handover handover; /* in use */
	int gone; /* left the policy, and goes when it holds nothing */
	char reason[MSG_TEXT_MAX];
	LIST_HEAD(, interest) interests;
	struct core_att_tree attachments; /* by request */
};

struct core_damping {
	RB_HEAD(flapping_tree, flapping) ports;
	TAILQ_HEAD(, flapping) latest; /* the same, the last one plugged last */
	TAILQ_HEAD(, device) devices; /* that are damped, by damped_until */
};

RB_HEAD(core_device_tree, device);
RB_PROTOTYPE(core_device_tree, device, entry, core_device_cmp)

struct core {
	struct policy *policy;
	struct core_device_tree devices;
	TAILQ_HEAD(, vm) vms;
	LIST_HEAD(, attachment) orphans;
	LIST_HEAD(, foreign) foreigns;
	struct retry_list retries;
	struct core_damping damping;
	uint64_t settle_at; /* until then machines are waited for; 0: not */
	uint64_t now;
	uint32_t last_request;
	int scan_done;
	uint64_t generation; /* counts the policies */
	uint32_t *left; /* see core_left */
	size_t nleft;
	unsigned int scan; /* counts the monitors */
	struct core_action *actions;
	size_t nactions;
	size_t maxactions;
	struct core_sources sources;
};

/* core.c: actions */

/*
 * core_action_add: one more action of this event.  It stays where it is
 * until the next one is added.
 */
struct core_action *core_action_add(struct core *, enum core_action_type,
    const struct usbport *, uint16_t devnum, const char *reason);

/* core_action_identify: fill in what the device is. */
void core_action_identify(struct core_action *, const struct usbdev *);

/* core_att.c: what is in a machine, on its way in or out */

int core_att_cmp(struct attachment *, struct attachment *);

/*
 * core_att_new: dev is NULL for what is not plugged; the machine has nothing
 * else with that request number.
 */
struct attachment *core_att_new(struct core *, struct vm *, struct device *dev,
    const struct usbport *, uint16_t devnum, uint32_t request);

/*
 * core_att_free: forget the attachment; what that means for its device is up
 * to the caller, who reconciles it.
 */
void core_att_free(struct core *, struct attachment *);

/* core_att_find: by request number; NULL if the machine has none. */
struct attachment *core_att_find(const struct vm *, uint32_t request);

/*
 * core_att_device: the device that is meant, also if it has another
 * attachment by now; NULL if it is not plugged.
 */
struct device *core_att_device(struct core *, const struct attachment *);

/* core_att_detach: ask the machine for it. */
void core_att_detach(struct core *, struct attachment *, const char *reason);

/* core_att_reconcile: for one that has no device: it has to leave. */
void core_att_reconcile(struct core *, struct attachment *);

/*
 * core_att_elsewhere: 1 if a machine still has that very device, but not as
 * the attachment of the device itself.
 */
int core_att_elsewhere(const struct core *, const struct usbdev *);

/* core_att_adopt: what a machine has of this device belongs to it now. */
void core_att_adopt(struct core *, struct device *);

/* core_att_dropped: somebody else took it out of its machine. */
void core_att_dropped(struct core *, struct attachment *);

void core_event_result(struct core *, const struct msg_result *);

/* core_device.c: what is plugged */

int core_device_cmp(struct device *, struct device *);

/* core_device_find: NULL if nothing is plugged there. */
struct device *core_device_find(struct core *, const struct usbport *);

/* core_device_decide: ask the policy; forgets failures of the past. */
void core_device_decide(struct core *, struct device *);

/* core_device_reconcile: act on what differs from where policy wants it. */
void core_device_reconcile(struct core *, struct device *);

/* core_device_release: the machine that had it died without giving it back. */
void core_device_release(struct core *, const struct device *);

/* core_device_remove: it is unplugged; frees it. */
void core_device_remove(struct core *, struct device *);

void core_event_device(struct core *, const struct usbdev *);
void core_event_device_gone(struct core *, const struct msg_device_gone *);
void core_event_scan_done(struct core *);

/*
 * core_device_protect: DEV_HELD with the reason, in MSG_TEXT_MAX bytes, if no
 * rule passes it, or only one that says "even if busy"; else DEV_UNASSIGNED.
 */
enum device_state core_device_protect(
    const struct device *, int even_if_busy, char *reason);

/* core_device_breach: the same if it breaks that pledge. */
enum device_state core_device_breach(
    const struct device *, uint64_t pledge, const char *whose, char *reason);

/* core_override.c: what people say */

/* core_override_check: the same if it must not be in that machine. */
enum device_state core_override_check(
    const struct device *, const struct vm *, int force, char *reason);

/* core_override_vm: the machine that it was given by hand, or NULL. */
struct vm *core_override_vm(const struct core *, struct device *);

/* core_override_reason: into buf, which is returned. */
const char *core_override_reason(const struct device *, char buf[MSG_TEXT_MAX]);

void core_event_override(struct core *, const struct core_override *);

/* core_foreign.c: what others gave to machines */

/* core_foreign_has: of whose the device may be; NULL if nobody's. */
const struct foreign *core_foreign_has(
    const struct core *, const struct usbdev *);

/* core_foreign_any: 1 if somebody else gave that machine anything. */
int core_foreign_any(const struct core *, const struct vm *);

/* core_foreign_untold: its connection is lost; a new one tells all again. */
void core_foreign_untold(struct core *, const struct vm *);

/*
 * core_foreign_forget: what the machine has no more: all, or what was not
 * told since the last time.
 */
void core_foreign_forget(struct core *, struct vm *, int all);

void core_event_vm_foreign(struct core *, const struct msg_vm_foreign *);

/* core_vm.c: machines */

/* core_vm_new: one that is absent, last in the list. */
struct vm *core_vm_new(struct core *, const struct msg_vm *);

/* core_vm_find: NULL if there is none of that number. */
struct vm *core_vm_find(const struct core *, uint32_t number);

/* core_vm_is_coming: 1 if it is connected to and not ready yet. */
int core_vm_is_coming(const struct vm *);

/*
 * core_vm_may_ask: 1 if it may be asked for something.  What it has is told
 * before it is ready, and perhaps before the number of its connection is.
 */
int core_vm_may_ask(const struct vm *);

/* core_vm_reconcile: everything that is in it or wants to be. */
void core_vm_reconcile(struct core *, struct vm *);

/* core_vm_port_freed: a port of the guest has become free. */
void core_vm_port_freed(struct core *, struct vm *);

/*
 * core_vm_reap: forget a machine that left the policy and holds nothing, once
 * that is known.
 */
void core_vm_reap(struct core *, struct vm *);

/*
 * core_vm_awaited: a machine that has not been heard of yet, as long as that
 * is waited for: any device may be in it since before we started.  NULL if
 * there is none.
 */
const struct vm *core_vm_awaited(const struct core *);

/*
 * core_vm_expect: a new machine may have devices; wait until it was heard of.
 */
void core_vm_expect(struct core *);

/* core_vm_settle: the time for that is up. */
void core_vm_settle(struct core *);

void core_event_policy(struct core *, struct policy *);
void core_event_vm_leaving(struct core *, const struct msg_vm *);
void core_event_vm_socket(struct core *, const struct msg_vm_socket *);
void core_event_vm_state(struct core *, const struct msg_vm_state *);
void core_event_vm_has(struct core *, const struct msg_vm_has *);
void core_event_vm_dropped(struct core *, const struct msg_vm_has *);
void core_event_vm_port(struct core *, const struct msg_vm_number *);

/* core_damping.c: ports that flap */

void core_damping_init(struct core *);
void core_damping_free(struct core *);

/* core_damping_plugged: it is new; damped from now on if its port flaps. */
void core_damping_plugged(struct core *, struct device *);

/* core_damping_end: damped no longer, as when it is unplugged. */
void core_damping_end(struct core *, struct device *);

/*
 * core_damping_policy: there is a new one; nothing waits longer than it says.
 */
void core_damping_policy(struct core *);

/* core_damping_tick: those that have stayed long enough. */
void core_damping_tick(struct core *);

/* core_damping_next: when that is due; 0: never. */
uint64_t core_damping_next(const struct core *);

/* core_damping_holds: 1 if it has to stay first, with the reason. */
int core_damping_holds(
    const struct core *, const struct device *, char reason[MSG_TEXT_MAX]);

/* core_recover.c: another process has taken the place of one that ended */

void core_event_scan(struct core *);
void core_event_qmpclient_lost(struct core *);

/* core_forget_unseen: the devices that the last scan did not tell of. */
void core_forget_unseen(struct core *);

#endif
