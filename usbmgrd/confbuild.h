/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CONFBUILD_H
#define CONFBUILD_H

#include "conf.h"

/*
 * What the grammar calls as it reads.  Each function takes the string that
 * it is given and reports what is wrong with it where it stands.
 */

/* build_start: begin an empty conf. */
void build_start(void);

/*
 * build_finish: resolve names, look at the whole, fill in defaults.  The
 * conf is the caller's, also after errors.
 */
struct conf *build_finish(void);

void build_log_directory(char *);
void build_log_required(void);
void build_control(char *);
void build_control_group(char *);
void build_control_readonly(void);
void build_control_end(void);
void build_events(enum events_source);
void build_damping(char *rate, char *hold);

void build_process(char *);
void build_process_user(char *);
void build_process_pledge(char *);

void build_vm(char *);
void build_vm_qmp(char *);
void build_vm_bus(char *);
void build_vm_ports(char *);
void build_vm_pledge(char *);
void build_vm_handover(char *);
void build_vm_monitor(char *);
void build_vm_release(char *);
void build_vm_adapter(char *);
void build_vm_end(void);

/*
 * build_timeout: of the machine being read, or after build_no_vm of all that
 * have none of their own.
 */
void build_no_vm(void);
void build_timeout(char *which, char *seconds);

/* Each after build_rule(RULE_SOURCE). */
void build_manifest(char *);
void build_eve(void);
void build_eve_adapters(char *);
void build_eve_domains(char *);
void build_eve_running(char *);

/* What a rule compares; the order in which rules are printed. */
enum match_kind {
	MATCH_CONTROLLER,
	MATCH_PORT,
	MATCH_BELOW,
	MATCH_PRODUCT,
	MATCH_SERIAL,
	MATCH_NAME,
	MATCH_MANUFACTURER,
	MATCH_CLASS,
	MATCH_SPEED,
	MATCH_MAX
};

void build_rule(enum rule_action);
void build_rule_flag(uint32_t);
void build_match(int kind);
void build_match_value(char *);
void build_list_empty(void);
void build_rule_vm(char *);
void build_rule_pledge(char *);
void build_rule_end(void);
void build_rule_drop(void); /* its line has an error */

#endif
