/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* Where a device belongs: rules, protection, plugging, policies replaced. */

#include "core_bed.h"

/* Rules. */

static void
rule_by_port(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	did("");
	plug("3:9", 5, MOUSE);
	did("attach a 3:9/5: t:1\n");
	is("3:9", "attaching a: t:1");
	answer("3:9", RESULT_OK);
	did("");
	is("3:9", "attached a: t:1");
	plug("3:8", 6, MOUSE);
	did("hold 3:8/6: no rule matches\n");
	is("3:8", "unassigned: no rule matches");
	plug("2:9", 6, MOUSE);
	did("hold 2:9/6: no rule matches\n");
}

static void
rule_by_product(void **state)
{
	(void)state;
	policy("a b c", "pass 046d:c077 a", "pass 045e:* b", "pass *:0001 c");
	vm_up("a");
	vm_up("b");
	vm_up("c");
	plug("1:1", 2, MOUSE);
	did("attach a 1:1/2: t:1\n");
	plug("1:2", 3, KEYBOARD);
	did("attach b 1:2/3: t:2\n");
	plug("1:3", 4, "1234:0001");
	did("attach c 1:3/4: t:3\n");
	plug("1:4", 5, "046d:c078");
	did("hold 1:4/5: no rule matches\n");
}

static void
rule_behind_a_hub(void **state)
{
	(void)state;
	policy("a", "pass 3:1.2 a");
	vm_up("a");
	plug("3:1", 2, MOUSE);
	did("hold 3:1/2: no rule matches\n");
	plug("3:1.2.1", 3, MOUSE);
	did("hold 3:1.2.1/3: no rule matches\n");
	plug("3:1.2", 4, MOUSE);
	did("attach a 3:1.2/4: t:1\n");
}

static void
last_match_wins(void **state)
{
	(void)state;
	policy("a b", "block", "pass 3:9 a", "pass 3:1.2 a", "pass 045e:0823 b",
	    "block 3:7");
	vm_up("a");
	vm_up("b");
	plug("3:9", 5, KEYBOARD);
	did("attach b 3:9/5: t:4\n");
	plug("3:1.2", 6, MOUSE);
	did("attach a 3:1.2/6: t:3\n");
	plug("3:7", 7, KEYBOARD);
	did("hold 3:7/7: blocked by t:5\n");
	is("3:7", "unassigned: blocked by t:5");
	plug("3:2", 8, MOUSE);
	did("hold 3:2/8: blocked by t:1\n");
}

/* Both conditions of a rule must hold. */
static void
rule_with_port_and_product(void **state)
{
	(void)state;
	policy("a", "pass 3:9 046d:c077 a");
	vm_up("a");
	plug("3:9", 5, KEYBOARD);
	did("hold 3:9/5: no rule matches\n");
	plug("3:8", 6, MOUSE);
	did("hold 3:8/6: no rule matches\n");
	plug("3:9", 7, MOUSE);
	did("attach a 3:9/7: t:1\n");
}

static void
nothing_is_passed_without_a_policy(void **state)
{
	(void)state;
	plug("3:9", 5, MOUSE);
	did("hold 3:9/5: no rule matches\n");
	policy("a", "pass 3:9 a");
	did("hold 3:9/5: machine \"a\" is down\n");
	is("3:9", "held: machine \"a\" is down");
}

/* What no rule may pass. */

static void
hub_is_never_passed(void **state)
{
	static const struct usbclass hub = { 9, 0, 0 };
	struct usbdev d;

	(void)state;
	policy("a", "pass 3:1 a", "pass 3:2 a");
	vm_up("a");
	d = mkdev("3:1", 2, "1d6b:0002");
	d.class = hub;
	plug_dev(&d);
	did("hold 3:1/2: hub\n");
	is("3:1", "held: hub");
	d = mkdev("3:2", 3, "1d6b:0002");
	usbdev_add_interface(&d, &hub);
	plug_dev(&d);
	did("hold 3:2/3: hub\n");
}

static void
device_in_use_by_the_host_is_protected(void **state)
{
	struct usbdev d;

	(void)state;
	policy("a", "pass 3:1 a", "pass 3:2 a", "pass 3:3 a");
	vm_up("a");
	d = mkdev("3:1", 2, MOUSE);
	strlcpy(d.netif, "eth1", sizeof(d.netif));
	plug_dev(&d);
	did("hold 3:1/2: protected: network interface eth1 of the host\n");
	is("3:1", "held: protected: network interface eth1 of the host");
	d = mkdev("3:2", 3, MOUSE);
	strlcpy(d.busy, "sdb", sizeof(d.busy));
	strlcpy(d.busy_why, "mounted", sizeof(d.busy_why));
	plug_dev(&d);
	did("hold 3:2/3: protected: disk sdb in use (mounted)\n");
	d = mkdev("3:3", 4, MOUSE);
	d.odd_descriptors = 1;
	plug_dev(&d);
	did("hold 3:3/4: malformed descriptors\n");
	is("3:3", "held: malformed descriptors");
}

