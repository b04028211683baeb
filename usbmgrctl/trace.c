/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_tree.h>
#include "command.h"
#include "log.h"
#include "proc.h"
#include "term.h"
#include "verify.h"

/*
 * usbmgrctl audit trace: what the logs of the four processes have of one
 * attach, in the order in which it was.
 */

#define DEFAULT_LOGS LOGDIR
#define UEVENTS_MAX 16

struct record {
	char *line;
	size_t len;
	char time[32];
	char event[32];
	char process[VERIFY_PROCESS_MAX];
	uint64_t mono;
	size_t order; /* in which they were read */
};

static struct {
	uint64_t request;
	struct record *records;
	size_t n;
	char since[32]; /* start of the run of usbmgrd that it belongs to */
	char decided[32]; /* time of the attach */
	uint64_t uevents[UEVENTS_MAX];
	size_t nuevents;
	char device[64];
	uint64_t devnum;
} trace;

static void
keep(const char *line, size_t len)
{
	struct record *r;

	trace.records = reallocarray(trace.records, trace.n + 1, sizeof(*r));
	if (trace.records == NULL)
		fatal("reallocarray");
	r = &trace.records[trace.n];
	memset(r, 0, sizeof(*r));
	if ((r->line = strndup(line, len)) == NULL)
		fatal("strndup");
	r->len = len;
	r->order = trace.n++;
	/* The first member has no comma before it. */
	if (len > 40 && memcmp(line, "{\"time\":\"", 9) == 0)
		strlcpy(
		    r->time, line + 9, sizeof("2026-01-01T00:00:00.000000Z"));
	verify_number(line, len, "mono", &r->mono);
	verify_string(line, len, "event", r->event, sizeof(r->event));
	verify_string(line, len, "process", r->process, sizeof(r->process));
}

static void
drop_last(void)
{
	free(trace.records[--trace.n].line);
}

static int
is_request(const char *line, size_t len)
{
	uint64_t n;

	return verify_number(line, len, "request", &n) == 0 &&
	       n == trace.request;
}

/* Which attach has that number: the last one of them, and its run. */
static void
first_pass(const char *line, size_t len)
{
	const struct record *r;
	static char last_start[32];

	keep(line, len);
	r = &trace.records[trace.n - 1];
	if (strcmp(r->process, "engine") == 0 && strcmp(r->event, "start") == 0)
		strlcpy(last_start, r->time, sizeof(last_start));
	if (strcmp(r->process, "engine") == 0 &&
	    strcmp(r->event, "attach") == 0 && is_request(line, len)) {
		strlcpy(trace.since, last_start, sizeof(trace.since));
		strlcpy(trace.decided, r->time, sizeof(trace.decided));
		trace.nuevents = 0;
		if (verify_number(line, len, "uevent", &trace.uevents[0]) ==
			0 &&
		    trace.uevents[0] != 0)
			trace.nuevents = 1;
		verify_string(
		    line, len, "device", trace.device, sizeof(trace.device));
		verify_number(line, len, "devnum", &trace.devnum);
	}
	drop_last();
}

/* The same device's own events, also without a uevent (at the start). */
static int
is_of_device(const struct record *r)
{
	char device[64], port[64];
	uint64_t devnum, bus, uevent;
	size_t i;

	if (verify_number(r->line, r->len, "devnum", &devnum) == -1 ||
	    devnum != trace.devnum)
		return 0;
	if (verify_string(r->line, r->len, "device", device, sizeof(device)) ==
	    -1) {
		if (verify_number(r->line, r->len, "bus", &bus) == -1 ||
		    verify_string(
			r->line, r->len, "port", port, sizeof(port)) == -1)
			return 0;
		snprintf(device, sizeof(device), "%llu:%.40s",
		    (unsigned long long)bus, port);
	}
	if (strcmp(device, trace.device) != 0)
		return 0;
	if (strcmp(r->event, "device-gone") == 0 ||
	    strcmp(r->event, "device-remove") == 0)
		return 1;
	if (strcmp(r->event, "device") != 0 &&
	    strcmp(r->event, "device-add") != 0)
		return 0;
	if (verify_number(r->line, r->len, "uevent", &uevent) == -1)
		return 0;
	for (i = 0; i < trace.nuevents; i++)
		if (trace.uevents[i] == uevent)
			return 1;
	return trace.nuevents == 0;
}

