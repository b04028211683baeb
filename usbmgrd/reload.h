/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef RELOAD_H
#define RELOAD_H

#include "conf.h"

/*
 * The parent's policy, and how another one takes its place while all runs.
 * A file with errors changes nothing.
 */

/*
 * reload_init: conf, which is taken, came from that file and is in force;
 * path stays the caller's.
 */
void reload_init(const char *path, struct conf *conf);

/*
 * reload_now: read the file again and send what it says to the children.
 * While the one before is not yet in force it is done after that.  With
 * tell_engine the engine waits for errors, warnings and the result.
 */
void reload_now(int tell_engine);

/* reload_is_pending: 1 while the engine has not said that it has it. */
int reload_is_pending(void);

/*
 * reload_done: the engine has the policy that it was sent.  reload_refused:
 * it cannot use it, for that reason.
 */
void reload_done(void);
void reload_refused(const char *why);

/* reload_vm_left: that machine of a policy before has no device any more. */
void reload_vm_left(uint32_t vm);

/* reload_vm_has_left: 1 if there was such a machine, but is no more. */
int reload_vm_has_left(uint32_t vm);

/* reload_each_leaving: machines that left the policy and may have devices. */
void reload_each_leaving(void (*)(const struct msg_vm *));

/* reload_vm_name: of a machine of the policy in force, else "". */
const char *reload_vm_name(uint32_t vm);

/* reload_audit: log the policy that is in force. */
void reload_audit(const struct conf *);

#endif
