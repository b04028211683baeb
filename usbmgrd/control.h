/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CONTROL_H
#define CONTROL_H

#include "core.h"

/*
 * The engine's control clients.  A client that breaks the protocol, or does
 * not read, loses its connection; nobody else is disturbed.
 */

/*
 * control_listen: accept clients on fd, which it takes, and answer from
 * core, which must stay.
 */
void control_listen(int fd, struct core *core);

#endif
