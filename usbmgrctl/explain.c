/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "explain.h"
#include "json.h"
#include "log.h"
#include "output.h"
#include "retry.h"
#include "term.h"

static struct ctl_rule *rules;
static size_t nrules;
static struct ctl_device device;
static int has_device;

void
explain_rule(const struct ctl_rule *rule)
{
	rules = reallocarray(rules, nrules + 1, sizeof(*rules));
	if (rules == NULL)
		fatal("reallocarray");
	rules[nrules++] = *rule;
}

void
explain_device(const struct ctl_device *d)
{
	device = *d;
	has_device = 1;
}

static void
print_rule(const struct ctl_rule *r)
{
	char name[4 * MSG_VM_NAME_MAX];
	unsigned int i;

	printf("  %c %-20s %s%s", r->decides ? '*' : ' ', r->where,
	    r->action == RULE_BLOCK ? "block" : "pass",
	    r->quick ? " quick" : "");
	if (r->nvms > 0)
		fputs(r->nvms > 1 ? " to {" : " to", stdout);
	for (i = 0; i < r->nvms && i < MSG_RULE_VMS_MAX; i++)
		printf(" \"%s\"", term_visible(r->vms[i], name, sizeof(name)));
	if (r->nvms > 1)
		fputs(" }", stdout);
	putchar('\n');
	if (r->companion)
		printf("    %-20s matched through its companion port\n", "");
}

static void
print_identity(const struct usbdev *d)
{
	char port[USBPORT_STRLEN], text[4 * USBDEV_STRING_MAX];
	unsigned int i;

	printf("%s  %04x:%04x", usbport_string(&d->port, port), d->vendor,
	    d->product);
	if (d->name[0] != '\0')
		printf("  %s", term_visible(d->name, text, sizeof(text)));
	printf("\n  device number %u", d->devnum);
	if (d->serial[0] != '\0')
		printf(
		    ", serial %s", term_visible(d->serial, text, sizeof(text)));
	if (d->peer.busnum != 0)
		printf(", companion port %s", usbport_string(&d->peer, port));
	printf("\n  interfaces");
	for (i = 0; i < d->ninterfaces && i < USBDEV_INTERFACES_MAX; i++)
		printf(" %02x:%02x:%02x", d->interfaces[i].class,
		    d->interfaces[i].subclass, d->interfaces[i].protocol);
	printf("%s\n", d->ninterfaces == 0 ? " none" : "");
}

static void
print_retry(void)
{
	if (device.retry_ms != 0 && device.state == DEV_HELD)
		printf("Its machine gets it in %u.%03u s",
		    device.retry_ms / 1000, device.retry_ms % 1000);
	else if (device.retry_ms != 0)
		printf("It is tried again in %u.%03u s", device.retry_ms / 1000,
		    device.retry_ms % 1000);
	else if (device.failed != RESULT_OK && device.failed < RESULT_MAX)
		printf("It is tried again");
	else
		return;
	if (device.failed != RESULT_OK && device.failed < RESULT_MAX)
		printf("%s %s", device.retry_ms != 0 ? ", or" : "",
		    retry_event((enum result)device.failed));
	puts(".");
}

static void
print_text(void)
{
	char vm[4 * MSG_VM_NAME_MAX], reason[4 * MSG_TEXT_MAX];
	size_t i;

	print_identity(&device.dev);
	puts(
	    nrules == 0 ? "No rule matches." : "Rules that match (* decides):");
	for (i = 0; i < nrules; i++)
		print_rule(&rules[i]);
	fputs("It is ", stdout);
	term_colour(term_state(device_state_string(device.state)));
	fputs(device_state_string(device.state), stdout);
	term_colour(TERM_PLAIN);
	if (device.vm[0] != '\0' && device.state != DEV_HELD)
		printf(", machine \"%s\"",
		    term_visible(device.vm, vm, sizeof(vm)));
	if (device.guest_port != 0)
		printf(", guest port %u", device.guest_port);
	printf(": %s\n", term_visible(device.reason, reason, sizeof(reason)));
	if (device.override != OVERRIDE_NONE)
		puts("The rules do not count for it until it is unplugged, or "
		     "left to them by\n\"usbmgrctl policy\".");
	print_retry();
}

static void
print_json(void)
{
	static char buf[1 << 20];
	struct json j;
	unsigned int k;
	size_t i;

	json_init(&j, buf, sizeof(buf));
	json_object(&j, NULL);
	json_array(&j, "rules");
	for (i = 0; i < nrules; i++) {
		json_object(&j, NULL);
		json_str(&j, "rule", rules[i].where);
		json_str(&j, "action",
		    rules[i].action == RULE_BLOCK ? "block" : "pass");
		json_bool(&j, "quick", rules[i].quick != 0);
		json_array(&j, "vms");
		for (k = 0; k < rules[i].nvms && k < MSG_RULE_VMS_MAX; k++)
			json_str(&j, NULL, rules[i].vms[k]);
		json_end(&j, ']');
		json_bool(&j, "companion", rules[i].companion != 0);
		json_bool(&j, "decides", rules[i].decides != 0);
		json_end(&j, '}');
	}
	json_end(&j, ']');
	output_device_members(&j, &device);
	json_end(&j, '}');
	if (json_finish(&j) == 0)
		fatalx("too many rules match to be printed");
	puts(buf);
}

int
explain_print(const struct usbport *port, int json)
{
	char text[USBPORT_STRLEN];

	if (!has_device) {
		log_warnx(
		    "no device is plugged in %s", usbport_string(port, text));
		return -1;
	}
	if (json)
		print_json();
	else
		print_text();
	return 0;
}