static void
protection_counts_at_once(void **state)
{
	struct usbdev d = mkdev("3:2", 3, MOUSE);

	(void)state;
	policy("a", "pass 3:2 a");
	vm_up("a");
	strlcpy(d.busy, "sdb", sizeof(d.busy));
	strlcpy(d.busy_why, "swap", sizeof(d.busy_why));
	plug_dev(&d);
	did("hold 3:2/3: protected: disk sdb in use (swap)\n");
	d.busy[0] = '\0';
	plug_dev(&d);
	did("attach a 3:2/3: t:1\n");
	/* It is on its way: nothing can be done before the answer. */
	strlcpy(d.busy, "sdb", sizeof(d.busy));
	plug_dev(&d);
	did("");
	answer("3:2", RESULT_OK);
	did("detach a 3:2/3: protected: disk sdb in use (swap)\n");
	answer("3:2", RESULT_OK);
	did("hold 3:2/3: protected: disk sdb in use (swap)\n");
}

static void
hold_is_said_when_the_reason_changes(void **state)
{
	struct usbdev d = mkdev("3:2", 3, MOUSE);

	(void)state;
	policy("a", "pass 3:2 a");
	plug_dev(&d);
	did("hold 3:2/3: machine \"a\" is down\n");
	plug_dev(&d);
	did("");
	scanned();
	did("");
	passes(1000);
	did("");
	vm_is("a", VM_GREETING);
	did("hold 3:2/3: machine \"a\" is connecting\n");
	vm_is("a", VM_GREETING);
	did("");
	strlcpy(d.netif, "eth1", sizeof(d.netif));
	plug_dev(&d);
	did("hold 3:2/3: protected: network interface eth1 of the host\n");
	vm_up("a");
	did("");
	policy("a", "block");
	did("hold 3:2/3: blocked by t:1\n");
	unplug("3:2", 3);
	did("");
	plug_dev(&d);
	did("hold 3:2/3: blocked by t:1\n");
}

/* Plugging. */

static void
unplugged_device_is_taken_out(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	unplug("3:9", 5);
	did("detach a 3:9/5: device removed\n");
	is("3:9", "");
	answer("3:9", RESULT_OK);
	did("");
}

static void
replug_detaches_and_attaches(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	plug("3:9", 6, MOUSE);
	did("detach a 3:9/5: device removed\nattach a 3:9/6: t:1\n");
	answer("3:9", RESULT_OK);
	did("");
	is("3:9", "attaching a: t:1");
	answer("3:9", RESULT_OK);
	did("");
	is("3:9", "attached a: t:1");
	/* That the one before is gone is old news. */
	unplug("3:9", 5);
	did("");
	is("3:9", "attached a: t:1");
}

static void
unplug_while_attaching(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	unplug("3:9", 5);
	did("");
	answer("3:9", RESULT_OK);
	did("detach a 3:9/5: device removed\n");
	answer("3:9", RESULT_OK);
	did("");

	plug("3:9", 6, MOUSE);
	unplug("3:9", 6);
	answer("3:9", RESULT_GONE);
	did("");
	assert_int_equal(core_next(bed.core), 0);
}

static void
replug_while_attaching(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	plug("3:9", 6, MOUSE);
	did("attach a 3:9/6: t:1\n");
	answer("3:9", RESULT_OK);
	did("detach a 3:9/5: device removed\n");
	answer("3:9", RESULT_OK);
	did("");
	is("3:9", "attached a: t:1");
	answer("3:9", RESULT_OK);
	did("");
	is("3:9", "attached a: t:1");
}

static void
replug_while_detaching(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	unplug("3:9", 5);
	plug("3:9", 6, MOUSE);
	did("attach a 3:9/6: t:1\n");
	answer("3:9", RESULT_OK);
	did("");
	is("3:9", "attaching a: t:1");
}

/* It was gone and is back under its number while it is taken out. */
static void
back_while_detaching(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	unplug("3:9", 5);
	plug("3:9", 5, MOUSE);
	did("");
	answer("3:9", RESULT_OK);
	did("attach a 3:9/5: t:1\n");
}

