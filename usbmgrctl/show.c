/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "client.h"
#include "conf.h"
#include "counters.h"
#include "log.h"
#include "output.h"
#include "term.h"

/* Lists: a table, or an array of JSON objects. */

static const struct msg_none none;
static int as_json;

static void
json_begin(struct json *j, char *buf, size_t size)
{
	json_init(j, buf, size);
	json_object(j, NULL);
}

static void
json_item(struct json *j)
{
	json_end(j, '}');
	output_list_item(j);
}

/* Machines */

static void
item_vm(enum msg_type type, const void *item)
{
	const struct ctl_vm *v = item;
	char name[4 * MSG_VM_NAME_MAX], buf[4096];
	struct json j;

	if (type != MSG_CTL_VM)
		client_unexpected(type);
	if (as_json) {
		json_begin(&j, buf, sizeof(buf));
		output_vm_members(&j, v);
		json_item(&j);
		return;
	}
	term_visible(v->name, name, sizeof(name));
	printf("%-20s%s", name,
	    strlen(name) > 20 ? "\n                     " : " ");
	term_colour(term_state(vm_state_string(v->state)));
	printf("%-10s", vm_state_string(v->state));
	term_colour(TERM_PLAIN);
	printf(" %7u  ", v->devices);
	term_wrap(v->reason, 41, 41);
}

int
show_vms(const struct arguments *a)
{
	int fd = client_connect(a);

	as_json = a->json;
	if (as_json)
		output_list_begin();
	else
		printf("%-20s %-10s %7s  %s\n", "MACHINE", "STATE", "DEVICES",
		    "REASON");
	client_ask(fd, MSG_CTL_SHOW_VMS, &none, item_vm, NULL);
	if (as_json)
		output_list_end();
	return 0;
}

/* Rules */

static struct {
	uint64_t generation;
	uint32_t next;
	uint32_t n; /* in the page */
	int changed;
} rules;

static const char *
rule_vm_name(const void *arg, uint32_t vm)
{
	const struct ctl_policy_rule *r = arg;
	unsigned int i;

	for (i = 0; i < r->rule.nvms && i < MSG_RULE_VMS_MAX; i++)
		if (r->rule.vms[i] == vm)
			return r->vms[i];
	return "";
}

/* As usbmgrd -nv prints it; into a text that is the caller's. */
static char *
rule_text(struct ctl_policy_rule *r)
{
	struct conf_rule rule;
	char *text = NULL;
	size_t len, i;
	FILE *out;

	memset(&rule, 0, sizeof(rule));
	rule.msg = r->rule;
	if (rule.msg.nvms > MSG_RULE_VMS_MAX)
		rule.msg.nvms = MSG_RULE_VMS_MAX;
	rule.has_product =
	    (r->rule.has & (RULE_HAS_VENDOR | RULE_HAS_PRODUCT)) != 0;
	for (i = 0; i < TEXT_MAX; i++)
		rule.text[i] = r->text[i];
	if ((out = open_memstream(&text, &len)) == NULL)
		fatal("open_memstream");
	conf_print_rule(NULL, &rule, out, rule_vm_name, r);
	if (fclose(out) == EOF)
		fatal("open_memstream");
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void
item_rule(enum msg_type type, const void *item)
{
	struct ctl_policy_rule r;
	char buf[8192], *text;
	struct json j;

	if (type != MSG_CTL_POLICY_RULE)
		client_unexpected(type);
	memcpy(&r, item, sizeof(r));
	if (rules.next > 0 && rules.generation != r.generation)
		rules.changed = 1;
	rules.generation = r.generation;
	rules.n++;
	if (rules.changed)
		return;
	rules.next = r.number + 1;
	text = rule_text(&r);
	if (as_json) {
		json_begin(&j, buf, sizeof(buf));
		json_str(&j, "rule", r.rule.where);
		json_str(&j, "text", text);
		json_num(&j, "hits", (int64_t)r.hits);
		json_num(&j, "devices", r.devices);
		json_item(&j);
	} else {
		printf("%-20s %6llu %3u  ", r.rule.where,
		    (unsigned long long)r.hits, r.devices);
		term_wrap(text, 33, 35);
	}
	free(text);
}

int
show_rules(const struct arguments *a)
{
	struct ctl_page page;

	as_json = a->json;
	do {
		page.first = rules.next;
		rules.n = 0;
		int fd = client_connect(a);

		if (page.first == 0 && as_json)
			output_list_begin();
		else if (page.first == 0)
			printf("%-20s %6s %3s  %s\n", "PLACE", "HITS", "NOW",
			    "RULE");
		client_ask(fd, MSG_CTL_SHOW_RULES, &page, item_rule, NULL);
	} while (rules.n > 0 && !rules.changed);
	if (as_json)
		output_list_end();
	if (rules.changed)
		log_warnx("the policy was loaded anew meanwhile: ask again");
	return rules.changed;
}

/* Processes: what usbmgrd says of them, and what the kernel does. */

struct seen {
	long uid; /* -1: not known */
	long kilobytes;
	long seccomp;
	long no_new_privs;
};

static void
look(int32_t pid, struct seen *seen)
{
	char path[64], line[256];
	FILE *in;

	seen->uid = seen->kilobytes = seen->seccomp = seen->no_new_privs = -1;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if ((in = fopen(path, "re")) == NULL)
		return;
	while (fgets(line, sizeof(line), in) != NULL) {
		sscanf(line, "Uid: %ld", &seen->uid);
		sscanf(line, "VmRSS: %ld", &seen->kilobytes);
		sscanf(line, "Seccomp: %ld", &seen->seccomp);
		sscanf(line, "NoNewPrivs: %ld", &seen->no_new_privs);
	}
	fclose(in);
}

static const char *
user_name(const struct seen *seen, char *buf, size_t size)
{
	const struct passwd *pw =
	    seen->uid < 0 ? NULL : getpwuid((uid_t)seen->uid);

	if (pw != NULL)
		strlcpy(buf, pw->pw_name, size);
	else if (seen->uid >= 0)
		snprintf(buf, size, "%ld", seen->uid);
	else
		strlcpy(buf, "-", size);
	return buf;
}

static const char *
since(uint64_t when, char *buf, size_t size)
{
	time_t t = (time_t)when;
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm);
	return buf;
}

