#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Children that do not start, that die, and that break the protocol (evil.c).

Whatever they do, usbmgrd says in one line on stderr who did what. During the
start it then ends with status 1; later it starts again the one that ended.
Neither a process nor the control socket is left.
"""

import os
import re
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (BUILD, Service, equal, run,    # noqa: E402
                     test, wait_for)

PROGRAMS = {"monitor": "usbmgrd-monitor", "qmpclient": "usbmgrd-qmpclient"}
QMPCLIENT_BROKE = r"qmpclient( \(pid \d+\))? broke the protocol: "
POLICY = 'vm "a" qmp "DIR/a.qmp"\npass all to "a"\n'

# What evil.c does, and what the one who suffers from it says.
TO_PARENT = {
    "parent-garbage": "Numerical result out of range",
    "parent-unknown": "message 4711: no such message",
    "parent-direction": "MSG_START: not a message of this sender",
    "parent-size": "MSG_READY: wrong size",
    "parent-descriptor": "MSG_READY: with a descriptor",
    "parent-ready-twice": "ready twice",
    "parent-not-mine": "MSG_OPEN_DEVICE: not a message of this sender",
}
TO_ENGINE = {
    "sibling-garbage": "broke the protocol: Numerical result out of range",
    "sibling-direction":
        "broke the protocol: MSG_ATTACH: not a message of this sender",
}
MONITOR_TO_ENGINE = {
    "monitor-not-mine":
        "broke the protocol: MSG_RESULT: not a message of this sender",
    "monitor-size": "broke the protocol: MSG_DEVICE: wrong size",
    "monitor-descriptor": "broke the protocol: MSG_DEVICE: with a descriptor",
    "monitor-port": "sent a device whose port is wrong",
    "monitor-string": "sent a device whose serial is wrong",
    "monitor-devnum": "sent a device whose devnum is wrong",
    "monitor-gone": "sent a device whose port is wrong",
    "monitor-scan-twice": "broke the protocol: second MSG_SCAN_DONE",
}
QMPCLIENT_TO_ENGINE = {
    "qmp-result": "answered what it was not asked",
    "qmp-state": "sent a machine's state that is wrong",
    "qmp-string": "sent a machine's state that is wrong",
    "qmp-has": "sent a machine's device that is wrong",
}


def evil(child, fault):
    service = Service(POLICY)
    service.replace_program(PROGRAMS[child], BUILD + "/evil")
    with open(service.programs + "/fault", "w") as out:
        out.write(fault)
    return service


def about_children(service):
    return [line for line in service.stderr().splitlines()
            if re.search("broke|ended with|killed|sent|answered|not ready|"
                         "cannot run", line)]


def compare(lines, patterns):
    equal(len(lines), len(patterns))
    for line, pattern in zip(lines, patterns):
        if not re.fullmatch("usbmgrd: " + pattern, line):
            raise AssertionError("got %r, want %r" % (line, pattern))


def fails(service, *patterns, seconds=5):
    """It ends, and about its children it says just this on stderr."""
    equal(service.end(seconds), 1)
    compare(about_children(service), patterns)


def suffers(service, *patterns):
    """It says this first; when it has started by then it lives on."""
    wait_for("%d lines on stderr" % len(patterns),
             lambda: len(about_children(service)) >= len(patterns))
    compare(about_children(service)[:len(patterns)],
            [pattern + "(: it is started again)?" for pattern in patterns])
    if "it is started again" in service.stderr():
        wait_for("start", service.has_started)
        wait_for("an engine that answers",
                 lambda: service.ctl("show", "vms").returncode == 0)
        equal(service.stop(), 0)
    else:
        equal(service.end(), 1)


def add(child, fault, *patterns, check=suffers):
    @test("%s: %s" % (child, fault))
    def commit():
        check(evil(child, fault).launch(), *patterns)


for child in PROGRAMS:
    add(child, "die", r"%s \(pid \d+\) ended with status 7 before it was ready"
        % child, check=fails)
    add(child, "filter", r"%s \(pid \d+\) was killed by its system call filter"
        % child)
    add(child, "close", r"%s \(pid \d+\) was killed by signal 9 \(Killed\)"
        % child)
    for fault, what in TO_PARENT.items():
        add(child, fault, r"%s( \(pid \d+\))? broke the protocol: %s"
            % (child, what))
    own = MONITOR_TO_ENGINE if child == "monitor" else QMPCLIENT_TO_ENGINE
    for fault, what in {**TO_ENGINE, **own}.items():
        add(child, fault, "engine: %s %s" % (child, re.escape(what)),
            r"engine \(pid \d+\) ended with status 1( before it was ready)?")
add("qmpclient", "qmp-lost", QMPCLIENT_BROKE + "lost a connection that there "
    "was not")
add("qmpclient", "qmp-release", QMPCLIENT_BROKE + "released a connection "
    "that there was not")
add("qmpclient", "qmp-want", QMPCLIENT_BROKE + "wants a connection to a "
    "machine it did not release")


@test("a monitor that keeps to the rules is believed")
def good():
    service = evil("monitor", "monitor-good").launch()
    wait_for("start", service.has_started)
    wait_for("the device", lambda: "3:9" in service.ctl("show", "devices")
             .stdout)
    equal(service.stop(), 0)


@test("a program is missing")
def missing():
    service = Service()
    service.replace_program("usbmgrd-monitor", None)
    path = re.escape(service.programs)
    fails(service.launch(),
          "cannot run %s/usbmgrd-monitor: No such file or directory" % path,
          r"monitor \(pid \d+\) ended with status 127 before it was ready")


def does_not_end():
    service = Service(POLICY).start()
    os.kill(service.pids["engine"], signal.SIGSTOP)
    service.process.terminate()
    equal(service.end(10), 0)
    equal([line["message"] for line in service.log("usbmgrd")
           if line["event"] == "log"][2:],
          ["engine (pid %d) does not end: killed" % service.pids["engine"],
           "engine (pid %d) was killed by signal 9 (Killed)"
           % service.pids["engine"],
           "ended; devices stay in their machines"])


@test("a child that hangs in the start ends it after 10 seconds, and one "
      "that does not end is killed")
def hangs():
    since = time.monotonic()
    services = {child: evil(child, "hang").launch() for child in PROGRAMS}
    does_not_end()
    time.sleep(max(0, since + 9 - time.monotonic()))
    for service in services.values():
        equal(service.process.poll(), None)
    for child, service in services.items():
        fails(service, r"%s \(pid \d+\) was not ready in 10 seconds" % child,
              r"%s \(pid \d+\) does not end: killed" % child,
              r"%s \(pid \d+\) was killed by signal 9 \(Killed\)" % child,
              seconds=10)
    # They are killed 5 seconds after their channel was closed.
    equal(time.monotonic() - since >= 15, True)


run()