static void
another_device_in_its_place(void **state)
{
	(void)state;
	policy("a b", "pass 046d:c077 a", "pass 045e:0823 b");
	vm_up("a");
	vm_up("b");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	plug("3:9", 6, KEYBOARD);
	did("detach a 3:9/5: device removed\nattach b 3:9/6: t:2\n");
	answer("3:9", RESULT_OK);
	answer("3:9", RESULT_OK);
	plug("3:9", 7, "1234:5678");
	did("detach b 3:9/6: device removed\nhold 3:9/7: no rule matches\n");
}

/* The same device, told again. */
static void
update_is_decided_again(void **state)
{
	(void)state;
	policy("a b", "pass 046d:c077 a", "pass 045e:0823 b");
	vm_up("a");
	vm_up("b");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	plug("3:9", 5, MOUSE);
	did("");
	plug("3:9", 5, KEYBOARD);
	did("detach a 3:9/5: t:2\n");
	is("3:9", "detaching a: t:2");
	answer("3:9", RESULT_OK);
	did("attach b 3:9/5: t:2\n");
	answer("3:9", RESULT_OK);
	plug("3:9", 5, "1234:5678");
	did("detach b 3:9/5: no rule matches\n");
	answer("3:9", RESULT_OK);
	did("hold 3:9/5: no rule matches\n");
}

/* An attach that fails was of the device as it was judged then. */
static void
update_while_attaching(void **state)
{
	struct usbdev d = mkdev("3:9", 5, MOUSE);

	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	plug_dev(&d);
	did("attach a 3:9/5: t:1\n");
	d.digest[0] ^= 1;
	plug_dev(&d);
	did("");
	answer("3:9", RESULT_CHANGED);
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_CHANGED);
	did("hold 3:9/5: not the device that was judged: why\n");
	is("3:9", "failed: not the device that was judged: why");
	assert_int_equal(core_next(bed.core), 0);
	plug_dev(&d);
	did("attach a 3:9/5: t:1\n");
}

/* Policies replaced. */

static void
new_policy_moves_devices(void **state)
{
	(void)state;
	policy("a b", "pass 3:1 a", "pass 3:2 b", "pass 3:3 a");
	vm_up("a");
	vm_up("b");
	plug("3:1", 2, MOUSE);
	plug("3:2", 3, MOUSE);
	plug("3:3", 4, MOUSE);
	plug("3:4", 5, MOUSE);
	answer("3:1", RESULT_OK);
	answer("3:2", RESULT_OK);
	answer("3:3", RESULT_OK);
	policy("b a", "pass 3:4 a", "pass 3:2 a", "pass 3:1 b");
	did("detach a 3:1/2: t:3\n"
	    "detach b 3:2/3: t:2\n"
	    "detach a 3:3/4: no rule matches\n"
	    "attach a 3:4/5: t:1\n");
	answer("3:2", RESULT_OK);
	did("attach a 3:2/3: t:2\n");
	answer("3:1", RESULT_OK);
	did("attach b 3:1/2: t:3\n");
	answer("3:3", RESULT_OK);
	did("hold 3:3/4: no rule matches\n");
}

static void
new_policy_that_says_the_same_moves_nothing(void **state)
{
	(void)state;
	policy("a b", "pass 3:1 a", "pass 3:2 b");
	vm_up("a");
	plug("3:1", 2, MOUSE);
	answer("3:1", RESULT_OK);
	plug("3:2", 3, MOUSE);
	policy("a b", "block", "pass 046d:c077 b", "pass 3:1 a");
	did("");
	is("3:1", "attached a: t:3");
	is("3:2", "held: machine \"b\" is down");
}

static void
new_policy_while_attaching(void **state)
{
	(void)state;
	policy("a b", "pass 3:1 a");
	vm_up("a");
	vm_up("b");
	plug("3:1", 2, MOUSE);
	policy("a b", "pass 3:1 b");
	did("");
	is("3:1", "attaching a: t:1");
	answer("3:1", RESULT_OK);
	did("detach a 3:1/2: t:1\n");
	answer("3:1", RESULT_OK);
	did("attach b 3:1/2: t:1\n");
	/* What machine a says is no reason not to go to b. */
	policy("a b", "pass 3:1 a");
	answer("3:1", RESULT_NO_CONTROLLER);
	did("attach a 3:1/2: t:1\n");
	policy("a b", "block");
	answer("3:1", RESULT_OTHER);
	did("hold 3:1/2: blocked by t:1\n");
	assert_int_equal(core_next(bed.core), 0);
}