static void
json_known(struct json *j, const char *name, long value, int is_bool)
{
	if (value < 0)
		json_null(j, name);
	else if (is_bool)
		json_bool(j, name, value != 0);
	else
		json_num(j, name, value);
}

static void
process_json(const struct msg_process *p, const struct seen *seen)
{
	char buf[2048], text[64];
	struct json j;

	json_begin(&j, buf, sizeof(buf));
	json_str(&j, "process", proc_name((enum proc_id)p->proc));
	json_num(&j, "pid", p->pid);
	json_str(&j, "user", user_name(seen, text, sizeof(text)));
	json_known(
	    &j, "filter", seen->seccomp < 0 ? -1 : seen->seccomp == 2, 1);
	json_known(&j, "no_new_privs", seen->no_new_privs, 1);
	json_str(&j, "promises", p->promises);
	json_known(&j, "memory_kb", seen->kilobytes, 0);
	json_num(&j, "started", (int64_t)p->started);
	json_num(&j, "restarts", p->restarts);
	json_item(&j);
}

static void
item_process(enum msg_type type, const void *item)
{
	const struct msg_process *p = item;
	char user[64], when[64], text[MSG_PROMISES_MAX + 64];
	struct seen seen;
	const char *filter;

	if (type != MSG_CTL_PROCESS)
		client_unexpected(type);
	look(p->pid, &seen);
	if (as_json) {
		process_json(p, &seen);
		return;
	}
	printf("%-9s %7d %-16s %4ld.%ld MB  %s %8u\n",
	    proc_name((enum proc_id)p->proc), p->pid,
	    user_name(&seen, user, sizeof(user)),
	    seen.kilobytes < 0 ? 0 : seen.kilobytes / 1024,
	    seen.kilobytes < 0 ? 0 : seen.kilobytes % 1024 * 10 / 1024,
	    since(p->started, when, sizeof(when)), p->restarts);
	filter = seen.seccomp == 2  ? "filtered: "
		 : seen.seccomp < 0 ? "filter not known: "
				    : "NOT FILTERED: ";
	snprintf(text, sizeof(text), "%s%s%s", filter, p->promises,
	    seen.no_new_privs == 0 ? "; CAN GAIN PRIVILEGES" : "");
	printf("%18s", "");
	term_wrap(text, 18, 20);
}

