/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef ERRORS_H
#define ERRORS_H

#include "msg.h"

/* The class that means "no such id"; for device_del that is success. */
#define QMP_CLASS_NOT_FOUND "DeviceNotFound"
/* The class that means "no such command" (docs/interop/qmp-spec.rst). */
#define QMP_CLASS_NO_COMMAND "CommandNotFound"

/*
 * qmp_error_result: what an error reply to device_add or device_del means.
 * class and desc are QEMU's; class is nearly always "GenericError", so the
 * words of desc decide.  They are prose and differ between versions: the
 * table knows those of QEMU 7.2 (hw/usb/host-libusb.c, hw/usb/bus.c,
 * softmmu/qdev-monitor.c) and 10.0.  Words it does not know are RESULT_OTHER.
 */
enum result qmp_error_result(const char *class, const char *desc);

#endif
