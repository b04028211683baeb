#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Too much at once, faster than a kernel with USB in a virtual machine can
make it (tests/e2e/storm.py): the kernel relays uevents, and a tree of files
stands for sysfs (tests/bench/host.py)."""

import os
import signal
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, HERE + "/../bench"]

import host                                             # noqa: E402
from service import equal, run, test, wait_for          # noqa: E402

UEVENTS = 20000
OURS = UEVENTS // 100
GROWTH = 256                # kB of a process
LEAST = 15                  # ports of a machine of plug's
ON_A_BUS = 126              # and a root hub
FLAPS = 100
MS = 10                     # in and out, 50 times a second
OVERFLOW = "uevents were lost, so all devices are read again"
WAITS = ("plugged in more than 8 times in 10 s: waits until it has stayed "
         "for 3 s")


def memory(service):
    return {name: host.pss(pid)[1]
            for name, pid in service.family().items()}


def stays_small(service, before):
    for name, size in memory(service).items():
        if size > before[name] + GROWTH:
            raise AssertionError("%s: %d kB, then %d kB"
                                 % (name, before[name], size))


def events(service, process, event):
    return [line for line in service.log(process) if line["event"] == event]


def comes_to_rest(service, plug):
    """Nothing is done any more by anybody."""
    def switches():
        return [host.switches(pid) for pid in service.family().values()]

    for _ in range(100):
        before = switches()
        plug.ask("serve", 300)
        if switches() == before:
            return
    raise AssertionError("no rest")


def after_a_storm(service, plug):
    """All that is said to be plugged gets there, and what is not leaves."""
    plug.ask("flap", 1, 50, service.process.pid)
    wait_for("the first device", lambda: [
        d["state"] for d in service.devices()] == ["attached"])
    comes_to_rest(service, plug)


@test("20,000 uevents at once, of which 200 plug something or unplug it")
def none_lost():
    service, plug = host.bring_up(host.policy(10))
    host.devices(plug, LEAST)
    # What is allocated at the first use is no growth.
    plug.ask("storm", 200 * LEAST, "power_supply", service.process.pid)
    comes_to_rest(service, plug)
    before = memory(service)
    count = len(events(service, "monitor", "device"))
    plug.ask("storm", UEVENTS, "power_supply", service.process.pid)
    comes_to_rest(service, plug)
    equal(events(service, "monitor", "overflow"), [])
    equal(len(events(service, "monitor", "device")) - count, OURS // 2)
    equal(len(events(service, "monitor", "device-gone")) - count, OURS // 2)
    equal(service.devices(), [])
    after_a_storm(service, plug)
    stays_small(service, before)
    equal(service.stop(), 0)


@test("as many of a kind that is looked at, and nobody looks: some are lost")
def overflow():
    service, plug = host.bring_up(host.policy(10))
    host.devices(plug, LEAST)
    plug.ask("storm", 200 * LEAST, "net", service.process.pid)
    comes_to_rest(service, plug)
    before = memory(service)
    os.kill(service.pids["monitor"], signal.SIGSTOP)
    for _ in range(3):
        plug.ask("storm", UEVENTS, "net", service.process.pid)
    os.kill(service.pids["monitor"], signal.SIGCONT)
    comes_to_rest(service, plug)
    equal([line["what"] for line in events(service, "monitor", "overflow")],
          [OVERFLOW])
    # That tree always has all of them.
    wait_for("all devices", lambda: len(service.devices()) == LEAST)
    after = [d["state"] for d in service.devices()]
    equal(after, ["attached"] * LEAST)
    stays_small(service, before)
    equal(service.stop(), 0)


@test("a device that comes and goes 50 times a second is given once it stays")
def flapping():
    service, plug = host.bring_up(
        host.policy(10).replace("damping off\n", ""))
    host.devices(plug, 1)
    plug.ask("flap", FLAPS, MS, service.process.pid)
    stays = time.monotonic()
    wait_for("it is known", lambda: [(d["state"], d["reason"]) for d in
                                     service.devices()] == [("held", WAITS)])
    given = len(events(service, "engine", "attach"))
    if given > 8:
        raise AssertionError("%d of %d plugs were given" % (given, FLAPS))
    plug.ask("serve", 3500)
    equal([d["state"] for d in service.devices()], ["attached"])
    equal(len(events(service, "engine", "attach")), given + 1)
    if time.monotonic() - stays < 3:
        raise AssertionError("too soon")
    comes_to_rest(service, plug)
    equal(service.stop(), 0)


@test("127 devices on a bus, in nine machines")
def full_bus():
    host.BUS_DEVICES = ON_A_BUS
    bus = host.OTHERS_FROM
    ports = ["%d:%d.%d" % (bus, 1 + i // 10, 1 + i % 10)
             for i in range(ON_A_BUS)]
    machines = ON_A_BUS // LEAST + 1
    text = host.policy(1, machines, "\n".join(
        'pass port { %s } to "vm%d"' % (
            " ".join(ports[n * LEAST:(n + 1) * LEAST]), n)
        for n in range(machines)))
    service, plug = host.bring_up(text, machines, others=ON_A_BUS)
    comes_to_rest(service, plug)
    found = service.devices()
    equal(sorted((d["device"], d["devnum"], d["state"], d["vm"])
                 for d in found),
          sorted((port, 2 + i, "attached", "vm%d" % (i // LEAST))
                 for i, port in enumerate(ports)))
    equal(service.stop(), 0)


run("-n")
