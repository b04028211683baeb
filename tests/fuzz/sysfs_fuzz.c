/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Any bytes in what sysfs shows of a device and of what hangs on it, in names
 * of files there, and in mountinfo and swaps: what is read is a record that
 * the engine takes, and a disk that is mounted is in use, whatever else is
 * said of the device.
 *
 * An input is the device that is asked for, and a list of changes to a tree
 * that is well: which file, length, contents.
 */

#include <sys/mman.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "input.h"
#include "standin_loop.h"
#include "device.h"
#include "log.h"
#include "report.h"
#include "mounts.c"

int LLVMFuzzerInitialize(int *, char ***);
int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

#define USB "devices/pci0000:00/0000:00:14.0/usb3"
#define STICK USB "/3-9"
#define INTERFACE STICK "/3-9:1.0"
#define DISK INTERFACE "/host2/target2:0:0/2:0:0:0/block/sdb"
#define BTRFS "fs/btrfs/0b1f/devices"
#define MOUNTED "36 35 8:17 / /mnt rw - ext4 /dev/sdb1 rw\n"
#define CONTENT_MAX 4096

enum kind {
	KIND_FILE,
	KIND_LINK, /* contents are where it points to */
	KIND_NAME, /* a link in that directory; contents are its name */
	KIND_CLASS, /* a directory in that one, of the class; its name */
	KIND_MOUNTS /* a descriptor */
};

#define DESCRIPTORS                                                        \
	"\x12\x01\x00\x02\x00\x00\x00\x08\x5e\x04\x23\x08\x00\x01\x01\x02" \
	"\x00\x01\x09\x02\x19\x00\x01\x01\x00\xa0\x32\x09\x04\x00\x00\x01" \
	"\x08\x06\x50\x00\x07\x05\x81\x02\x08\x00\x0a"

/* What names the device and what it says of itself comes first. */
#define OF_THE_DEVICE 5
static const struct file {
	enum kind kind;
	const char *path;
	const char *class;
	const char *contents; /* NULL: not there */
	size_t len;
} files[] = {
#define TEXT(s) s, sizeof(s) - 1
	{ KIND_FILE, STICK "/serial", NULL, TEXT("A9\n") },
	{ KIND_FILE, STICK "/product", NULL, TEXT("Stick\n") },
	{ KIND_FILE, STICK "/manufacturer", NULL, TEXT("Acme\n") },
	{ KIND_FILE, STICK "/speed", NULL, TEXT("480\n") },
	{ KIND_LINK, USB "/3-0:1.0/usb3-port9/peer", NULL,
	    TEXT("../../../usb4/4-0:1.0/usb4-port7") },
	{ KIND_MOUNTS, "mountinfo", NULL, TEXT(MOUNTED) },
	{ KIND_FILE, STICK "/descriptors", NULL, TEXT(DESCRIPTORS) },
	{ KIND_FILE, STICK "/devnum", NULL, TEXT("22\n") },
	{ KIND_LINK, STICK "/driver", NULL, TEXT("../../bus/usb/drivers/usb") },
	{ KIND_LINK, USB "/3-1:1.0/3-1-port2/peer", NULL,
	    TEXT("../../../usb4/4-1:1.0/4-1-port2") },
	{ KIND_LINK, "bus/usb/devices/3-9", NULL, TEXT("../../../" STICK) },
	{ KIND_MOUNTS, "swaps", NULL,
	    TEXT("Filename\n/dev/sdc2 partition 8 0 -2\n") },
	{ KIND_LINK, INTERFACE "/driver", NULL, TEXT("../usb-storage") },
	{ KIND_LINK, DISK "/subsystem", NULL, TEXT("../../class/block") },
	{ KIND_FILE, DISK "/dev", NULL, TEXT("8:16\n") },
	{ KIND_LINK, DISK "/sdb1/subsystem", NULL, TEXT("../../class/block") },
	{ KIND_FILE, DISK "/sdb1/dev", NULL, TEXT("8:17\n") },
	{ KIND_NAME, DISK "/sdb1/holders", NULL, NULL, 0 },
	{ KIND_NAME, BTRFS, NULL, NULL, 0 },
	{ KIND_CLASS, INTERFACE "/net", "net", NULL, 0 },
	{ KIND_CLASS, INTERFACE "/host2", "block", NULL, 0 },
	{ KIND_CLASS, INTERFACE, "tty", NULL, 0 },
#undef TEXT
};
#define FILES (sizeof(files) / sizeof(files[0]))
#define MOUNTINFO 5

/* What there is of each now: the name of KIND_NAME and KIND_CLASS, or "". */
static struct {
	int is_changed;
	int fd; /* of KIND_MOUNTS */
	char name[NAME_MAX + 1];
} now[FILES];

static char root[64];
static int sysfs = -1;

static void
make_dirs(const char *path)
{
	char part[512];
	const char *slash = path;

	while ((slash = strchr(slash + 1, '/')) != NULL) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		must(mkdirat(sysfs, part, 0700) == 0 || errno == EEXIST);
	}
}

