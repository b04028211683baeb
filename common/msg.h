/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef MSG_H
#define MSG_H

#include <stdint.h>
#include "auditchain.h"
#include "proc.h"
#include "usbdev.h"

/*
 * Every message between two processes.  The table is the only place that
 * says who sends it to whom, how long its payload is and whether it carries
 * a descriptor; the checks of chan.c, the names in logs and docs/PROTOCOL.md
 * are made from it.
 *
 * Payloads are structs of fixed size without holes (the compiler checks),
 * strings in them end in NUL.  The receiver checks again what the numbers
 * mean.
 */

#define MSG_VM_NAME_MAX 64
#define MSG_BUS_MAX 64
#define MSG_TEXT_MAX 256
#define MSG_WHERE_MAX 64
#define MSG_ID_MAX 96
#define MSG_RULE_VMS_MAX 16
#define MSG_LINE_MAX 2048
#define MSG_PROMISES_MAX 256

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

struct msg_none {
	uint32_t zero;
};

struct msg_log {
	struct auditchain chain; /* where the log ends */
	uint32_t required; /* a line that is lost ends the process */
	uint32_t zero;
};

struct msg_control {
	uint32_t readonly; /* who connects there may only look */
};

/* Which sibling is at the other end of the descriptor: enum proc_id. */
struct msg_peer {
	uint32_t proc;
};

enum events_source {
	EVENTS_AUTO,
	EVENTS_UDEV,
	EVENTS_KERNEL
};

struct msg_start {
	uint32_t verbose;
	uint32_t last_request; /* of the engine before this one, or 0 */
};

/* No request has this number or a higher one: see attach_fdset. */
#define REQUEST_MAX 0x40000000U

struct msg_verbose {
	uint32_t verbose;
};

#define DAMPING_PLUGS_MAX 32

/*
 * A port flaps when more than that many devices were plugged there in the
 * window; the next one has to stay for the hold.
 */
struct damping {
	uint32_t plugs; /* 1 to DAMPING_PLUGS_MAX; all 0: ports never flap */
	uint32_t window_ms;
	uint32_t hold_ms;
};

/* The policy, an item at a time; it counts from CONF_END on. */
struct msg_conf_begin {
	uint32_t vms;
	uint32_t rules;
	struct damping damping;
	uint8_t hash[AUDIT_HASH_LEN]; /* SHA-256 of what usbmgrd -nv prints */
};

/* How the machine is given a device. */
enum handover {
	HANDOVER_AUTO, /* as its QEMU can take it */
	HANDOVER_FD,
	HANDOVER_ADDRESS,
	HANDOVER_MAX
};

/* What a machine's devices become when it dies without giving them back. */
enum release {
	RELEASE_HOST, /* the host's drivers are bound to them again */
	RELEASE_NOBODY
};

/* Whether its QMP socket is for us alone. */
enum monitor_use {
	MONITOR_PERSISTENT,
	MONITOR_SHARED
};

#define QMP_TIMEOUT_MAX 3600000
#define QMP_TIMEOUT_DEFAULT 10000

struct msg_vm {
	uint64_t pledge; /* words of classes.h as bits, 0: none */
	uint32_t vm; /* number of this machine as long as it is known */
	uint32_t handover;
	uint16_t first_port; /* of the guest's bus that may be used; 0: all */
	uint16_t last_port;
	uint32_t monitor; /* enum monitor_use */
	uint32_t greeting_ms; /* how long its greeting may take */
	uint32_t reply_ms; /* and each answer */
	uint32_t release; /* enum release */
	uint32_t zero;
	char name[MSG_VM_NAME_MAX];
	char bus[MSG_BUS_MAX]; /* of the guest, "xhci.0"; "": find it */
};

enum rule_action {
	RULE_BLOCK,
	RULE_PASS,
	RULE_SOURCE /* what stands there comes from a manifest or from EVE */
};

