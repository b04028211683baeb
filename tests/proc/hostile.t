#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Each process, taken over, talks to each other one (tests/acts, "flood").

What it says is made of valid messages with values of chance in an order of
chance, and now and then of what is none. Whoever gets it may end with status 1
and say why, and is started again; nobody may end by a signal, the parent not
at all, and it opens nothing that a child names but USB devices.

USBMGRD_TEST_SECONDS says how long (20), USBMGRD_TEST_SEED where to begin.
"""

import os
import re
import shutil
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import service as rig               # noqa: E402
from service import (BUILD, CHILDREN, Service, comment, equal,   # noqa: E402
                     run, test, wait_for)

SECONDS = int(os.environ.get("USBMGRD_TEST_SECONDS", "20"))
SEED = int(os.environ.get("USBMGRD_TEST_SEED", "1"))
POLICY = '''vm "a" qmp "DIR/a.qmp"
vm "b" qmp "DIR/b.qmp"
pass all to { "a" "b" }
block product 0001:*
'''
LIE = "was killed by its system call filter: "      # MSG_TRAPPED
FAIR = r"ended with status 1|broke the protocol: .*|was killed by signal 9 .*"

rig.TEST_SECONDS = 40 + SECONDS


def launch(name, seed):
    service = Service(POLICY)
    service.programs = service.path("programs")
    os.mkdir(service.programs)
    for program in "usbmgrd", "usbmgrd-monitor", "usbmgrd-qmpclient":
        shutil.copy2(BUILD + "/acts/" + program, service.programs)
    with open(service.programs + "/act", "w") as out:
        out.write("flood %d %s\n" % (seed, name))
    return service.launch()


def opened(pid):
    """What files a process has open, with sockets and the like by kind."""
    names = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            name = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except FileNotFoundError:
            continue
        names.add(re.sub(r"\[?\d+\]?$", "", name))
    return names


def has_acted(service, name):
    """Or it was ended before it could say so."""
    return any("act flood: done" in line.get("message", "")
               for line in service.log(name)) or any(
                   line["event"] == "child-died" and line["child"] == name
                   for line in service.log("usbmgrd"))


def attack(service, name):
    """The others had it, and are at work again, with a new one of it."""
    before = opened(service.process.pid)
    deaths = len([1 for line in service.log("usbmgrd")
                  if line["event"] == "child-died"])
    service.process.send_signal(signal.SIGUSR1)
    wait_for("flood of " + name, lambda: has_acted(service, name))
    wait_for("an engine that answers",
             lambda: service.ctl("show", "devices").returncode == 0, 15)
    equal(service.process.poll(), None)
    for line in service.log("usbmgrd"):
        lies = line.get("child") == name and LIE in line.get(
            "reason", "")
        if line["event"] == "child-died" and not lies and not re.fullmatch(
                FAIR, line["reason"]):
            raise AssertionError(line)
        if line["event"] in ("open-device", "release-device"):
            if not (1 <= line["busnum"] and 1 <= line["devnum"] <= 127):
                equal("error" in line, True)
    equal(opened(service.process.pid) - before, set())
    return len([1 for line in service.log("usbmgrd")
                if line["event"] == "child-died"]) - deaths


def hostile(name):
    @test("a hostile %s" % name)
    def flooded():
        end = time.monotonic() + SECONDS / len(CHILDREN)
        seed, deaths = SEED, 0
        while time.monotonic() < end:
            try:
                service = launch(name, seed)
                wait_for("start", service.has_started, 15)
                deaths += attack(service, name)
                equal(service.stop(), 0)
            except AssertionError:
                comment("USBMGRD_TEST_SEED=%d" % seed)
                raise
            seed += 1
        comment("%d floods, %d ends" % (seed - SEED, deaths))


for child in CHILDREN:
    hostile(child)
run()
