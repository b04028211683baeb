#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Machines that come late, go, or are no QEMU (qmp_peer.py), beside a real
QEMU that must not notice any of it."""

import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (HERE, Service, equal, run, start,        # noqa: E402
                     status_of, test, wait_for)

QEMU = """qemu-system-x86_64 -machine q35 -nodefaults -display none -S
    -device qemu-xhci,id=xhci""".split()
READY = r"QEMU \d+\.\d+\.\d+, handover fd"
ABSENT = "No such file or directory"
MEMORY = 16 * 1024          # kB that the QMP client may need

# Machine: when, fault (see there), and the reason of its loss.
FAULTY = {
    "garbage": ("greeting", "garbage",
                "sent something that is not QMP at byte 0: .*"),
    "later": ("idle", "garbage",
              r"sent something that is not QMP at byte \d+: .*"),
    "endless": ("greeting", "endless",
                r"sent \d+ bytes without the end of a line, up to byte \d+"),
    "endless-later": ("idle", "endless",
                      r"sent \d+ bytes without the end of a line, up to "
                      r"byte \d+"),
    "deep": ("qom-list", "deep",
             r"sent something that is not QMP at byte \d+: .*"),
    "unasked": ("idle", "no-id",
                "sent an answer to a question that was not asked"),
    "cut-off": ("qmp_capabilities", "half-close",
                r"closed in the middle of a message, at byte \d+"),
    "refuses": ("qmp_capabilities", "hostile-error",
                r"refused to negotiate: .*"),
}
CLOSES = {
    "closes": ("qmp_capabilities", "close", "closed by QEMU"),
}
SLOW = {
    "silent": ("greeting", "silence", "no greeting in 10 s"),
    "mute": ("qmp_capabilities", "silence",
             "no reply to qmp_capabilities in 10 s"),
    "half": ("idle", "half", "half a message and no more of it in 10 s"),
}
GREETING = ("silent", "mute")


def machines(*names):
    return "".join('vm "%s" qmp "DIR/%s.qmp"\n' % (name, name)
                   for name in names)


def qemu(service, name):
    """Starts a real one. Returns once it listens."""
    path = service.path(name + ".qmp")
    process = start(QEMU + ["-qmp", "unix:%s,server=on,wait=off" % path],
                    stderr=subprocess.DEVNULL)
    wait_for("socket of QEMU", lambda: os.path.exists(path), 15)
    return process


def peer(service, name, when, fault):
    return start([HERE + "/qmp_peer.py", service.path(name + ".qmp"), when,
                  fault], stdout=subprocess.DEVNULL)


def becomes(service, name, state, reason, seconds=5):
    def is_so():
        now = service.machines()[name]
        return now[0] == state and re.fullmatch(reason, now[1], re.DOTALL)
    try:
        wait_for("%s is %s: %s" % (name, state, reason), is_so, seconds)
    except AssertionError as error:
        raise AssertionError("%s, but: %s: %s"
                             % (error, *service.machines()[name])) from None


def states(service, name):
    """All that it ever was, as the QMP client's log has it."""
    return [(line["state"], line["reason"])
            for line in service.log("qmpclient")
            if line["event"] == "vm" and line["vm"] == name]


def memory(service, key):
    return int(status_of(service.pids["qmpclient"], key)[0])


@test("more machines than a process usually has descriptors")
def many():
    names = ["m%d" % number for number in range(60)]
    service = Service(machines(*names))
    with contextlib.ExitStack() as stack:
        for name in names:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(service.path(name + ".qmp"))
            listener.listen()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        try:
            service.launch()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        tries = wait_for("tries", lambda: len(
            [line for line in service.log("usbmgrd")
             if line["event"] == "open-qmp"]) >= len(names) and
            service.log("usbmgrd"))
    equal([line for line in tries if "error" in line], [])
    equal(service.stop(), 0)


@test("a machine is ready soon after its socket appears")
def late():
    service = Service(machines("a")).start()
    equal(service.machines(), {"a": ("absent", ABSENT)})
    qemu(service, "a")
    since = time.monotonic()
    becomes(service, "a", "ready", READY)
    # By inotify: it was not there to be found by the slower tries.
    equal(time.monotonic() - since < 1, True)


@test("a machine that ends is absent, the next one in its place is ready")
def again():
    service = Service(machines("a")).start()
    for _ in range(3):
        process = qemu(service, "a")
        becomes(service, "a", "ready", READY)
        process.kill()
        process.wait()
        # What it left is a socket that nobody serves.
        becomes(service, "a", "absent", "Connection refused")
    os.unlink(service.path("a.qmp"))
    process = qemu(service, "a")
    becomes(service, "a", "ready", READY)
    process.terminate()     # then it removes its socket
    becomes(service, "a", "absent", ABSENT)
    service.is_well()


@test("directories of the path appear one after the other, and go")
def directories():
    service = Service('vm "a" qmp "DIR/one/two/a.qmp"\n').start()
    becomes(service, "a", "absent", ABSENT)
    for _ in range(2):
        os.mkdir(service.path("one"))
        time.sleep(0.05)
        os.mkdir(service.path("one/two"))
        process = qemu(service, "one/two/a")
        becomes(service, "a", "ready", READY)
        process.terminate()
        process.wait()
        becomes(service, "a", "absent", ABSENT)
        os.rmdir(service.path("one/two"))
        os.rmdir(service.path("one"))
    os.makedirs(service.path("elsewhere/two"))
    process = qemu(service, "elsewhere/two/a")
    os.rename(service.path("elsewhere"), service.path("one"))
    becomes(service, "a", "ready", READY)