/* What of a rule has a value to compare with. */
#define RULE_HAS_PORT 0x001
#define RULE_HAS_VENDOR 0x002
#define RULE_HAS_PRODUCT 0x004
#define RULE_HAS_BELOW 0x008
#define RULE_HAS_CLASS 0x010
#define RULE_HAS_SPEED 0x020
#define RULE_HAS_CONTROLLER 0x040
#define RULE_HAS_SERIAL 0x080
#define RULE_HAS_NAME 0x100
#define RULE_HAS_MANUFACTURER 0x200
#define RULE_HAS_TEXT (RULE_HAS_SERIAL | RULE_HAS_NAME | RULE_HAS_MANUFACTURER)
#define RULE_HAS_ALL 0x3ff

#define RULE_QUICK 0x1
#define RULE_EVEN_IF_BUSY 0x2
#define RULE_FLAGS_ALL 0x3

/*
 * A text of the rule that follows, which says in "has" that it has one: a
 * string or a pattern of fnmatch(3).
 */
struct msg_rule_text {
	uint32_t what; /* RULE_HAS_SERIAL and so on */
	char text[USBDEV_STRING_MAX];
};

struct msg_rule {
	uint64_t pledge; /* words of classes.h as bits, 0: none */
	uint32_t action; /* enum rule_action */
	uint32_t has;
	uint32_t flags;
	uint16_t vendor;
	uint16_t product;
	struct usbport port; /* busnum 0: on any bus */
	struct usbport below;
	struct usbclass class;
	uint8_t class_parts; /* how many of its numbers count */
	uint8_t speed; /* enum usbspeed */
	uint8_t zero[5];
	uint16_t nvms; /* 0 for a block */
	uint32_t vms[MSG_RULE_VMS_MAX];
	char controller[USBDEV_CONTROLLER_MAX];
	char where[MSG_WHERE_MAX]; /* "usbmgrd.conf:12" */
};

struct msg_vm_number {
	uint32_t vm;
};

/*
 * The connections to a machine are counted, so that what parent and QMP client
 * say of them to the engine can be put in order.
 */
struct msg_qmp_socket {
	uint32_t vm;
	int32_t pid; /* of the QEMU at the other end */
	uint32_t conn; /* number of the connection, from 1 */
};

/* No connection can be made. */
struct msg_vm_socket {
	uint32_t vm;
	int32_t error; /* errno of connect(2) */
	uint32_t ended; /* no QEMU that was connected before lives any more */
	uint32_t conn; /* the last one that was there before, or 0 */
};

enum qmp_end {
	QMP_END_CLOSED, /* by QEMU */
	QMP_END_PROTOCOL, /* what came was not QMP, or too much of it */
	QMP_END_TIMEOUT, /* no greeting or no answer in time */
	QMP_END_MAX
};

/* What the filter of a process that is about to die did not have. */
struct msg_trapped {
	uint32_t arch; /* AUDIT_ARCH_X86_64 and so on */
	int32_t nr; /* of the system call */
};

struct msg_qmp_lost {
	uint32_t vm;
	uint32_t end; /* enum qmp_end */
};

struct msg_device_gone {
	uint64_t uevent;
	struct usbport port;
	uint16_t devnum;
	uint16_t zero[2];
};

struct msg_open_device {
	uint32_t request;
	uint16_t busnum;
	uint16_t devnum;
};

/* A plugged device that nobody uses any more. */
struct msg_release_device {
	uint16_t busnum;
	uint16_t devnum;
};

struct msg_open_failed {
	uint32_t request;
	int32_t error; /* errno */
};

struct msg_attach {
	uint32_t request;
	uint32_t vm;
	uint32_t conn; /* as in the last VM_STATE that said ready */
	uint32_t handover; /* as well; by address, the parent opens nothing */
	struct usbport port;
	uint16_t devnum;
	uint16_t speed; /* enum usbspeed */
	uint16_t speeds; /* at which it can run: usbdev_speeds */
	uint8_t digest[USBDEV_DIGEST_LEN];
	char id[MSG_ID_MAX];
};

struct msg_detach {
	uint32_t request;
	uint32_t vm;
	uint32_t conn; /* as of an attach */
	char id[MSG_ID_MAX];
};

/*
 * What became of an attach or a detach.  RESULT_OK of a detach also when
 * the machine did not have the device.
 */
