/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* What people say of a device: it counts, but not past what must not be. */

#include "core_bed.h"

static char why[MSG_TEXT_MAX];

/* "" if it may be done, and then it is. */
static void
by_hand_at(const char *port, enum override command, const char *vm, int force,
    const char *expected, const char *file, int line)
{
	struct core_override o = {
		.command = command, .force = force, .uid = 7
	};
	struct core_event ev = { .type = EV_OVERRIDE, .u.override = &o };

	o.port = mkport(port);
	strlcpy(o.vm, vm, sizeof(o.vm));
	why[0] = '\0';
	core_override_try(bed.core, &o, why, sizeof(why));
	_assert_string_equal(why, expected, file, line);
	happens(&ev);
}
#define by_hand(port, command, vm, force, expected) \
	by_hand_at(                                 \
	    port, OVERRIDE_##command, vm, force, expected, __FILE__, __LINE__)

static void
attach_counts_instead_of_the_rules(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a");
	vm_up("a");
	vm_up("b");
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	by_hand("3:9", ATTACH, "b", 0, "");
	did("detach a 3:9/5: attached by hand (uid 7)\n");
	answer("3:9", RESULT_OK);
	did("attach b 3:9/5: attached by hand (uid 7)\n");
	answer("3:9", RESULT_OK);
	is("3:9", "attached b: attached by hand (uid 7)");
	/* Also with another policy. */
	policy("a b", "block");
	did("");
	is("3:9", "attached b: attached by hand (uid 7)");
	by_hand("3:9", NONE, "", 0, "");
	did("detach b 3:9/5: blocked by t:1\n");
}

/* Any machine may have it since before we started. */
static void
attach_waits_until_all_were_heard_of(void **state)
{
	static const char *const rules[] = { "block", NULL };
	struct core_event ev = { .type = EV_POLICY };

	(void)state;
	ev.u.policy = mkpolicy("a b", rules);
	happens(&ev);
	vm_up("b");
	plug("3:9", 5, MOUSE);
	by_hand("3:9", ATTACH, "b", 0, "");
	did("hold 3:9/5: machine \"a\" has not answered yet whether it has "
	    "it\n");
	vm_up("a");
	did("attach b 3:9/5: attached by hand (uid 7)\n");
	answer("3:9", RESULT_OK);
}

static void
what_no_rule_passes_may_be_attached(void **state)
{
	(void)state;
	policy("a", "pass 1:1 a");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	did("hold 3:9/5: no rule matches\n");
	by_hand("3:9", ATTACH, "a", 0, "");
	did("attach a 3:9/5: attached by hand (uid 7)\n");
	answer("3:9", RESULT_OK);
	by_hand("3:9", NONE, "", 0, "");
	did("detach a 3:9/5: no rule matches\n");
}

static void
detach_counts_until_it_is_unplugged(void **state)
{
	struct usbdev d = mkdev("3:9", 5, MOUSE);

	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	by_hand("3:9", DETACH, "", 0, "");
	did("detach a 3:9/5: detached by hand (uid 7)\n");
	answer("3:9", RESULT_OK);
	did("hold 3:9/5: detached by hand (uid 7)\n");
	vm_down("a");
	vm_up("a");
	did("");
	/* The same device, which the host comes to use, is still the same. */
	strlcpy(d.busy, "sdb", sizeof(d.busy));
	plug_dev(&d);
	did("");
	unplug("3:9", 5);
	plug("3:9", 6, MOUSE);
	did("attach a 3:9/6: t:1\n");
	answer("3:9", RESULT_OK);
	by_hand("3:9", DETACH, "", 0, "");
	answer("3:9", RESULT_OK);
	/* With other descriptors it is another one, whatever its number. */
	plug("3:9", 6, KEYBOARD);
	did("attach a 3:9/6: t:1\n");
}

static void
it_follows_its_machine(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a");
	vm_up("a");
	vm_up("b");
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	by_hand("3:9", ATTACH, "b", 0, "");
	answer("3:9", RESULT_OK);
	answer("3:9", RESULT_OK);
	vm_down("b");
	did("hold 3:9/5: machine \"b\", to which it was attached by hand, "
	    "is down\n");
	vm_up("b");
	did("attach b 3:9/5: attached by hand (uid 7)\n");
	answer("3:9", RESULT_OK);
	/* When that leaves the policy, the rules count. */
	policy("a", "pass 3:9 a");
	did("detach b 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	did("attach a 3:9/5: t:1\n");
}

static void
not_past_hubs_and_malformed_descriptors(void **state)
{
	static const struct usbclass hub = { 9, 0, 0 };
	struct usbdev d = mkdev("3:1", 2, MOUSE);

	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	usbdev_add_interface(&d, &hub);
	plug_dev(&d);
	by_hand("3:1", ATTACH, "a", 0, "hub");
	did("");
	by_hand("3:1", ATTACH, "a", 1, "hub");
	did("");
	d = mkdev("3:2", 3, MOUSE);
	d.odd_descriptors = 1;
	plug_dev(&d);
	by_hand("3:2", ATTACH, "a", 1, "malformed descriptors");
	did("");
	is("3:2", "unassigned: no rule matches");
}

static void
past_protection_only_when_forced(void **state)
{
	struct usbdev d = mkdev("3:9", 5, MOUSE);

	(void)state;
	policy("a", "block");
	vm_up("a");
	strlcpy(d.netif, "eth1", sizeof(d.netif));
	plug_dev(&d);
	by_hand("3:9", ATTACH, "a", 0,
	    "protected: network interface eth1 of the host; -f attaches it all "
	    "the same");
	did("");
	by_hand("3:9", ATTACH, "a", 1, "");
	did("attach a 3:9/5: attached by hand (uid 7), forced\n");
	answer("3:9", RESULT_OK);
	/* What comes to be in use is protected from then on, too. */
	d = mkdev("3:10", 6, MOUSE);
	plug_dev(&d);
	by_hand("3:10", ATTACH, "a", 0, "");
	answer("3:10", RESULT_OK);
	strlcpy(d.busy, "sdb", sizeof(d.busy));
	plug_dev(&d);
	did("detach a 3:10/6: protected: disk sdb in use\n");
}

static void
who_is_not_there(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a");
	vm_up("a");
	by_hand("3:9", ATTACH, "a", 0, "the device is not plugged any more");
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	by_hand("3:9", ATTACH, "c", 0, "the policy has no machine \"c\"");
	did("");
	by_hand("3:9", ATTACH, "b", 0, "machine \"b\" is down");
	did("");
	is("3:9", "attached a: t:1");
}

/* Where it was taken out by somebody else, the policy may try again. */
static void
policy_forgets_that_it_was_dropped(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	vm_dropped("a", "3:9", 5, bed.last_request);
	is("3:9", "held: taken out of its machine by somebody else");
	by_hand("3:9", NONE, "", 0, "");
	did("attach a 3:9/5: t:1\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BED_TEST(attach_counts_instead_of_the_rules),
		BED_TEST(attach_waits_until_all_were_heard_of),
		BED_TEST(what_no_rule_passes_may_be_attached),
		BED_TEST(detach_counts_until_it_is_unplugged),
		BED_TEST(it_follows_its_machine),
		BED_TEST(not_past_hubs_and_malformed_descriptors),
		BED_TEST(past_protection_only_when_forced),
		BED_TEST(who_is_not_there),
		BED_TEST(policy_forgets_that_it_was_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
