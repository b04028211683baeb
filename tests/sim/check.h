/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CHECK_H
#define CHECK_H

#include "world.h"

/*
 * What the core was told, apart from what it made of it, and what it may do
 * then.
 */

#define TOLD_FOREIGNS_MAX 16
#define REQUESTS_MAX 16384

struct told_vm {
	uint32_t number; /* 0: not in use */
	int qemu;
	int in_policy;
	int heard; /* ready, or not there, since the core knows it */
	int was_ready, ready, migrating;
	enum vm_state state;
	uint32_t conn;
	int deserted; /* the parent's last word, after that connection */
	uint32_t deserted_conn;
	struct others_device foreigns[TOLD_FOREIGNS_MAX];
	int fresh[TOLD_FOREIGNS_MAX]; /* told since the last whole list */
};

struct told_device {
	struct snapshot dev; /* its plug is 0: none */
	unsigned int scan;
	int dropped;
	enum override override;
	uint32_t override_vm;
	int force;
	/* refusals since something changed, of the machine of that number */
	uint32_t refused_by;
	enum result refused;
	unsigned int refusals[RESULT_MAX];
	int asked; /* an attach, and not judged anew since */
};

/*
 * Of all engines.  A number is used once, but for those that neither the
 * parent nor a machine can tell the next engine of.
 */
struct request {
	unsigned int engine; /* 0: not used */
	int slot;
	uint16_t devnum;
	uint32_t vm, detaching; /* the machine and connection asked for it */
	unsigned int failures; /* of its detach */
};

struct told {
	struct conf conf;
	unsigned int scan;
	uint64_t settled_at; /* until then all machines are waited for */
	struct told_vm vms[LINKS_MAX];
	struct told_device devices[SLOTS];
	uint32_t last_request; /* that was used or told of before this event */
	uint32_t next_request; /* and in it */
};

extern struct told told;

/* request_get: of that number to that QEMU. */
struct request *request_get(int qemu, uint32_t number);

struct told_vm *told_vm(uint32_t number);
const struct conf_vm *told_conf_vm(uint32_t number);
const struct others_device *told_foreign(const struct snapshot *, int *qemu);

/* told_start: another world.  told_engine: another engine, told nothing. */
void told_start(void);
void told_engine(void);

/* Each before the core hears of it. */
void told_policy(const struct conf *);
void told_leaving(uint32_t number, int qemu);
void told_device(const struct snapshot *);
void told_gone(const struct snapshot *);
void told_scan_done(void);
void told_has(uint32_t vm, uint32_t request, const struct snapshot *);
void told_dropped(uint32_t vm, uint32_t request, const struct snapshot *);
void told_foreign_device(uint32_t vm, const struct others_device *);
void told_state(const struct msg_vm_state *);
void told_socket(const struct msg_vm_socket *);
void told_result(const struct msg_result *);
void told_client_lost(void);
void told_override(const struct core_override *, int slot);
void told_vm_left(uint32_t vm);

/*
 * check_event: another one begins.  check_action: may the core do that?
 * check_memory: is what it keeps bounded?
 */
void check_event(void);
void check_action(const struct core_action *);
void check_memory(int at_rest);

#endif