#define RESULT_TABLE(X)                                     \
	X(RESULT_OK, "ok")                                  \
	X(RESULT_GONE, "device gone")                       \
	X(RESULT_CHANGED, "not the device that was judged") \
	X(RESULT_PERMISSION, "permission denied")           \
	X(RESULT_BUS_FULL, "no free guest port")            \
	X(RESULT_PORT_TAKEN, "guest port taken")            \
	X(RESULT_SPEED, "speed mismatch")                   \
	X(RESULT_DUPLICATE, "duplicate id")                 \
	X(RESULT_NO_CONTROLLER, "no USB controller")        \
	X(RESULT_MIGRATING, "machine is migrating")         \
	X(RESULT_VM_LOST, "connection to the machine lost") \
	X(RESULT_BUSY, "machine's QMP socket in use")       \
	X(RESULT_OTHER, "refused by QEMU")                  \
	X(RESULT_UNOPENED, "QEMU cannot open it")           \
	X(RESULT_UNABLE, "QEMU cannot take USB devices")

#define RESULT_ENUM(type, text) type,
enum result {
	RESULT_TABLE(RESULT_ENUM) RESULT_MAX
};
#undef RESULT_ENUM

struct msg_result {
	uint32_t request;
	uint32_t vm;
	uint32_t conn; /* as it was asked */
	uint32_t result; /* enum result */
	uint32_t guest_port; /* of the guest's bus; 0: unknown */
	char text[MSG_TEXT_MAX]; /* QEMU's words, or why */
};

/* What is under one of our ids in a machine that was just connected. */
struct msg_vm_has {
	uint32_t vm;
	uint32_t request; /* number in the id */
	struct usbport port;
	uint16_t devnum;
	uint16_t guest_port;
	uint16_t zero;
	char id[MSG_ID_MAX];
};

/*
 * A USB device of the host that a machine was given by somebody else: what
 * QEMU was told to look for, 0 or "" where nothing.
 */
struct msg_vm_foreign {
	uint32_t vm;
	uint16_t busnum;
	uint16_t devnum;
	uint16_t vendor;
	uint16_t product;
	struct usbport port; /* its busnum is 0: on any bus */
	uint16_t zero;
	char id[MSG_ID_MAX]; /* QEMU's id, or where in QOM it is */
};

/*
 * absent: nobody listens.  connecting: others wait before us at the socket.
 * greeting: connected, and QEMU has not said yet what it is and has.
 */
#define VM_STATE_TABLE(X)              \
	X(VM_ABSENT, "absent")         \
	X(VM_CONNECTING, "connecting") \
	X(VM_GREETING, "greeting")     \
	X(VM_READY, "ready")           \
	X(VM_LOST, "lost")

#define VM_STATE_ENUM(state, text) state,
enum vm_state {
	VM_STATE_TABLE(VM_STATE_ENUM) VM_STATE_MAX
};
#undef VM_STATE_ENUM

struct msg_vm_state {
	uint32_t vm;
	uint32_t state; /* enum vm_state */
	uint32_t handover; /* of one that is ready, never HANDOVER_AUTO */
	uint32_t migrating; /* it is asked for nothing meanwhile */
	uint32_t told; /* what was told before this is all that it has */
	uint32_t conn; /* the connection that this is about; of one that is
			  ready, that which made it so */
	char text[MSG_TEXT_MAX]; /* why, or QEMU's version */
};

#define DEVICE_STATE_TABLE(X)           \
	X(DEV_UNASSIGNED, "unassigned") \
	X(DEV_ATTACHING, "attaching")   \
	X(DEV_ATTACHED, "attached")     \
	X(DEV_DETACHING, "detaching")   \
	X(DEV_FAILED, "failed")         \
	X(DEV_HELD, "held")

#define DEVICE_STATE_ENUM(state, text) state,
enum device_state {
	DEVICE_STATE_TABLE(DEVICE_STATE_ENUM) DEVICE_STATE_MAX
};
#undef DEVICE_STATE_ENUM

/* A person's word on a device. */
enum override {
	OVERRIDE_NONE, /* back to the policy */
	OVERRIDE_ATTACH,
	OVERRIDE_DETACH,
	OVERRIDE_MAX
};

