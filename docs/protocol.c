/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* Prints docs/PROTOCOL.md from the message table of common/msg.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "imsg.h"
#include "msg.h"

#define CHILDREN (1U << PROC_ENGINE | 1U << PROC_MONITOR | 1U << PROC_QMPCLIENT)

static const char framing[] =
    "# Messages between the processes\n"
    "\n"
    "Printed by docs/protocol.c from the table in common/msg.h: change\n"
    "that, then run `make docs`.\n"
    "\n"
    "## Framing\n"
    "\n"
    "Each channel is a stream socket of the UNIX domain with common/imsg.h\n"
    "at both ends. A message is a header and a payload, in the byte order\n"
    "of the machine.\n"
    "\n";

static const char payload[] =
    "Senders set `peerid` to 0 and `pid` to -1; no receiver looks at\n"
    "either. The payload is one struct of fixed size without holes or\n"
    "pointers, and each string in it ends in NUL. A message carries at\n"
    "most one descriptor, as SCM_RIGHTS with its first byte; the receiver\n"
    "owns it.\n"
    "\n"
    "The channel between the parent and the spawner is another one, see\n"
    "usbmgrd/spawner.c: the parent sends the number of a process (4\n"
    "bytes) and the promises it is to have (256 bytes, which end in NUL),\n"
    "with the channel's descriptor, the spawner answers with process id and\n"
    "error (4 bytes each). Anything else, and a promise that is not built in\n"
    "for that process, ends the spawner.\n"
    "\n";

static const char checks[] =
    "## Checks\n"
    "\n"
    "`msg_check()` in common/msg.c judges each message, in `chan_send()`\n"
    "before it goes out and in `chan_message()` before its payload is\n"
    "used:\n"
    "\n"
    "1. its number is in the table;\n"
    "2. the process at the other end is one of its senders, and this\n"
    "   process one of its receivers (who is at the other end was settled\n"
    "   when the channel was made);\n"
    "3. its payload is as long as its struct;\n"
    "4. it has a descriptor if the table says so, and none otherwise.\n"
    "\n"
    "Then the receiver checks what the values mean: ranges, counts, the\n"
    "NUL of each string, numbers of machines and of requests.\n"
    "\n"
    "## Violations\n"
    "\n"
    "- From a child to the parent: the parent says how, kills the child\n"
    "  and starts it again, or ends if it still starts itself.\n"
    "- From a sibling or the parent: the receiver says who broke the\n"
    "  protocol and how, ends with status 1, and is started again.\n"
    "- Whoever dies too often so ends usbmgrd as a whole, with status 1.\n"
    "  Devices stay in their machines.\n"
    "- From a control client: the engine closes that connection and writes\n"
    "  an event `client-refused` to its log. Nobody else is disturbed.\n"
    "  These channels take no descriptors: the kernel closes those that\n"
    "  are sent.\n"
    "- From the engine to usbmgrctl: usbmgrctl says so and ends with\n"
    "  status 1.\n"
    "\n"
    "A violation is a message that fails a check, and also: a length out\n"
    "of range; a descriptor that no message announced, that is missing, or\n"
    "that is one of several; and a peer that does not read, so that more\n"
    "waits for it than the limit.\n"
    "\n";

static void
print_introduction(void)
{
	printf("%s", framing);
	printf("| header | bytes | |\n|---|---|---|\n");
	printf("| `type` | 4 | number of the message |\n");
	printf("| `len` | 4 | its length, header included, %zu to %d; bit 0x%x "
	       "announces a descriptor |\n",
	    IMSG_HEADER_SIZE, MAX_IMSGSIZE, IMSG_FD_MARK);
	printf("| `peerid` | 4 | |\n| `pid` | 4 | |\n\n");
	printf("%s%s", payload, checks);
	printf("Limits: %d bytes a message, %u bytes unsent.\n\n", MAX_IMSGSIZE,
	    IMSG_QUEUE_MAX);
}

/* Documents leave the prefix of the C name out. */
static const char *
short_name(const char *name)
{
	static const char prefix[] = "MSG_";
	size_t n = sizeof(prefix) - 1;

	return strncmp(name, prefix, n) == 0 ? name + n : name;
}

static void
print_processes(unsigned int set)
{
	const char *comma = "";
	enum proc_id proc;

	if (set == CHILDREN) {
		printf("each child");
		return;
	}
	for (proc = PROC_PARENT; proc < PROC_MAX; proc++) {
		if ((set & 1U << proc) == 0)
			continue;
		printf("%s%s", comma,
		    proc == PROC_PARENT ? "parent" : proc_name(proc));
		comma = ", ";
	}
}

static void
print_messages(void)
{
	const struct msg_info *info;
	uint32_t type;

	printf("## Messages\n\n");
	printf("| no. | message | from | to | payload | bytes | fd | |\n");
	printf("|---|---|---|---|---|---|---|---|\n");
	for (type = MSG_FIRST_UNUSED + 1; type < MSG_MAX; type++) {
		info = msg_info(type);
		printf("| %u | %s | ", type, short_name(info->name));
		print_processes(info->from);
		printf(" | ");
		print_processes(info->to);
		printf(" | `%s` | %u | %s | %s |\n", info->payload, info->size,
		    info->fd ? "yes" : "-", info->text);
	}
}

static void
print_values(const char *title, uint32_t max, const char *(*name)(uint32_t))
{
	uint32_t i;

	printf("\n- %s:", title);
	for (i = 0; i < max; i++)
		printf("%s\n  %u %s", i == 0 ? "" : ",", i, name(i));
}

int
main(void)
{
	print_introduction();
	print_messages();
	printf("\n## Values\n");
	print_values("`result` of RESULT", RESULT_MAX, result_string);
	print_values(
	    "`state` of VM_STATE and CTL_VM", VM_STATE_MAX, vm_state_string);
	print_values(
	    "`state` of CTL_DEVICE", DEVICE_STATE_MAX, device_state_string);
	putchar('\n');
	return fflush(stdout) == EOF ? EXIT_FAILURE : EXIT_SUCCESS;
}
