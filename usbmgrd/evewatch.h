/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef EVEWATCH_H
#define EVEWATCH_H

/*
 * The parent's eye on the files of EVE: it opens them and reads nothing.  A
 * file is replaced by a rename and removed (lf-edge/eve pkg/pillar
 * pubsub/socketdriver/publish.go), which inotify(7) tells; so does it when
 * the directories come, go or are replaced.
 */

/*
 * Descriptors are the callee's.  Between begin and end everything that is
 * there is told: what is not, is gone.  key is the name of a file without
 * ".json", good by evename_ok.
 */
struct evewatch_ops {
	void (*begin)(void);
	void (*end)(void);
	void (*adapters)(int fd);
	void (*adapters_gone)(void);
	void (*domain)(const char *key, int fd);
	void (*domain_gone)(const char *key);
};

/* evewatch_init: whom to tell. */
void evewatch_init(const struct evewatch_ops *);

/*
 * evewatch_start: tell of the file and of those in the directory now, and of
 * each change from then on; both are absolute paths.  NULL: of none.  Ends
 * the process when there is no inotify.
 */
void evewatch_start(const char *adapters_file, const char *domains_directory);

#endif