struct ctl_port {
	struct usbport port;
	uint16_t zero;
};

struct ctl_device {
	struct usbdev dev;
	uint32_t state; /* enum device_state */
	uint32_t request; /* of the last attach, 0: none */
	uint32_t guest_port;
	uint32_t retry_ms; /* until it is tried again, 0: not planned */
	uint32_t failed; /* enum result of the last try, 0: it did not fail */
	uint32_t override; /* enum override */
	char vm[MSG_VM_NAME_MAX]; /* "" if none */
	char rule[MSG_WHERE_MAX];
	char reason[MSG_TEXT_MAX];
};

/* A rule that matches the device. */
struct ctl_rule {
	uint32_t action; /* enum rule_action */
	uint32_t quick;
	uint32_t companion; /* through the other half of its port */
	uint32_t decides;
	uint32_t nvms;
	char vms[MSG_RULE_VMS_MAX][MSG_VM_NAME_MAX];
	char where[MSG_WHERE_MAX];
};

struct ctl_vm {
	uint32_t state; /* enum vm_state */
	uint32_t devices;
	char name[MSG_VM_NAME_MAX];
	char bus[MSG_BUS_MAX];
	char reason[MSG_TEXT_MAX];
};

/* A process, of which the parent knows that it runs. */
struct msg_process {
	uint64_t started; /* time(3) */
	uint32_t proc; /* enum proc_id */
	int32_t pid;
	uint32_t restarts;
	uint32_t zero;
	char promises[MSG_PROMISES_MAX]; /* of its filter */
};

/* A line for a person. */
struct msg_line {
	char text[MSG_LINE_MAX];
};

/* What became of something that was asked for. */
struct msg_done {
	uint32_t error; /* 0: it was done */
	char text[MSG_TEXT_MAX];
};

/* From which rule on, by its place in the policy. */
struct ctl_page {
	uint32_t first;
};

/* A rule of the policy, with what usbmgrctl needs to print it. */
struct ctl_policy_rule {
	uint64_t hits;
	uint64_t generation; /* counts the policies */
	struct msg_rule rule;
	uint32_t number; /* its place in the policy */
	uint32_t devices; /* plugged ones that it decides on */
	char text[3][USBDEV_STRING_MAX]; /* as enum rule_text */
	char vms[MSG_RULE_VMS_MAX][MSG_VM_NAME_MAX];
};

/* For OpenMetrics: a family has a type and a help text, here by number. */
struct ctl_counter {
	uint64_t value;
	uint32_t family; /* enum counter_family */
	uint32_t zero;
	char label[MSG_VM_NAME_MAX]; /* "" if the family has none */
};

struct ctl_override {
	struct usbport port;
	uint16_t devnum; /* 0: whatever is plugged there */
	uint32_t command; /* enum override */
	uint32_t force; /* past pledges and protection */
	char vm[MSG_VM_NAME_MAX];
};

/* What usbmgrctl monitor shows; the second text is for people and logs. */
#define CTL_EVENT_TABLE(X)               \
	X(CTL_EV_PLUGGED, "plugged")     \
	X(CTL_EV_CHANGED, "changed")     \
	X(CTL_EV_UNPLUGGED, "unplugged") \
	X(CTL_EV_ATTACHING, "attaching") \
	X(CTL_EV_ATTACHED, "attached")   \
	X(CTL_EV_DETACHING, "detaching") \
	X(CTL_EV_DETACHED, "detached")   \
	X(CTL_EV_FAILED, "failed")       \
	X(CTL_EV_HELD, "held")           \
	X(CTL_EV_VM, "vm")               \
	X(CTL_EV_POLICY, "policy")       \
	X(CTL_EV_OVERRIDE, "override")   \
	X(CTL_EV_RELEASED, "released")

#define CTL_EVENT_ENUM(event, text) event,
enum ctl_event_type {
	CTL_EVENT_TABLE(CTL_EVENT_ENUM) CTL_EVENT_MAX
};
#undef CTL_EVENT_ENUM

