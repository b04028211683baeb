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
 * core, which must stay.  Once for each value of readonly.
 */
void control_listen(int fd, const struct msg_control *, struct core *core);

/* control_is_watched: 1 if some client wants to be told of events. */
int control_is_watched(void);

/* control_tell: tell those clients. */
void control_tell(const struct ctl_event *);

/* control_event: the core has had an event; some client may wait for it. */
void control_event(void);

/* From the parent. */
void control_process(const struct msg_process *);
void control_reload_text(const struct msg_line *);
void control_reload_done(const struct msg_done *);

#endif
