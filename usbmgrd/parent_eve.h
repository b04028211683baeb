/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef PARENT_EVE_H
#define PARENT_EVE_H

#include "chan.h"
#include "conf.h"

/*
 * What the parent does for manifests and for EVE: it opens files and sends
 * them to the engine, and connects to the machines that the engine names.
 */

/* parent_eve_init: for this policy. */
void parent_eve_init(const struct conf *);

/* parent_eve_send_adapters: of all machines, in a policy on its way. */
void parent_eve_send_adapters(const struct conf *);

/*
 * parent_eve_send_source: what the rule that follows stands for.  A manifest
 * stays open in the conf.  0, or -1 after a message.
 */
int parent_eve_send_source(const struct conf *, struct conf_source *);

/*
 * parent_eve_serve: tell the engine of EVE's files, now and when they change.
 */
void parent_eve_serve(void);

/* parent_eve_policy: another policy is in force. */
void parent_eve_policy(const struct conf *);

/*
 * parent_eve_vm, parent_eve_vm_gone: MSG_EVE_VM and MSG_EVE_VM_GONE.  The
 * name is checked and put where the policy says that it belongs.
 */
void parent_eve_vm(struct chan *, const struct msg_vm_name *);
void parent_eve_vm_gone(struct chan *, const struct msg_vm_number *);

/*
 * parent_eve_send_machines: to a QMP client that has just started, those that
 * there are.  parent_eve_forget_machines: of an engine that has ended; a new
 * one names them anew, and finds what is in them.
 */
void parent_eve_send_machines(void);
void parent_eve_forget_machines(void);

/*
 * parent_eve_left: 1 if there was such a machine of EVE, of which the QMP
 * client may still speak, else 0.
 */
int parent_eve_left(uint32_t vm);

/* parent_eve_vm_name: of a machine of EVE that there is, else "". */
const char *parent_eve_vm_name(uint32_t vm);

#endif