struct ctl_event {
	uint64_t time; /* microseconds of time(3) */
	uint32_t type; /* enum ctl_event_type */
	uint32_t request; /* 0: none */
	struct usbport port; /* busnum 0: none */
	uint16_t devnum;
	uint16_t vendor; /* with product: 0 where not known */
	uint16_t product;
	char vm[MSG_VM_NAME_MAX]; /* "" if none */
	char state[16]; /* of a machine, of a device, or "" */
	char name[USBDEV_STRING_MAX]; /* of the device */
	char reason[MSG_TEXT_MAX];
};

/* Rules and machines that do not stand in the policy file. */

#define MSG_ADAPTER_MAX 256
#define MSG_KEY_MAX 64
#define MSG_REFUSED_MAX 512
#define EVE_STATES_MAX 8
#define EVE_VM_FIRST 0x40000000U /* numbers of EVE's machines, from there on */
#define EVE_VM_LAST 0x7fffffffU

/* What a machine of the policy is to have of the manifests. */
struct msg_adapter {
	uint32_t vm;
	char name[MSG_ADAPTER_MAX];
};

struct msg_manifest {
	char name[MSG_BUS_MAX]; /* for reasons: "model.json" */
};

/* EVE's machines: all have the options of vm, whose number and name are 0. */
struct msg_eve {
	struct msg_vm vm;
	uint32_t nstates;
	uint32_t states[EVE_STATES_MAX]; /* in which a domain runs */
	uint32_t last_vm; /* the highest number that one had; 0: none */
};

struct msg_refused {
	char text[MSG_REFUSED_MAX];
};

/* Name of a file of EVE, without its ".json". */
struct msg_key {
	char key[MSG_KEY_MAX];
};

struct msg_vm_name {
	uint32_t vm; /* the number that it is to have */
	char name[MSG_VM_NAME_MAX];
};

#pragma GCC diagnostic pop

/* Sets of processes. */
#define P(proc) (1U << PROC_##proc)
#define P_CHILD (P(ENGINE) | P(MONITOR) | P(QMPCLIENT))