static void
second_pass(const char *line, size_t len)
{
	const struct record *r;

	keep(line, len);
	r = &trace.records[trace.n - 1];
	if (strcmp(r->time, trace.since) < 0 ||
	    !(is_request(line, len) || (trace.devnum != 0 && is_of_device(r))))
		drop_last();
}

/* A log that is not there is no error where all four are looked for. */
static int
read_lines(const char *path, int must, void (*take)(const char *, size_t))
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	FILE *in = fopen(path, "re");

	if (in == NULL && (must || errno != ENOENT))
		fatal("%s", path);
	if (in == NULL)
		return 0;
	while ((len = getline(&line, &size, in)) != -1) {
		if (len > 0 && line[len - 1] == '\n')
			len--;
		take(line, (size_t)len);
	}
	free(line);
	fclose(in);
	return 1;
}

static void
read_all(const struct arguments *a, void (*take)(const char *, size_t))
{
	const char *dir = a->directory != NULL ? a->directory : DEFAULT_LOGS;
	char path[PATH_MAX];
	enum proc_id proc;
	int i, n = 0;

	for (i = 1; i < a->argc; i++)
		n += read_lines(a->argv[i], 1, take);
	for (proc = PROC_PARENT; a->argc == 1 && proc <= PROC_LAST_CHILD;
	     proc++) {
		snprintf(
		    path, sizeof(path), "%s/%s.1", dir, proc_table[proc].log);
		n += read_lines(path, 0, take);
		snprintf(
		    path, sizeof(path), "%s/%s", dir, proc_table[proc].log);
		n += read_lines(path, 0, take);
	}
	if (n == 0)
		fatalx("there are no audit logs in %s", dir);
}