static void
put_file(const char *path, const void *bytes, size_t len)
{
	int fd;

	fd =
	    openat(sysfs, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(fd != -1 && write(fd, bytes, len) == (ssize_t)len);
	close(fd);
}

static void
put_link(const char *path, const char *target)
{
	if (unlinkat(sysfs, path, 0) == -1)
		must(errno == ENOENT);
	/* An empty one cannot be. */
	if (symlinkat(target, sysfs, path) == -1)
		must(errno == ENOENT || errno == ENAMETOOLONG);
}

static void
put_mounts(size_t i, const void *bytes, size_t len)
{
	must(ftruncate(now[i].fd, 0) == 0);
	must(pwrite(now[i].fd, bytes, len, 0) == (ssize_t)len);
}

/* A name that some file in the tree has already is not taken. */
static void
put_name(size_t i, const char *name)
{
	const struct file *f = &files[i];
	char path[512], target[64];

	if (strchr(name, '/') != NULL || strlen(name) > NAME_MAX ||
	    strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return;
	snprintf(path, sizeof(path), "%s/%s", f->path, name);
	if (f->kind == KIND_NAME) {
		if (symlinkat("../x", sysfs, path) == -1)
			return;
	} else {
		if (mkdirat(sysfs, path, 0700) == -1)
			return;
		strlcat(path, "/subsystem", sizeof(path));
		snprintf(target, sizeof(target), "../../class/%s", f->class);
		must(symlinkat(target, sysfs, path) == 0);
	}
	strlcpy(now[i].name, name, sizeof(now[i].name));
}

static void
take_name(size_t i)
{
	char path[1024];

	if (now[i].name[0] == '\0')
		return;
	if (files[i].kind == KIND_CLASS) {
		snprintf(path, sizeof(path), "%s/%s/subsystem", files[i].path,
		    now[i].name);
		must(unlinkat(sysfs, path, 0) == 0);
	}
	snprintf(path, sizeof(path), "%s/%s", files[i].path, now[i].name);
	must(unlinkat(sysfs, path,
		 files[i].kind == KIND_CLASS ? AT_REMOVEDIR : 0) == 0);
	now[i].name[0] = '\0';
}

/* bytes has a NUL behind it; NULL: it is not to be there. */
static void
put(size_t i, const char *bytes, size_t len)
{
	const struct file *f = &files[i];

	if (f->kind == KIND_MOUNTS)
		put_mounts(i, bytes == NULL ? "" : bytes, len);
	else if (f->kind == KIND_NAME || f->kind == KIND_CLASS) {
		take_name(i);
		if (bytes != NULL && bytes[0] != '\0')
			put_name(i, bytes);
	} else if (bytes == NULL)
		unlinkat(sysfs, f->path, 0);
	else if (f->kind == KIND_LINK)
		put_link(f->path, bytes);
	else
		put_file(f->path, bytes, len);
}

static int
take_away(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void
clean(void)
{
	nftw(root, take_away, 8, FTW_DEPTH | FTW_PHYS);
}

static void
nothing(void)
{
}

static void
make_tree(void)
{
	size_t i;

	for (i = 0; i < FILES; i++) {
		make_dirs(files[i].path);
		if (files[i].kind == KIND_NAME || files[i].kind == KIND_CLASS)
			must(mkdirat(sysfs, files[i].path, 0700) == 0 ||
			     errno == EEXIST);
		if (files[i].kind == KIND_MOUNTS)
			now[i].fd = memfd_create("mounts", MFD_CLOEXEC);
		put(i, files[i].contents, files[i].len);
	}
	put_link("bus/usb/devices/3-1.2", "../../../" STICK);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	(void)argc;
	(void)argv;
	log_set_stderr(0);
	snprintf(root, sizeof(root), "%s/usbmgrd-sysfs.XXXXXX", dir);
	must(mkdtemp(root) != NULL);
	atexit(clean);
	sysfs = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(sysfs != -1);
	make_tree();
	mounts_init(nothing);
	mounts_watch_mountinfo(now[MOUNTINFO].fd);
	mounts_watch_swaps(now[MOUNTINFO + 6].fd);
	return 0;
}

static void
change(struct input *in)
{
	static char contents[CONTENT_MAX + 1];
	size_t i = input_byte(in) % FILES, len = input_byte(in);

	now[i].is_changed = 1;
	if (len == 255) {
		put(i, NULL, 0);
		return;
	}
	if (len == 254)
		len = CONTENT_MAX;
	len = input_bytes(in, contents, len);
	contents[len] = '\0';
	put(i, contents, len);
}

/* It is as it was, but for what it says of itself. */
static int
is_mounted_stick(void)
{
	size_t i;

	for (i = OF_THE_DEVICE; i < FILES; i++)
		if (now[i].is_changed)
			return 0;
	return 1;
}

static void
check(const struct usbport *port, struct device *d)
{
	must(usbdev_check(&d->dev) == NULL);
	must(usbport_cmp(&d->dev.port, port) == 0);
	must((d->dev.busy[0] == '\0') == (d->dev.busy_why[0] == '\0'));
	must(!is_mounted_stick() ||
	     (d->disks && strcmp(d->dev.busy, "sdb1") == 0 &&
		 strcmp(d->dev.busy_why, "mounted") == 0));
	report_device(&d->dev);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct usbport port = { .busnum = 3, .depth = 1, .chain = { 9 } };
	struct device d, again;
	size_t i;

	if (input_byte(&in) & 1)
		port = (struct usbport){
			.busnum = 3, .depth = 2, .chain = { 1, 2 }
		};
	while (in.size > 0)
		change(&in);
	mounts.stale = 1;
	if (device_read(sysfs, &port, &d) == 0) {
		check(&port, &d);
		again = d;
		must(device_read_use(sysfs, &again) == 0);
		must(memcmp(&again, &d, sizeof(d)) == 0);
	} else
		must(!is_mounted_stick());
	for (i = 0; i < FILES; i++) {
		if (now[i].is_changed)
			put(i, files[i].contents, files[i].len);
		now[i].is_changed = 0;
	}
	return 0;
}