@test("what is in the place of the socket is told")
def odd_files():
    service = Service(machines("file", "link", "stale"))
    open(service.path("file.qmp"), "w").close()
    os.symlink("file.qmp", service.path("link.qmp"))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(service.path("stale.qmp"))
    service.start()
    becomes(service, "file", "absent", "Socket operation on non-socket")
    becomes(service, "link", "absent", "Too many levels of symbolic links")
    becomes(service, "stale", "absent", "Connection refused")
    for name in "file", "link", "stale":
        os.unlink(service.path(name + ".qmp"))
        qemu(service, name)
        becomes(service, name, "ready", READY)


@test("a machine that is taken by somebody else is tried again")
def taken():
    service = Service(machines("a"))
    qemu(service, "a")
    other = socket.socket(socket.AF_UNIX)
    wait_for("QEMU", lambda: other.connect_ex(service.path("a.qmp")) == 0)
    equal(other.recv(8), b'{"QMP": ')
    service.start()
    becomes(service, "a", "greeting", "connected, no greeting yet")
    other.close()
    becomes(service, "a", "ready", READY)


@test("a machine whose queue of clients is full is tried until it is not")
def full():
    service = Service(machines("a"))
    qemu(service, "a")
    others = [socket.socket(socket.AF_UNIX)]
    wait_for("QEMU", lambda: others[0].connect_ex(service.path("a.qmp")) == 0)
    equal(others[0].recv(8), b'{"QMP": ')
    with contextlib.suppress(BlockingIOError):
        while True:
            others.append(socket.socket(socket.AF_UNIX))
            others[-1].setblocking(False)
            others[-1].connect(service.path("a.qmp"))
    service.start()
    becomes(service, "a", "connecting", "others wait at its QMP socket")
    for other in others:
        other.close()
    becomes(service, "a", "ready", READY)


@test("machines that are no QEMU are lost with a reason, real ones stay")
def faulty():
    service = Service(machines("real", *FAULTY, *CLOSES, *SLOW))
    qemu(service, "real")
    service.start()
    becomes(service, "real", "ready", READY)
    before = memory(service, "VmRSS")
    peers = [peer(service, name, when, fault) for name, (when, fault, _)
             in {**FAULTY, **CLOSES, **SLOW}.items()]
    for name, (_, _, reason) in FAULTY.items():
        becomes(service, name, "lost", reason)
    for name in GREETING:
        equal(service.machines()[name],
              ("greeting", "connected, no greeting yet"))
    shown = service.ctl("show", "vms").stdout.replace("\n", "")
    equal([c for c in shown if ord(c) < 32], [])
    # Meanwhile the others are tried again and again.
    for name, (_, _, reason) in SLOW.items():
        becomes(service, name, "lost", reason, 15)
    equal(memory(service, "VmHWM") - before < MEMORY, True)
    equal(service.machines()["real"][0], "ready")
    equal([state for state, reason in states(service, "real")],
          ["greeting", "ready"])
    # Its loss is soon followed by the next try.
    wait_for("a loss", lambda: ("lost", "closed by QEMU") in
             states(service, "closes"))
    for process in peers:
        process.kill()
        process.wait()
    service.is_well()
    equal(service.stop(), 0)


@test("a machine that floods does not keep a real one waiting")
def flood():
    service = Service(machines("real", "flood"))
    peer(service, "flood", "idle", "flood")
    service.start()
    becomes(service, "flood", "ready", r"QEMU 7\.2\.99, handover fd")
    wait_for("load", lambda: service.ctl("show", "vms").returncode == 0)
    time.sleep(0.5)
    for _ in range(3):
        process = qemu(service, "real")
        becomes(service, "real", "ready", READY, 2)
        process.kill()
        process.wait()
        becomes(service, "real", "absent", "Connection refused")
        os.unlink(service.path("real.qmp"))
    equal(memory(service, "VmHWM") < 64 * 1024, True)
    equal(service.stop(), 0)


@test("a machine lives on when the service ends and is found again")
def restart():
    service = Service(machines("a"))
    process = qemu(service, "a")
    for _ in range(2):
        service.start()
        becomes(service, "a", "ready", READY)
        equal(service.stop(), 0)
        os.rename(service.logs, service.path("log.%f" % time.monotonic()))
    equal(process.poll(), None)


@test("when nothing happens no process wakes up")
def idle():
    service = Service(machines("real", "absent", "stale"))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(service.path("stale.qmp"))
    qemu(service, "real")
    service.start()
    becomes(service, "real", "ready", READY)
    becomes(service, "stale", "absent", "Connection refused")
    time.sleep(3)           # for the tries that follow the start
    pids = {"usbmgrd": service.process.pid, **service.pids}
    # The kernel may really have something to say to the monitor.
    for _ in range(3):
        before = switches(pids)
        time.sleep(3)
        after = switches(pids)
        if before == after:
            return
    equal(after, before)


def switches(pids):
    return {name: int(status_of(pid, "voluntary_ctxt_switches")[0])
            for name, pid in pids.items()}


run()