static int
record_cmp(const void *va, const void *vb)
{
	const struct record *a = va, *b = vb;
	int c = strncmp(a->time, b->time, sizeof("2026-01-01T00:00:0"));

	/* The monotonic clock, except from one boot to another. */
	if (c != 0)
		return c;
	if (a->mono != b->mono)
		return a->mono < b->mono ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

/* Words */

static const char *
string(yajl_val line, const char *name)
{
	const char *path[] = { name, NULL }, *s;

	s = YAJL_GET_STRING(yajl_tree_get(line, path, yajl_t_string));
	return s == NULL ? "" : s;
}

static long long
number(yajl_val line, const char *name)
{
	const char *path[] = { name, NULL };
	yajl_val v = yajl_tree_get(line, path, yajl_t_number);

	return YAJL_IS_INTEGER(v) ? YAJL_GET_INTEGER(v) : 0;
}

static void
say_result(yajl_val l, const char *process, char *buf, size_t size)
{
	const char *result = string(l, "result"), *why = string(l, "text");
	int engine = strcmp(process, "engine") == 0;

	if (why[0] == '\0')
		why = string(l, "reason");
	if (!engine)
		snprintf(buf, size, "tells the engine: %s%s%s", result,
		    why[0] == '\0' ? "" : ": ", why);
	else if (strcmp(result, "ok") != 0)
		snprintf(buf, size, "%s refused: %s: %s", string(l, "of"),
		    result, why);
	else if (strcmp(string(l, "of"), "detach") == 0)
		snprintf(buf, size, "done, it is out");
	else
		snprintf(buf, size, "done, it is in guest port %lld",
		    number(l, "guest_port"));
}

static void
say_qmp(yajl_val l, char *buf, size_t size)
{
	const char *error = string(l, "error");

	snprintf(buf, size, "\"%s\" answers %s after %lld ms: %s",
	    string(l, "vm"), string(l, "command"), number(l, "ms"),
	    error[0] == '\0' ? "ok" : error);
}

static void
say_open(yajl_val l, char *buf, size_t size)
{
	snprintf(buf, size, "opens /dev/bus/usb/%03lld/%03lld%s%s",
	    number(l, "busnum"), number(l, "devnum"),
	    string(l, "error")[0] == '\0' ? "" : ": ", string(l, "error"));
}

static void
say(const char *event, yajl_val l, char *buf, size_t size)
{
	const char *vm = string(l, "vm"), *reason = string(l, "reason");

	if (strcmp(event, "device") == 0 && number(l, "uevent") == 0)
		snprintf(buf, size, "finds it plugged");
	else if (strcmp(event, "device") == 0)
		snprintf(
		    buf, size, "sees it, uevent %lld", number(l, "uevent"));
	else if (strcmp(event, "device-add") == 0)
		snprintf(buf, size, "is told of it");
	else if (strcmp(event, "device-gone") == 0)
		snprintf(buf, size, "sees that it is unplugged, uevent %lld",
		    number(l, "uevent"));
	else if (strcmp(event, "device-remove") == 0)
		snprintf(buf, size, "is told that it is unplugged");
	else if (strcmp(event, "attach") == 0)
		snprintf(buf, size, "decides: to \"%s\": %s", vm, reason);
	else if (strcmp(event, "detach") == 0)
		snprintf(buf, size, "decides: out of \"%s\": %s", vm, reason);
	else if (strcmp(event, "open-device") == 0)
		say_open(l, buf, size);
	else if (strcmp(event, "qmp") == 0)
		say_qmp(l, buf, size);
	else if (strcmp(event, "result") == 0)
		say_result(l, string(l, "process"), buf, size);
	else if (strcmp(event, "vm-has") == 0)
		snprintf(buf, size, "finds it in \"%s\" after a start", vm);
	else if (strcmp(event, "vm-dropped") == 0)
		snprintf(buf, size,
		    "hears that somebody else took it out of \"%s\"", vm);
	else
		snprintf(buf, size, "%s%s%s", event,
		    reason[0] == '\0' ? "" : ": ", reason);
}

/* Milliseconds since the first line; the boot may have been another one. */
static double
elapsed(const struct record *r)
{
	const struct record *first = &trace.records[0];

	return r->mono < first->mono ? 0
				     : (double)(r->mono - first->mono) / 1000.0;
}

static void
print_head(void)
{
	char why[128], text[1024] = "";
	yajl_val l = NULL;
	size_t i;

	printf("Request %llu", (unsigned long long)trace.request);
	if (trace.device[0] != '\0')
		printf(": device %s (number %llu)", trace.device,
		    (unsigned long long)trace.devnum);
	for (i = 0; i < trace.n; i++) {
		l = yajl_tree_parse(trace.records[i].line, why, sizeof(why));
		if (l != NULL && string(l, "vendor")[0] != '\0')
			break;
		yajl_tree_free(l);
	}
	if (i < trace.n) {
		printf(", %.8s:%.8s %.200s", string(l, "vendor"),
		    string(l, "product"),
		    term_visible(string(l, "name"), text, sizeof(text)));
		yajl_tree_free(l);
	}
	printf("\n%.10s %.15s UTC\n", trace.records[0].time,
	    trace.records[0].time + 11);
}

static void
print_record(const struct record *r)
{
	char why[128], text[2048];
	yajl_val l = yajl_tree_parse(r->line, why, sizeof(why));

	if (l == NULL) {
		log_warnx("a line that is not JSON is left out");
		return;
	}
	say(r->event, l, text, sizeof(text));
	printf("%11.3f ms  %-9s  ", elapsed(r), r->process);
	term_wrap(text, 27, 29);
	yajl_tree_free(l);
}

static void
print_json(void)
{
	size_t i;

	putchar('[');
	for (i = 0; i < trace.n; i++)
		printf("%s\n{\"ms\":%.3f,\"line\":%s}", i == 0 ? "" : ",",
		    elapsed(&trace.records[i]), trace.records[i].line);
	puts("]");
}

int
audit_trace_command(const struct arguments *a)
{
	const char *errstr;
	size_t i;

	trace.request = (uint64_t)strtonum(a->argv[0], 1, UINT32_MAX, &errstr);
	if (errstr != NULL)
		command_usage(
		    a->command, "\"%s\" is no number of a request", a->argv[0]);
	read_all(a, first_pass);
	read_all(a, second_pass);
	if (trace.n == 0) {
		log_warnx("no line of these logs has request %llu",
		    (unsigned long long)trace.request);
		return 1;
	}
	qsort(trace.records, trace.n, sizeof(*trace.records), record_cmp);
	if (a->json) {
		print_json();
		return 0;
	}
	print_head();
	for (i = 0; i < trace.n; i++)
		print_record(&trace.records[i]);
	return 0;
}
