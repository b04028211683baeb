/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef OUTPUT_H
#define OUTPUT_H

#include "json.h"
#include "msg.h"

/* JSON, as usbmgrctl.8 describes it: members stay, new ones may come. */

/*
 * output_list_begin, output_list_item, output_list_end: an array of objects,
 * one a line.
 */
void output_list_begin(void);
void output_list_item(struct json *);
void output_list_end(void);

/* output_str_or_null: null for "". */
void output_str_or_null(struct json *, const char *name, const char *);

/*
 * output_device_members, output_vm_members: all that is known of it, into an
 * object.
 */
void output_device_members(struct json *, const struct ctl_device *);
void output_vm_members(struct json *, const struct ctl_vm *);

#endif
