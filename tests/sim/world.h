/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef WORLD_H
#define WORLD_H

#include "core.h"

/*
 * The world around the engine's core, with a clock of its own: a host and its
 * devices, QEMUs, and models of the processes beside the core, between which
 * messages are under way for a while: in order on each channel, in any order
 * between channels.  What is true is here; what the core was told of it and
 * what it may do then is in check.h.  All depends on the seed alone.
 */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define SLOTS 8
#define QEMUS 4
#define LINKS_MAX 32
#define INSIDE_MAX 48
#define FOREIGNS_MAX 4
#define RULES_MAX 8
#define KINDS 4
#define KIND_TOO_FAST 3 /* for the second machine */

/* A device as the monitor tells of it. */
struct snapshot {
	int slot;
	int kind;
	uint32_t plug; /* counts what was plugged; 0: nothing */
	uint16_t devnum;
	uint8_t digest;
	uint8_t hub, odd, netif, busy;
};

/* What of a QEMU somebody else gave to it looks for. */
struct others_device {
	uint32_t id; /* 0: none */
	int slot; /* -1: any */
	int kind; /* -1: any */
	uint16_t devnum; /* 0: any */
};

/* The policy, from which the core's and the expectations are made. */
struct conf_vm {
	uint32_t number;
	int qemu;
	int shared;
	uint64_t pledge;
	enum release release;
};

struct conf_rule {
	int slot, kind; /* -1: any */
	int pass, quick, even_if_busy;
	uint64_t pledge;
	size_t nvms;
	size_t vms[QEMUS]; /* places in the list of machines */
};

struct conf {
	struct damping damping;
	size_t nvms, nrules;
	struct conf_vm vms[QEMUS];
	struct conf_rule rules[RULES_MAX];
};

/* Messages, of all channels. */

enum note_type {
	/* monitor to engine */
	NOTE_DEVICE,
	NOTE_GONE,
	NOTE_SCAN_DONE,
	/* QMP client to engine */
	NOTE_HAS,
	NOTE_DROPPED,
	NOTE_FOREIGN,
	NOTE_PORT,
	NOTE_STATE,
	NOTE_RESULT,
	NOTE_END, /* the QMP client has ended */
	/* engine to QMP client, and part of it to the parent */
	NOTE_ATTACH,
	NOTE_DETACH,
	NOTE_OPEN,
	NOTE_LEFT,
	NOTE_CONF_DONE,
	/* parent to engine */
	NOTE_CONF,
	NOTE_LEAVING,
	NOTE_START,
	NOTE_PEER_MONITOR,
	NOTE_PEER_CLIENT,
	NOTE_SOCKET_FAILED,
	/* parent to QMP client */
	NOTE_PEER_ENGINE,
	NOTE_VM,
	NOTE_VM_GONE,
	NOTE_SOCKET,
	NOTE_ENDED,
	NOTE_OPENED,
	NOTE_OPEN_FAILED,
	/* QMP client to parent */
	NOTE_LOST,
	NOTE_RELEASE,
	NOTE_WANT
};

struct note {
	enum note_type type;
	unsigned int gen; /* of the channel */
	uint32_t vm;
	uint32_t request;
	uint32_t conn;
	struct snapshot dev;
	union {
		struct conf conf;
		struct msg_vm_socket socket;
		struct msg_vm_state state;
		struct msg_result result;
		struct others_device foreign;
	} u;
};

#define CHANNEL_MAX 1024

struct channel {
	struct note notes[CHANNEL_MAX];
	size_t first, n;
};

/* QEMU */

struct inside {
	uint32_t request;
	struct snapshot dev;
};

enum command_type {
	CMD_DEVICES, /* the first half of an inventory */
	CMD_PORTS, /* and the second one */
	CMD_ADD,
	CMD_DEL,
	CMD_DELETED, /* an event: of what nobody took out that we know */
	CMD_MIGRATION /* an event */
};

/* And its answer, once it is carried out. */
struct command {
	enum command_type type;
	unsigned int engine; /* that asked for it */
	uint32_t request;
	uint32_t conn;
	struct snapshot dev;
	enum result result;
};

#define COMMANDS_MAX 128

/* A connection to a QEMU; the first ndone commands are answered. */
struct conn {
	int open;
	int qemu;
	uint32_t pid;
	uint32_t place; /* in the queue of those who connected */
	int greeted;
	int closed; /* by QEMU */
	size_t n, ndone;
	struct command commands[COMMANDS_MAX];
	/* what the answer to CMD_DEVICES says */
	size_t nfound;
	struct inside found[INSIDE_MAX];
	struct others_device foreigns[FOREIGNS_MAX];
	int migrating;
};

struct qemu {
	uint32_t pid; /* 0: it does not run */
	int listening;
	int hangs;
	int migrating;
	int has_bus, unable, forbidden;
	enum handover handover;
	size_t capacity;
	int others; /* clients that are none of ours hold the socket */
	size_t n;
	struct inside in[INSIDE_MAX];
	struct others_device foreigns[FOREIGNS_MAX];
	/* read from connections that were closed then */
	size_t nstale;
	struct command stale[COMMANDS_MAX];
};

/* QMP client */

enum device_at {
	AT_ATTACHING,
	AT_ATTACHED,
	AT_DETACHING
};