/* X(type, senders, receivers, payload, descriptor, what it is for) */
#define MSG_TABLE(X)                                                           \
	/* every child's start */                                              \
	X(MSG_LOG, P(PARENT), P_CHILD, struct msg_log, 1,                      \
	    "audit log to append to; again when logs are rotated")             \
	X(MSG_PEER, P(PARENT), P_CHILD, struct msg_peer, 1,                    \
	    "channel to a sibling; again when that is a new one")              \
	X(MSG_CONTROL, P(PARENT), P(ENGINE), struct msg_control, 1,            \
	    "listening control socket")                                        \
	X(MSG_MOUNTINFO, P(PARENT), P(MONITOR), struct msg_none, 1,            \
	    "/proc/self/mountinfo of the parent")                              \
	X(MSG_SWAPS, P(PARENT), P(MONITOR), struct msg_none, 1, "/proc/swaps") \
	X(MSG_START, P(PARENT), P_CHILD, struct msg_start, 0,                  \
	    "all that is needed to start was sent")                            \
	X(MSG_READY, P_CHILD, P(PARENT), struct msg_none, 0,                   \
	    "started, confined, at work")                                      \
	X(MSG_VERBOSE, P(PARENT), P_CHILD, struct msg_verbose, 0,              \
	    "log more or less")                                                \
	/* policy */                                                           \
	X(MSG_CONF_BEGIN, P(PARENT), P(ENGINE), struct msg_conf_begin, 0,      \
	    "a policy follows")                                                \
	X(MSG_CONF_VM, P(PARENT), P(ENGINE), struct msg_vm, 0, "a machine")    \
	X(MSG_CONF_TEXT, P(PARENT), P(ENGINE), struct msg_rule_text, 0,        \
	    "a string of the rule that follows")                               \
	X(MSG_CONF_RULE, P(PARENT), P(ENGINE), struct msg_rule, 0, "a rule")   \
	X(MSG_CONF_END, P(PARENT), P(ENGINE), struct msg_none, 0,              \
	    "the policy is whole and counts from now on")                      \
	X(MSG_CONF_DONE, P(ENGINE), P(PARENT), struct msg_none, 0,             \
	    "the policy is in force")                                          \
	/* machines */                                                         \
	X(MSG_QMP_VM, P(PARENT), P(QMPCLIENT), struct msg_vm, 0,               \
	    "a machine to talk to")                                            \
	X(MSG_QMP_VM_GONE, P(PARENT), P(QMPCLIENT), struct msg_vm_number, 0,   \
	    "a machine that is no longer wanted")                              \
	X(MSG_QMP_SOCKET, P(PARENT), P(QMPCLIENT), struct msg_qmp_socket, 1,   \
	    "connected QMP socket of a machine")                               \
	X(MSG_QMP_LOST, P(QMPCLIENT), P(PARENT), struct msg_qmp_lost, 0,       \
	    "that connection is closed; connect again")                        \
	X(MSG_QMP_RELEASE, P(QMPCLIENT), P(PARENT), struct msg_vm_number, 0,   \
	    "that connection is closed for now, others use the socket, too")   \
	X(MSG_QMP_WANT, P(QMPCLIENT), P(PARENT), struct msg_vm_number, 0,      \
	    "there is something to do again for a released machine")           \
	X(MSG_QMP_GONE, P(PARENT), P(QMPCLIENT), struct msg_vm_number, 0,      \
	    "a released machine has ended; its loss is to be told")            \
	X(MSG_VM_SOCKET, P(PARENT), P(ENGINE), struct msg_vm_socket, 0,        \
	    "a machine cannot be connected to")                                \
	X(MSG_VM_HAS, P(QMPCLIENT), P(ENGINE), struct msg_vm_has, 0,           \
	    "device found in a machine, before it is said to be ready")        \
	X(MSG_VM_DROPPED, P(QMPCLIENT), P(ENGINE), struct msg_vm_has, 0,       \
	    "a device that somebody else took out of the machine")             \
	X(MSG_VM_FOREIGN, P(QMPCLIENT), P(ENGINE), struct msg_vm_foreign, 0,   \
	    "a device that a machine was given by somebody else")              \
	X(MSG_VM_PORT, P(QMPCLIENT), P(ENGINE), struct msg_vm_number, 0,       \
	    "a guest port became free that somebody else had used")            \
	X(MSG_VM_STATE, P(QMPCLIENT), P(ENGINE), struct msg_vm_state, 0,       \
	    "state of the connection to a machine")                            \
	/* devices */                                                          \
	X(MSG_DEVICE, P(MONITOR), P(ENGINE), struct usbdev, 0,                 \
	    "plugged device, or one that changed")                             \
	X(MSG_DEVICE_GONE, P(MONITOR), P(ENGINE), struct msg_device_gone, 0,   \
	    "unplugged device")                                                \
	X(MSG_SCAN_DONE, P(MONITOR), P(ENGINE), struct msg_none, 0,            \
	    "all plugged devices were told; others are not there")             \
	/* one attach, one detach */                                           \
	X(MSG_OPEN_DEVICE, P(ENGINE), P(PARENT), struct msg_open_device, 0,    \
	    "open a usbfs node for the QMP client")                            \
	X(MSG_DEVICE_FD, P(PARENT), P(QMPCLIENT), struct msg_open_device, 1,   \
	    "the usbfs node that was opened")                                  \
	X(MSG_OPEN_FAILED, P(PARENT), P(QMPCLIENT), struct msg_open_failed, 0, \
	    "the usbfs node could not be opened")                              \
	X(MSG_RELEASE_DEVICE, P(ENGINE), P(PARENT), struct msg_release_device, \
	    0, "bind the host's drivers to a device whose machine has died")   \
	X(MSG_ATTACH, P(ENGINE), P(QMPCLIENT), struct msg_attach, 0,           \
	    "give the device of that request to a machine")                    \
	X(MSG_DETACH, P(ENGINE), P(QMPCLIENT), struct msg_detach, 0,           \
	    "take a device out of a machine")                                  \
	X(MSG_RESULT, P(QMPCLIENT), P(ENGINE), struct msg_result, 0,           \
	    "what became of an attach or a detach")                            \
	/* control clients */                                                  \
	X(MSG_CTL_SHOW_DEVICES, P(CLIENT), P(ENGINE), struct msg_none, 0,      \
	    "list the plugged devices")                                        \
	X(MSG_CTL_SHOW_VMS, P(CLIENT), P(ENGINE), struct msg_none, 0,          \
	    "list the machines")                                               \
	X(MSG_CTL_EXPLAIN, P(CLIENT), P(ENGINE), struct ctl_port, 0,           \
	    "why is a device where it is")                                     \
	X(MSG_CTL_RULE, P(ENGINE), P(CLIENT), struct ctl_rule, 0,              \
	    "a rule that matches the device to explain")                       \
	X(MSG_CTL_DEVICE, P(ENGINE), P(CLIENT), struct ctl_device, 0,          \
	    "a device")                                                        \
	X(MSG_CTL_VM, P(ENGINE), P(CLIENT), struct ctl_vm, 0, "a machine")     \
	X(MSG_CTL_END, P(ENGINE), P(CLIENT), struct msg_none, 0,               \
	    "end of the list")                                                 \
	/* the service manager's watchdog */                                   \
	X(MSG_PING, P(PARENT), P_CHILD, struct msg_none, 0, "is it alive?")    \
	X(MSG_PONG, P_CHILD, P(PARENT), struct msg_none, 0, "it is")           \
	X(MSG_CTL_SHOW_RULES, P(CLIENT), P(ENGINE), struct ctl_page, 0,        \
	    "list some rules of the policy")                                   \
	X(MSG_CTL_POLICY_RULE, P(ENGINE), P(CLIENT), struct ctl_policy_rule,   \
	    0, "a rule of the policy")                                         \
	X(MSG_CTL_SHOW_PROCESSES, P(CLIENT), P(ENGINE), struct msg_none, 0,    \
	    "list the processes of usbmgrd")                                   \
	X(MSG_CTL_PROCESS, P(ENGINE), P(CLIENT), struct msg_process, 0,        \
	    "a process of usbmgrd")                                            \
	X(MSG_CTL_SHOW_COUNTERS, P(CLIENT), P(ENGINE), struct msg_none, 0,     \
	    "list the counters")                                               \
	X(MSG_CTL_COUNTER, P(ENGINE), P(CLIENT), struct ctl_counter, 0,        \
	    "a counter")                                                       \
	X(MSG_CTL_MONITOR, P(CLIENT), P(ENGINE), struct msg_none, 0,           \
	    "tell what happens from now on")                                   \
	X(MSG_CTL_EVENT, P(ENGINE), P(CLIENT), struct ctl_event, 0,            \
	    "something that happened")                                         \
	X(MSG_CTL_OVERRIDE, P(CLIENT), P(ENGINE), struct ctl_override, 0,      \
	    "attach or detach a device by hand, or leave it to the policy")    \
	X(MSG_CTL_RELOAD, P(CLIENT), P(ENGINE), struct msg_none, 0,            \
	    "read the policy file again")                                      \
	X(MSG_CTL_LOG, P(CLIENT), P(ENGINE), struct msg_verbose, 0,            \
	    "log more or less")                                                \
	X(MSG_CTL_TEXT, P(ENGINE), P(CLIENT), struct msg_line, 0,              \
	    "an error or a warning of the policy file")                        \
	X(MSG_CTL_DONE, P(ENGINE), P(CLIENT), struct msg_done, 0,              \
	    "what became of a request that changes something")                 \
	/* engine and parent, for control clients */                           \
	X(MSG_PROCESS, P(PARENT), P(ENGINE), struct msg_process, 0,            \
	    "a process that was started")                                      \
	X(MSG_WANT_VERBOSE, P(ENGINE), P(PARENT), struct msg_verbose, 0,       \
	    "let all processes log more or less")                              \
	X(MSG_RELOAD, P(ENGINE), P(PARENT), struct msg_none, 0,                \
	    "read the policy file again, for a client")                        \
	X(MSG_RELOAD_TEXT, P(PARENT), P(ENGINE), struct msg_line, 0,           \
	    "an error or a warning of that file, for the client")              \
	X(MSG_RELOAD_DONE, P(PARENT), P(ENGINE), struct msg_done, 0,           \
	    "what became of it")                                               \
	X(MSG_VM_LEAVING, P(PARENT), P(ENGINE), struct msg_vm, 0,              \
	    "a new engine is told of one that left, but may have devices")     \
	X(MSG_VM_LEFT, P(ENGINE), P(PARENT), struct msg_vm_number, 0,          \
	    "a machine that left the policy has no device any more")           \
	/* manifest and EVE */                                                 \
	X(MSG_CONF_ADAPTER, P(PARENT), P(ENGINE), struct msg_adapter, 0,       \
	    "what a machine has of the manifests")                             \
	X(MSG_CONF_MANIFEST, P(PARENT), P(ENGINE), struct msg_manifest, 1,     \
	    "the manifest that the rule that follows stands for")              \
	X(MSG_CONF_EVE, P(PARENT), P(ENGINE), struct msg_eve, 0,               \
	    "EVE's machines, which the rule that follows stands for")          \
	X(MSG_CONF_REFUSED, P(ENGINE), P(PARENT), struct msg_refused, 0,       \
	    "the policy cannot be used; the one before stays in force")        \
	X(MSG_EVE_BEGIN, P(PARENT), P(ENGINE), struct msg_none, 0,             \
	    "all files of EVE follow")                                         \
	X(MSG_EVE_ADAPTERS, P(PARENT), P(ENGINE), struct msg_none, 1,          \
	    "EVE's AssignableAdapters")                                        \
	X(MSG_EVE_ADAPTERS_GONE, P(PARENT), P(ENGINE), struct msg_none, 0,     \
	    "that file is not there any more")                                 \
	X(MSG_EVE_DOMAIN, P(PARENT), P(ENGINE), struct msg_key, 1,             \
	    "a DomainStatus of EVE")                                           \
	X(MSG_EVE_DOMAIN_GONE, P(PARENT), P(ENGINE), struct msg_key, 0,        \
	    "that file is not there any more")                                 \
	X(MSG_EVE_END, P(PARENT), P(ENGINE), struct msg_none, 0,               \
	    "that were all files of EVE")                                      \
	X(MSG_EVE_VM, P(ENGINE), P(PARENT), struct msg_vm_name, 0,             \
	    "a machine of EVE to connect to")                                  \
	X(MSG_EVE_VM_GONE, P(ENGINE), P(PARENT), struct msg_vm_number, 0,      \
	    "a machine of EVE that is no longer wanted")                       \
	/* confinement */                                                      \
	X(MSG_TRAPPED, P_CHILD, P(PARENT), struct msg_trapped, 0,              \
	    "dies of a system call that its filter does not have")

