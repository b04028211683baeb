/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef PORTS_H
#define PORTS_H

#include <stddef.h>
#include <stdint.h>
#include "msg.h"

/*
 * Which ports of a guest's USB bus are free.  QEMU must never choose one: on
 * the last free port it would insert a full speed hub of its own and put the
 * device behind that (hw/usb/bus.c usb_claim_port).
 */
#define PORTS_MAX 15 /* of a QEMU xHCI: hw/usb/hcd-xhci.h XHCI_MAXPORTS_2/3 */

struct ports {
	unsigned int usb2; /* ports 1 to usb2 take speeds */
	unsigned int usb3; /* ports 1 to usb3 take super speed */
	unsigned int speeds; /* bit i for each enum usbspeed i */
	uint32_t taken; /* bit i: port i */
};

/* ports_bit: bit of port number n; 0 if n is not 1 to PORTS_MAX. */
uint32_t ports_bit(unsigned int n);

/* Ports that may be used, first to last; first 0: all of the bus. */
struct port_range {
	unsigned int first;
	unsigned int last;
};

/* ports_range_ok: 1 if it is 0-0 or lies within 1 to PORTS_MAX, else 0. */
int ports_range_ok(const struct port_range *);

/*
 * ports_choose: lowest free port of the range for a device of that speed, or
 * else for one of the speeds at which it can run, too (usbdev_speeds); 0 if
 * there is none.  QEMU tries a port whose speeds are others in vain, and
 * leaks the descriptor that it was sent.
 */
unsigned int ports_choose(const struct ports *, const struct port_range *,
    enum usbspeed, unsigned int speeds);

/*
 * ports_why_none: why ports_choose found none on the bus of that name:
 * RESULT_SPEED or RESULT_BUS_FULL, with words that name speeds or range in
 * buf of size bytes.
 */
enum result ports_why_none(const struct ports *, const struct port_range *,
    unsigned int speeds, const char *bus, char *buf, size_t size);

/*
 * ports_parse: port number of a QEMU port path, "4" or "4.1" (behind a hub
 * in port 4); 0 if it is neither.
 */
unsigned int ports_parse(const char *path);

/*
 * ports_parse_list: the ports in the text of x-query-usb, of all buses
 * together.  The lines hold product names, which a device chooses, line
 * breaks included: what comes out of it may have too many, never too few.
 */
uint32_t ports_parse_list(const char *text);

#endif
