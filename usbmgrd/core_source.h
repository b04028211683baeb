/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CORE_SOURCE_H
#define CORE_SOURCE_H

#include <sys/queue.h>
#include "core.h"

/*
 * The sources of rules and machines in the engine's core: manifests and EVE.
 * Where a source stands in the policy it answers like a rule; its answer is
 * made for each device, and made again for the devices that it concerns when
 * a bundle or a machine changes.
 */

struct core;
struct device;
struct eve_domain;
struct source_answer;
struct vm;

/* Of a device. */
struct source_device {
	struct source_answer *answer; /* NULL: no source has one */
	int listed; /* a source may answer differently one day */
	LIST_ENTRY(device) entry;
	int changed; /* decided anew, to be reconciled */
	LIST_ENTRY(device) changed_entry;
};

/* Something read from a file of EVE, until all of them were. */
struct eve_staged;

/* Of the core. */
struct core_sources {
	LIST_HEAD(, device) devices;
	LIST_HEAD(, device) changed;
	int alone; /* see core_alone */
	int eve_known; /* all files were read once */
	int eve_staging; /* between EVE_BEGIN and EVE_END */
	int eve_left; /* a machine may have left */
	struct bundles *eve; /* its bundles and all its domains */
	unsigned int eve_time; /* how often its bundles changed */
	uint32_t last_number; /* of a machine of EVE */
	TAILQ_HEAD(, eve_domain) domains; /* by key */
	unsigned int ndomains;
	STAILQ_HEAD(, eve_staged) staged;
};

void core_source_init(struct core *);
void core_source_free(struct core *);

/* core_source_policy: there is another policy, and its machines. */
void core_source_policy(struct core *);

/* core_source_event: one of EV_EVE_*. */
void core_source_event(struct core *, const struct core_event *);

/* core_source_vm_state: it may be up now, or down, or known. */
void core_source_vm_state(struct core *, const struct vm *);

/* core_source_vm_reaped: the machine is about to be forgotten. */
void core_source_vm_reaped(struct core *, const struct vm *);

/*
 * core_source_reconcile: act on all that was decided anew.  To be called at
 * the end of each event.
 */
void core_source_reconcile(struct core *);

/*
 * core_source_decide: if a source decides in the place of the rule that
 * matched, put its answer there.
 */
void core_source_decide(struct core *, struct device *, struct policy_match *);

/* core_source_forget: the device goes. */
void core_source_forget(struct device *);

/*
 * core_source_holds: 1 if the device is unassigned by the word of a source,
 * with reason (MSG_TEXT_MAX) and state, else 0.
 */
int core_source_holds(const struct device *, char *reason, enum device_state *);

/*
 * core_source_where: of the rule of the device, or the bundle by which that
 * machine gets it; NULL: any machine.
 */
const char *core_source_where(const struct device *, const struct vm *);

/*
 * core_source_rule: the rule of the policy that decides on the device: its
 * own, or the one that stands for the source whose answer that is; NULL if
 * none does.
 */
const struct msg_rule *core_source_rule(const struct device *);

/*
 * core_source_explain: what the source that this rule stands for says of the
 * device: a rule that stays until the next call, or NULL if it says nothing.
 */
const struct msg_rule *core_source_explain(
    struct core *, const struct device *, const struct msg_rule *source);

#endif