#define MSG_ENUM(type, from, to, payload, fd, text) type,
enum msg_type {
	MSG_FIRST_UNUSED,
	MSG_TABLE(MSG_ENUM) MSG_MAX
};
#undef MSG_ENUM

struct msg_info {
	const char *name; /* "ATTACH" */
	unsigned int from;
	unsigned int to;
	uint32_t size; /* of the payload */
	int fd; /* carries a descriptor */
	const char *payload;
	const char *text;
};

/* msg_info: row of the table, or NULL for a number that is no message. */
const struct msg_info *msg_info(uint32_t type);

/* msg_name: for logs; "unknown" for a number that is no message. */
const char *msg_name(uint32_t type);

/*
 * msg_check: may from send such a message to to?  NULL if so, else what is
 * wrong with it in words.
 */
const char *msg_check(
    enum proc_id from, enum proc_id to, uint32_t type, size_t size, int has_fd);

/* msg_string_ok: 1 if the n bytes at s hold a NUL, else 0. */
int msg_string_ok(const char *s, size_t n);

/* Names of the values, for logs and users; "unknown" beyond the table. */
const char *result_string(uint32_t);
const char *vm_state_string(uint32_t);
const char *device_state_string(uint32_t);
const char *ctl_event_string(uint32_t);

#endif