int
show_processes(const struct arguments *a)
{
	int fd = client_connect(a);

	as_json = a->json;
	if (as_json)
		output_list_begin();
	else
		printf("%-9s %7s %-16s %9s  %-19s %8s\n", "PROCESS", "PID",
		    "USER", "MEMORY", "UP SINCE", "RESTARTS");
	client_ask(fd, MSG_CTL_SHOW_PROCESSES, &none, item_process, NULL);
	if (as_json)
		output_list_end();
	return 0;
}

/* Counters */

static uint32_t last_family = COUNTER_MAX;

static const struct counter_info *
check_counter(enum msg_type type, const struct ctl_counter *c)
{
	const struct counter_info *info = counter_info(c->family);

	if (type != MSG_CTL_COUNTER)
		client_unexpected(type);
	if (info == NULL || !msg_string_ok(c->label, sizeof(c->label)))
		fatalx("usbmgrd sent a counter that is none: is it of another "
		       "version?");
	return info;
}

static const char *
unit(const struct counter_info *info)
{
	return info->type == MILLISECONDS || info->type == SECONDS ? "_seconds"
								   : "";
}

static void
value_text(
    const struct counter_info *info, uint64_t value, char *buf, size_t size)
{
	if (info->type == MILLISECONDS)
		snprintf(buf, size, "%llu.%03llu",
		    (unsigned long long)value / 1000,
		    (unsigned long long)value % 1000);
	else
		snprintf(buf, size, "%llu", (unsigned long long)value);
}

/* In a label value only these three are escaped (OpenMetrics 1.0). */
static void
print_label(const char *s)
{
	for (; *s != '\0'; s++)
		if (*s == '\n')
			fputs("\\n", stdout);
		else {
			if (*s == '"' || *s == '\\')
				putchar('\\');
			putchar(*s);
		}
}

static void
item_metric(enum msg_type type, const void *item)
{
	const struct ctl_counter *c = item;
	const struct counter_info *info = check_counter(type, c);
	int counts = info->type == COUNTER || info->type == MILLISECONDS;
	char value[64];

	if (c->family != last_family) {
		printf("# TYPE usbmgrd_%s%s %s\n", info->name, unit(info),
		    counts ? "counter" : "gauge");
		if (unit(info)[0] != '\0')
			printf(
			    "# UNIT usbmgrd_%s_seconds seconds\n", info->name);
		printf("# HELP usbmgrd_%s%s %s.\n", info->name, unit(info),
		    info->help);
	}
	last_family = c->family;
	printf(
	    "usbmgrd_%s%s%s", info->name, unit(info), counts ? "_total" : "");
	if (info->label != NULL) {
		printf("{%s=\"", info->label);
		print_label(c->label);
		fputs("\"}", stdout);
	}
	value_text(info, c->value, value, sizeof(value));
	printf(" %s\n", value);
}

static void
item_counter(enum msg_type type, const void *item)
{
	const struct ctl_counter *c = item;
	const struct counter_info *info = check_counter(type, c);
	char label[4 * MSG_VM_NAME_MAX], name[5 * MSG_VM_NAME_MAX], value[64],
	    buf[2048];
	struct json j;

	value_text(info, c->value, value, sizeof(value));
	if (as_json) {
		json_begin(&j, buf, sizeof(buf));
		json_str(&j, "counter", info->name);
		if (info->label != NULL)
			json_str(&j, info->label, c->label);
		json_num(&j, info->type == MILLISECONDS ? "ms" : "value",
		    (int64_t)c->value);
		json_item(&j);
		return;
	}
	if (info->label != NULL && c->value == 0)
		return;
	snprintf(name, sizeof(name), "%s%s%s%s", info->name, unit(info),
	    info->label == NULL ? "" : " ",
	    info->label == NULL ? ""
				: term_visible(c->label, label, sizeof(label)));
	printf("%10s  %-26s", value, name);
	term_wrap(
	    c->family == last_family || strlen(name) > 25 ? "" : info->help, 38,
	    38);
	last_family = c->family;
}

int
show_counters(const struct arguments *a)
{
	int fd;

	if (a->openmetrics && a->json)
		command_usage(a->command, "-j and -o together");
	fd = client_connect(a);
	as_json = a->json;
	if (as_json)
		output_list_begin();
	client_ask(fd, MSG_CTL_SHOW_COUNTERS, &none,
	    a->openmetrics ? item_metric : item_counter, NULL);
	if (as_json)
		output_list_end();
	if (a->openmetrics)
		puts("# EOF");
	return 0;
}