static void
new_policy_while_detaching(void **state)
{
	(void)state;
	policy("a b", "pass 3:1 a");
	vm_up("a");
	vm_up("b");
	plug("3:1", 2, MOUSE);
	answer("3:1", RESULT_OK);
	policy("a b", "block");
	did("detach a 3:1/2: blocked by t:1\n");
	policy("a b", "pass 3:1 a");
	did("");
	answer("3:1", RESULT_OK);
	did("attach a 3:1/2: t:1\n");
}

static void
note_vm(const struct ctl_vm *vm, void *arg)
{
	char *names = arg;

	strlcat(names, vm->name, 16);
}

static void
machine_leaves_the_policy(void **state)
{
	char names[16] = "";

	(void)state;
	policy("a b", "pass 3:1 a");
	vm_up("a");
	plug("3:1", 2, MOUSE);
	answer("3:1", RESULT_OK);
	policy("c b", "block");
	did("detach a 3:1/2: blocked by t:1\n");
	answer("3:1", RESULT_OK);
	core_vms(bed.core, note_vm, names);
	assert_string_equal(names, "cb");
}

/* Actions of one event: by type, then by bus and port. */
static void
actions_are_in_order(void **state)
{
	(void)state;
	policy("a b", "pass *:1111 a", "pass *:2222 b", "pass *:3333 b");
	vm_up("a");
	vm_up("b");
	plug("3:10", 2, "0001:1111");
	plug("3:1.10", 3, "0001:1111");
	plug("3:1.9", 4, "0001:1111");
	plug("3:2", 5, "0001:2222");
	plug("2:2", 6, "0001:2222");
	plug("10:1", 7, "0001:4444");
	plug("3:1", 8, "0001:4444");
	plug("2:7", 9, "0001:5555");
	answer_all(RESULT_OK);
	policy("a b", "pass *:4444 a", "block *:5555");
	did("detach b 2:2/6: no rule matches\n"
	    "detach a 3:1.9/4: no rule matches\n"
	    "detach a 3:1.10/3: no rule matches\n"
	    "detach b 3:2/5: no rule matches\n"
	    "detach a 3:10/2: no rule matches\n"
	    "attach a 3:1/8: t:1\n"
	    "attach a 10:1/7: t:1\n"
	    "hold 2:7/9: blocked by t:2\n");
}

/* What an attach tells the QMP client. */
static void
attach_carries_what_was_judged(void **state)
{
	struct usbdev d = mkdev("3:1.2", 5, MOUSE);
	struct core_event ev = { .type = EV_DEVICE, .u.device = &d };
	const struct core_action *a;
	size_t n;

	(void)state;
	policy("a", "pass 3:1.2 a");
	vm_up("a");
	d.uevent = 4711;
	d.speed = USB_SPEED_SUPER;
	a = core_event(bed.core, &ev, &n);
	assert_int_equal(n, 1);
	assert_int_equal(a->type, ACT_ATTACH);
	assert_int_equal(a->vm, 1);
	assert_int_equal(a->handover, HANDOVER_FD);
	assert_int_equal(a->devnum, 5);
	assert_int_equal(a->vendor, 0x046d);
	assert_int_equal(a->product, 0xc077);
	assert_int_equal(a->speed, USB_SPEED_SUPER);
	assert_int_equal(a->uevent, 4711);
	assert_memory_equal(a->digest, d.digest, sizeof(d.digest));
	assert_string_equal(a->id, "usbmgrd-3-1.2-5-1");
	assert_int_equal(look("3:1.2").device.request, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BED_TEST(rule_by_port),
		BED_TEST(rule_by_product),
		BED_TEST(rule_behind_a_hub),
		BED_TEST(last_match_wins),
		BED_TEST(rule_with_port_and_product),
		BED_TEST(nothing_is_passed_without_a_policy),
		BED_TEST(hub_is_never_passed),
		BED_TEST(device_in_use_by_the_host_is_protected),
		BED_TEST(protection_counts_at_once),
		BED_TEST(hold_is_said_when_the_reason_changes),
		BED_TEST(unplugged_device_is_taken_out),
		BED_TEST(replug_detaches_and_attaches),
		BED_TEST(unplug_while_attaching),
		BED_TEST(replug_while_attaching),
		BED_TEST(replug_while_detaching),
		BED_TEST(back_while_detaching),
		BED_TEST(another_device_in_its_place),
		BED_TEST(update_is_decided_again),
		BED_TEST(update_while_attaching),
		BED_TEST(new_policy_moves_devices),
		BED_TEST(new_policy_that_says_the_same_moves_nothing),
		BED_TEST(new_policy_while_attaching),
		BED_TEST(new_policy_while_detaching),
		BED_TEST(machine_leaves_the_policy),
		BED_TEST(actions_are_in_order),
		BED_TEST(attach_carries_what_was_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
