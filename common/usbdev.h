/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef USBDEV_H
#define USBDEV_H

#include <stddef.h>
#include <stdint.h>

/*
 * Hubs may be chained so that a device is at most at tier 7, counting the
 * root hub (USB 2.0 specification 4.1.1): six port numbers.
 */
#define USB_CHAIN_MAX 6
/* usb_device_driver numbers 1 to 127: 7 bit address, 0 is the default one. */
#define USB_DEVNUM_MAX 127
/* Minor numbers of usbfs nodes are 12 bit: 32 would fit; the kernel has 64. */
#define USB_BUSNUM_MAX 999
#define USB_CLASS_HUB 9
#define USB_CLASS_MASS_STORAGE 8

/*
 * A string descriptor holds at most 126 UTF-16 units, three UTF-8 bytes
 * each (USB 2.0 9.6.7; kernel drivers/usb/core/message.c usb_string).
 */
#define USBDEV_STRING_MAX 384
#define USBDEV_INTERFACES_MAX 64
#define USBDEV_DIGEST_LEN 32

struct json;
#define USBDEV_CONTROLLER_MAX 16
#define USBDEV_NAME_MAX 32
/* "65535:255.255.255.255.255.255" and NUL */
#define USBPORT_STRLEN 32

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

/* Where a device is plugged: bus and the ports of the hubs on the way. */
struct usbport {
	uint16_t busnum; /* from 1; 0: no port */
	uint8_t depth; /* used entries of chain, 1 to 6 */
	uint8_t chain[USB_CHAIN_MAX]; /* each 1 to 255 */
	uint8_t zero;
};

/* bInterfaceClass, bInterfaceSubClass, bInterfaceProtocol */
struct usbclass {
	uint8_t class;
	uint8_t subclass;
	uint8_t protocol;
};

enum usbspeed {
	USB_SPEED_UNKNOWN,
	USB_SPEED_LOW, /* 1.5 Mbit/s */
	USB_SPEED_FULL, /* 12 */
	USB_SPEED_HIGH, /* 480 */
	USB_SPEED_SUPER, /* 5000 and above */
	USB_SPEED_MAX
};

/*
 * Slower speeds at which the device could run as it is, by what QEMU asks of
 * its endpoints (hw/usb/host-libusb.c usb_host_speed_compat).
 */
#define USBDEV_COMPAT_HIGH 0x1
#define USBDEV_COMPAT_FULL 0x2
#define USBDEV_COMPAT_ALL 0x3

/*
 * What the monitor knows of one plugged device and all that the engine may
 * decide on.  Crosses a process border as it is: no holes, no pointers.
 */
struct usbdev {
	uint64_t uevent; /* SEQNUM of the uevent it was read for, or 0 */
	struct usbport port;
	struct usbport peer; /* other half of the connector; busnum 0: none */
	uint16_t devnum;
	uint16_t vendor;
	uint16_t product;
	uint16_t revision; /* bcdDevice */
	struct usbclass class; /* of the device descriptor */
	uint8_t speed; /* enum usbspeed */
	uint16_t ninterfaces;
	/* interfaces had no room: too many, or descriptors are malformed */
	uint8_t odd_descriptors;
	uint8_t compat; /* USBDEV_COMPAT_ bits */
	uint8_t zero[4];
	/* every one that any setting of any configuration has, once */
	struct usbclass interfaces[USBDEV_INTERFACES_MAX];
	uint8_t digest[USBDEV_DIGEST_LEN]; /* SHA-256 of all descriptors */
	char serial[USBDEV_STRING_MAX];
	char name[USBDEV_STRING_MAX]; /* iProduct */
	char manufacturer[USBDEV_STRING_MAX];
	char controller[USBDEV_CONTROLLER_MAX]; /* PCI, "" if not on PCI */
	char netif[USBDEV_NAME_MAX]; /* network interface below it, or "" */
	char busy[USBDEV_NAME_MAX]; /* disk in use below it, or "" */
	char busy_why[USBDEV_NAME_MAX]; /* "mounted", "swap", "held by dm-0" */
};

#pragma GCC diagnostic pop

/*
 * usbport_parse: "BUS:CHAIN" as in "3:9" or "003:1.2" to port.  Returns 0,
 * or -1 with *errstr saying what was expected; port is then undefined.
 */
int usbport_parse(struct usbport *port, const char *, const char **errstr);

/*
 * usbport_parse_chain: as usbport_parse for the part behind the colon;
 * leaves busnum alone.
 */
int usbport_parse_chain(
    struct usbport *port, const char *, const char **errstr);

/*
 * usbport_parse_sysfs: the kernel's device name "BUS-CHAIN", as in "3-1.2"
 * (Documentation/ABI/stable/sysfs-bus-usb).  Returns 0, or -1 when the name
 * is another one: a root hub ("usb3") or an interface ("3-1.2:1.0").
 */
int usbport_parse_sysfs(struct usbport *port, const char *);

/*
 * usbport_string: "3:1.2" into buf of USBPORT_STRLEN bytes, which is also
 * returned; "" for a port with busnum 0.
 */
const char *usbport_string(const struct usbport *, char *buf);

/* usbport_cmp: order by bus, then port by port; <0, 0 or >0. */
int usbport_cmp(const struct usbport *, const struct usbport *);

/*
 * usbport_below: 1 if port is a port of the hub that is plugged in hub, or of
 * one further down; 0 for that port itself and all others.
 */
int usbport_below(const struct usbport *port, const struct usbport *hub);

/*
 * usbport_valid: 1 if numbers are in range and what is not used is zero, so
 * that two ports are the same exactly when their bytes are; else 0.
 */
int usbport_valid(const struct usbport *);

/*
 * usbdev_check: is this record one that a monitor in its right mind sends?
 * Ranges, counts, NUL-terminated strings.  NULL, or the name of the first
 * member that is wrong.
 */
const char *usbdev_check(const struct usbdev *);

/*
 * usbdev_speeds: bit i for each enum usbspeed i at which QEMU can run the
 * device: its own, and the slower ones that it is compatible with; all where
 * its own is unknown.
 */
unsigned int usbdev_speeds(const struct usbdev *);

/* usbdev_is_hub: 1 if the device or any of its interfaces is a hub. */
int usbdev_is_hub(const struct usbdev *);

/*
 * usbdev_add_interface: remember the class triple unless it is there; sets
 * odd_descriptors when there is no room.
 */
void usbdev_add_interface(struct usbdev *, const struct usbclass *);

/* usbspeed_string: "1.5", "12", "480", "5000" in Mbit/s as sysfs, or "". */
const char *usbspeed_string(enum usbspeed);

/*
 * usbdev_json_classes: members "class", "03:01:02", and "interfaces", an array
 * of such, of the open object.
 */
void usbdev_json_classes(struct json *, const struct usbdev *);

/* usbspeed_parse: sysfs attribute "speed" to enum usbspeed. */
enum usbspeed usbspeed_parse(const char *);

#endif