struct client_device {
	uint32_t request;
	struct snapshot dev;
	enum device_at at;
	int seen, new;
};

struct client_vm {
	int known;
	uint32_t nconn, ready, pid;
	int handed; /* the connection was */
	int untold, migrating, inventory, recheck, recount;
	int wanted, online, late;
	int told_migrating;
	size_t n;
	struct client_device devices[INSIDE_MAX];
	struct others_device foreigns[FOREIGNS_MAX];
	size_t used; /* ports that others use, by the last inventory */
	int has_bus;
};

/* Half of an attach, or a detach that waits for its turn. */
struct half {
	uint32_t request;
	int detach, asked, opened, failed;
	uint32_t vm, conn;
	struct snapshot dev; /* as it was judged */
	struct snapshot found; /* as it was opened */
};

#define HALVES_MAX 128

/* Parent */

enum sock_state {
	SOCK_SEARCHED,
	SOCK_HANDED,
	SOCK_RELEASED,
	SOCK_WANTED,
	SOCK_GONE
};

struct parent_vm {
	int known;
	enum sock_state state;
	uint32_t peer, conn;
	int error, ended;
};

/* A machine of the policy, now or before, as each process knows it. */
struct link {
	uint32_t number; /* 0: not in use */
	int qemu;
	int shared;
	int leaving;
	struct parent_vm parent;
	struct client_vm client;
	struct conn conn;
};

struct world {
	uint64_t seed, random;
	uint64_t now;
	uint64_t nevents, nactions;
	int faults; /* things go wrong by chance */
	/* host */
	struct snapshot slots[SLOTS];
	uint32_t plugs;
	uint16_t devnums[3]; /* last one of each bus */
	/* machines */
	struct qemu qemus[QEMUS];
	uint32_t pids, places, foreigns;
	struct link links[LINKS_MAX];
	uint32_t last_number;
	/* channels */
	struct channel monitor_engine, client_engine, engine_client,
	    engine_parent, parent_engine, parent_client, client_parent;
	/* processes */
	struct conf conf; /* the parent's */
	int conf_pending;
	unsigned int confs; /* sent, of which the engine did not say so yet */
	unsigned int gens; /* of channels between children */
	int monitor_runs;
	unsigned int monitor_gen, monitor_peer; /* in use; to be used */
	int client_runs;
	unsigned int client_gen;
	size_t nhalves;
	struct half halves[HALVES_MAX];
	int suspended;
	uint32_t last_request; /* that the parent saw */
	unsigned int engines; /* counts them */
	struct core *core; /* NULL: the engine does not run */
	unsigned int engine_monitor, engine_client_gen; /* 0: none */
	int engine_client_open;
};

extern struct world world;
extern const char *const slot_names[SLOTS];
extern const char qemu_names[QEMUS];

/* chance: 0 to n - 1. */
uint32_t chance(uint32_t n);

/* channel_add: room for one more, zeroed.  channel_take: NULL if empty. */
struct note *channel_add(struct channel *, enum note_type, unsigned int gen);
struct note *channel_first(struct channel *);
void channel_drop(struct channel *);

struct usbport slot_port(int slot);
int slot_of(const struct usbport *);

/* world_start: nothing is plugged, no machine and no process runs. */
void world_start(uint64_t seed);

/* The host, and the monitor, which tells of it. */
void host_step(void);
struct usbdev host_device(const struct snapshot *);
void monitor_step(void);
void monitor_die(void);
int monitor_work(void);

/* conf.c */
void conf_chance(struct conf *next, const struct conf *before);
struct policy *conf_policy(const struct conf *);
const struct conf_rule *conf_decide(
    const struct conf *, const struct snapshot *, size_t *place);
uint64_t conf_classes(int kind); /* words that promise all its interfaces */

/* qemu.c */
void qemu_step(void);
void qemu_heal(int qemu);
void qemu_end_doubled(int qemu);
int qemu_carry_out(int qemu); /* 0: nothing to do */
struct inside *qemu_find(
    struct qemu *, uint32_t request, const struct snapshot *);
struct inside *qemu_has(struct qemu *, uint32_t plug);
int foreign_covers(const struct others_device *, const struct snapshot *);
size_t foreigns_count(const struct others_device *);

/* conn.c: connections */
struct command *conn_send(struct conn *, enum command_type);
struct command *conn_event(struct conn *, enum command_type);
int conn_served(const struct conn *);
void conn_close(struct conn *);

/* client.c: the QMP client.  Each returns 0 when there is nothing to do. */
int client_hear_parent(void);
int client_hear_engine(void);
int client_read(struct link *);
int client_give_up(struct link *); /* no answer in time */
int client_release(struct link *);
int client_overdue(void);
void client_look_again(struct link *);
void client_die(void);

/* parent.c */
struct link *link_find(uint32_t number);
int parent_hear_engine(void);
int parent_hear_client(void);
int parent_try(struct link *);
void parent_reload(void);
int parent_start_client(void);
int parent_start_engine(void);

/* engine.c: the engine, around the core */
int engine_hear_parent(void);
int engine_hear_client(void);
int engine_hear_monitor(void);
int engine_tick(int wait); /* wait: time passes until one is due */
void engine_override(void);
void engine_die(void);

/* oracle.c: all is at rest; is everything where it is to be? */
void oracle_check(void);

#endif
