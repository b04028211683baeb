/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef QMPCLIENT_H
#define QMPCLIENT_H

#include "msg.h"

/* tell_parent, tell_engine: queue a message; payload as the table says. */
void tell_parent(enum msg_type, const void *payload);
void tell_engine(enum msg_type, const void *payload);

#endif
