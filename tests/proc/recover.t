#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Processes that die while all work: one takes the place of each, and neither
the machines nor their devices notice.

A real QEMU is given a device under a name of ours that waits for a device
that never comes; a stand-in for the monitor (evil.c, "monitor-keeps") says
that it is plugged. So it is adopted without any USB.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (BUILD, CHILDREN, Service, equal, is_alive,  # noqa: E402
                     matches, run, start, started, status_of, test, wait_for)

DEVICE = "usbmgrd-3-9-22-7"
QEMU = """qemu-system-x86_64 -machine q35 -nodefaults -display none -S
    -device qemu-xhci,id=xhci -trace handle_qmp_command""".split()
HANDOVER = "add-fd", "device_add", "device_del", "remove-fd"
DEATHS = 10                 # usbmgrd/restart.h
POLICY = """vm "a" qmp "DIR/a.qmp"
vm "b" qmp "DIR/b.qmp" monitor shared
vm "c" qmp "DIR/c.qmp"
pass port 3:9 to { "a" "b" }
"""
HOW = {signal.SIGKILL: r"was killed by signal 9 \(Killed\)",
       signal.SIGSEGV: r"was killed by signal 11 \(Segmentation fault\)",
       signal.SIGSYS: "was killed by its system call filter"}


def qemu(service, name, *options):
    path = service.path(name + ".qmp")
    process = start(QEMU + ["-D", service.path(name + ".trace"), "-qmp",
                            "unix:%s,server=on,wait=off" % path, *options],
                    stderr=subprocess.DEVNULL)
    wait_for("socket of QEMU", lambda: os.path.exists(path), 15)
    return process


def commands(service, name):
    """What QEMU was told to do with devices."""
    text = open(service.path(name + ".trace"), errors="replace").read()
    found = re.findall(r'"execute": "([\w-]+)"', text)
    equal("qom-list" in found, True)
    return [word for word in found if word in HANDOVER]


def standin(service, fault="monitor-keeps", program="usbmgrd-monitor"):
    service.replace_program(program, BUILD + "/evil")
    with open(service.programs + "/fault", "w") as out:
        out.write(fault)
    return service


def with_device(rules=""):
    """Machines a and b run; a has the device, c is absent."""
    service = standin(Service(POLICY + rules))
    qemu(service, "a", "-device",
         "usb-host,vendorid=0xfff0,id=%s,port=2" % DEVICE)
    qemu(service, "b")
    service.start()
    is_as_before(service)
    return service


def device(service):
    return [(d["device"], d["state"], d["vm"]) for d in service.devices()]


def is_as_before(service):
    wait_for("machines are ready", lambda: answers(service) and
             [state for state, _ in service.machines().values()] ==
             ["ready", "ready", "absent"])
    wait_for("the device is attached", lambda: device(service) ==
             [("3:9", "attached", "a")])
    equal(service.machines()["c"], ("absent", "No such file or directory"))


def promises(service, child):
    for process in json.loads(service.ctl("show", "processes", "-j").stdout):
        if process["process"] == child:
            return process["promises"]
    return None


def answers(service):
    return service.ctl("show", "vms").returncode == 0


def kill(service, child, signo=signal.SIGKILL):
    """Returns when there is another one in its place, at work."""
    old = service.pids[child]
    count = len(restarts(service, child))
    os.kill(old, signo)
    wait_for("another %s" % child,
             lambda: len(restarts(service, child)) > count)
    wait_for("its name", lambda: child in service.children())
    pids = service.children()
    equal(pids[child] != old, True)
    equal({**service.pids, child: pids[child]}, pids)
    service.pids = pids
    return old


def restarts(service, child, event="child-restarted"):
    return [line for line in service.log("usbmgrd")
            if line["event"] == event and line["child"] == child]


def about(service, child):
    return [line for line in service.stderr().splitlines()
            if line.startswith("usbmgrd: %s " % child)]


@test("a child that is killed is started again, the others stay")
def killed():
    service = with_device()
    for child in CHILDREN:
        for count, (signo, how) in enumerate(HOW.items(), 1):
            pid = kill(service, child, signo)
            matches(about(service, child)[-1],
                    r"usbmgrd: %s \(pid %d\) %s: it is started again"
                    % (child, pid, how))
            died = restarts(service, child, "child-died")[-1]
            equal((died["pid"], died["restarts"]), (pid, count - 1))
            matches(died["reason"], how)
            again = restarts(service, child)[-1]
            equal((again["pid"], again["restarts"]),
                  (service.pids[child], count))
            is_as_before(service)
    equal(commands(service, "a") + commands(service, "b"), [])
    service.is_well()
    equal(service.stop(), 0)
    equal(len(service.stderr().splitlines()), 1 + 3 * len(CHILDREN))


@test("the next engine knows its machines before it hears of them")
def long_policy():
    """Its policy takes longer than what the QMP client has to say."""
    service = with_device("block class audio\n" * 5000)
    kill(service, "engine")
    is_as_before(service)
    equal(commands(service, "a") + commands(service, "b"), [])
    equal(service.stop(), 0)


@test("a machine that leaves the policy while the engine dies")
def leaves_meanwhile():
    """It gives its device back all the same, and only then others may."""
    service = with_device()
    os.kill(started[0].pid, signal.SIGSTOP)
    os.mkdir(service.path("before"))
    before = shutil.copy(service.conf, service.path("before"))
    text = open(service.conf).read().replace('{ "a" "b" }', '"b"')
    with open(service.conf, "w") as out:
        out.write("".join(line for line in text.splitlines(True)
                          if not line.startswith('vm "a"')))
    equal(service.ctl("reload").returncode, 0)
    kill(service, "engine")
    wait_for("the device", lambda: answers(service) and
             [state for _, state, _ in device(service)] == ["held"])
    equal([d["reason"] for d in service.devices()],
          ['machine "a" has not answered yet whether it has it'])
    equal((commands(service, "a"), commands(service, "b")), ([], []))
    os.kill(started[0].pid, signal.SIGCONT)
    wait_for("it is given back", lambda: "device_del" in
             commands(service, "a"))
    wait_for("it is to go to the other", lambda: [
        line["vm"] for line in service.log("engine")
        if line["event"] == "attach"] == ["b"])
    wait_for("machine a is gone", lambda: "a" not in service.machines())
    equal(service.stop(), 0)
    replayed = service.ctl("replay", "-f", before, "-f", service.conf,
                           service.logs + "/engine.log")
    equal((replayed.returncode, replayed.stderr), (0, ""))


@test("an id that a machine makes up does not end the engine")
def made_up():
    for number in (1 << 31) - 2, (1 << 30) - 1, (1 << 30) - 2:
        service = standin(Service(POLICY))
        qemu(service, "a", "-device",
             "usb-host,vendorid=0xfff0,id=usbmgrd-3-8-21-%d,port=2" % number)
        service.start()
        wait_for("a request", lambda: any(
            line["event"] == "open-device" for line in service.log("usbmgrd")))
        service.is_well()
        equal(service.stop(), 0)


@test("children that are killed at the same time")
def killed_together():
    service = with_device()
    for some in (CHILDREN, CHILDREN[:2], CHILDREN[1:], CHILDREN[::2]):
        counts = [len(restarts(service, child)) for child in some]
        for child in some:
            os.kill(service.pids[child], signal.SIGKILL)
        wait_for("others", lambda: all(
            len(restarts(service, child)) > count
            for child, count in zip(some, counts)))
        is_as_before(service)
        service.pids = service.children()
    equal(commands(service, "a") + commands(service, "b"), [])
    equal(service.stop(), 0)


@test("a QMP client that has machines before it has an engine")
def engine_later():
    service = with_device()
    for _ in range(4):
        kill(service, "engine")
    os.kill(service.pids["engine"], signal.SIGKILL)
    wait_for("its end", lambda: "engine" not in service.children())
    del service.pids["engine"]
    kill(service, "qmpclient")
    equal(sorted(service.children()), ["monitor", "qmpclient"])
    is_as_before(service)
    equal(commands(service, "a"), [])


@test("a machine that ends or starts while the QMP client is dead")
def machine_meanwhile():
    service = with_device()
    # So that there is a while.
    for _ in range(3):
        kill(service, "qmpclient")
    is_as_before(service)
    os.kill(service.pids["qmpclient"], signal.SIGKILL)
    wait_for("its end", lambda: "qmpclient" not in service.children())
    started[0].kill()
    qemu(service, "c")
    equal(answers(service), True)
    wait_for("what is there", lambda: [
        state for state, _ in service.machines().values()] ==
        ["absent", "ready", "ready"])
    os.unlink(service.path("a.qmp"))
    qemu(service, "a")
    wait_for("machine a", lambda: service.machines()["a"][0] == "ready")


@test("a client that comes while the engine is dead is served by the next")
def client_waits():
    service = Service(POLICY).start()
    for _ in range(3):
        kill(service, "engine")
    os.kill(service.pids["engine"], signal.SIGKILL)
    wait_for("its end", lambda: "engine" not in service.children())
    equal(answers(service), True)
    equal(service.stop(), 0)


def takes(pid, signo):
    """A process that has just begun would die of it."""
    try:
        masks = [int(status_of(pid, key)[0], 16) for key in
                 ("SigBlk", "SigCgt")]
    except FileNotFoundError:
        return False
    return any(mask >> signo - 1 & 1 for mask in masks)


@test("under load: devices, clients and machines that come and go")
def load():
    service = standin(Service("damping off\n" + POLICY), "monitor-plugs")
    for name in "a", "b":
        qemu(service, name)
    service.start()
    end = time.monotonic() + 12
    step = 0
    while time.monotonic() < end:
        step += 1
        with open(os.devnull, "w") as out:
            start([BUILD + "/usbmgrctl", "-s", service.socket, "show",
                   "devices"], stdout=out, stderr=out)
        pids = service.children()
        if "monitor" in pids and takes(pids["monitor"], signal.SIGUSR1):
            os.kill(pids["monitor"], signal.SIGUSR1)
        if step % 40 == 0:
            child = CHILDREN[step // 40 % len(CHILDREN)]
            if child in pids:
                os.kill(pids[child], signal.SIGKILL)
        time.sleep(0.02)
    wait_for("machines are ready", lambda: answers(service) and
             [state for state, _ in service.machines().values()] ==
             ["ready", "ready", "absent"])
    # No process was ended for what another one said.
    died = {line["reason"] for line in service.log("usbmgrd")
            if line["event"] == "child-died"}
    equal(died, {"was killed by signal 9 (Killed)"})
    equal(service.stop(), 0)


PLEDGES = {"engine": "stdio control", "monitor": "stdio uevent",
           "qmpclient": "stdio qmp"}


def rewrite(service, *children):
    """The policy file, with fewer promises for these."""
    with open(service.conf) as file:
        text = [line for line in file if not line.startswith("process")]
    with open(service.path("new.conf"), "w") as file:
        file.write("".join(text + [
            'process %s pledge "%s"\n' % (child, PLEDGES[child])
            for child in children]))
    os.rename(service.path("new.conf"), service.conf)


def renewals(service, child):
    return [line for line in restarts(service, child)
            if line.get("reason") == "other promises in the policy"]


@test("other promises at a reload: others in their place, devices stay")
def other_promises():
    service = with_device()
    usual = {child: promises(service, child) for child in CHILDREN}
    number = dict.fromkeys(CHILDREN, 0)
    for some in [[child] for child in CHILDREN] + [CHILDREN, CHILDREN, []]:
        rewrite(service, *some)
        changed = [child for child in CHILDREN if promises(service, child) !=
                   (PLEDGES[child] if child in some else usual[child])]
        result = service.ctl("reload")
        equal((result.returncode, "engine has other promises" in
               result.stderr), (0, "engine" in changed))
        for child in changed:
            number[child] += 1
        wait_for("others", lambda: {child: len(renewals(service, child))
                                    for child in CHILDREN} == number)
        is_as_before(service)
        pids = service.children()
        equal([child for child in CHILDREN
               if pids[child] != service.pids[child]], changed)
        service.pids = pids
        for child in CHILDREN:
            equal(promises(service, child), PLEDGES[child]
                  if child in some else usual[child])
    equal(number, {"engine": 4, "monitor": 4, "qmpclient": 2})
    equal([restarts(service, child, "child-died") for child in CHILDREN],
          [[]] * 3)
    equal(commands(service, "a") + commands(service, "b"), [])
    equal(service.stop(), 0)
    equal(len(service.stderr().splitlines()), 1)


@test("a child that hangs when it is to have other promises")
def hangs_then():
    service = Service(POLICY).start()
    rewrite(service, "qmpclient")
    os.kill(service.pids["qmpclient"], signal.SIGSTOP)
    equal(service.ctl("reload").returncode, 0)
    wait_for("another one", lambda: renewals(service, "qmpclient"), 8)
    equal(promises(service, "qmpclient"), PLEDGES["qmpclient"])
    equal(service.stop(), 0)


@test("another reload while a child gets other promises")
def reload_meanwhile():
    service = with_device()
    for number in range(20):
        rewrite(service, *CHILDREN[number % 4:])
        service.process.send_signal(signal.SIGHUP)
        time.sleep(0.005 * (number % 5))
    rewrite(service, "qmpclient")
    service.process.send_signal(signal.SIGHUP)
    want = {"engine": "stdio recvfd control", "monitor": "stdio rpath uevent",
            "qmpclient": "stdio qmp"}
    wait_for("the last promises", lambda: answers(service) and
             {child: promises(service, child) for child in CHILDREN} == want)
    is_as_before(service)
    equal([restarts(service, child, "child-died") for child in CHILDREN],
          [[]] * 3)
    equal(commands(service, "a") + commands(service, "b"), [])
    equal(service.stop(), 0)


@test("other promises for a child that is dead come with the next one")
def promises_meanwhile():
    for child in CHILDREN:
        service = Service(POLICY).start()
        for _ in range(3):
            kill(service, child)
        os.kill(service.pids[child], signal.SIGKILL)
        wait_for("its end", lambda: child not in service.children())
        rewrite(service, "qmpclient" if child == "monitor" else child)
        service.process.send_signal(signal.SIGHUP)
        wait_for("another one", lambda: len(restarts(service, child)) == 4)
        if child == "monitor":
            wait_for("the other", lambda: renewals(service, "qmpclient"))
        else:
            equal(renewals(service, child), [])
        equal(service.stop(), 0)


def descriptors(pid):
    return sorted(re.sub(r"\d+", "N", os.readlink("/proc/%d/fd/%s" % (pid, fd)))
                  for fd in os.listdir("/proc/%d/fd" % pid))


@test("nothing is left of 21 that died")
def leak():
    service = with_device()
    family = {"usbmgrd": service.process.pid, **service.family()}
    time.sleep(1)           # the shared machine is let go by then
    before = {name: descriptors(pid) for name, pid in family.items()}
    for _ in range(7):
        for child in CHILDREN:
            kill(service, child)
        is_as_before(service)
    family.update(service.family())
    def after():
        return {name: descriptors(pid) for name, pid in family.items()}

    try:
        wait_for("as many descriptors as before", lambda: after() == before)
    except AssertionError:
        equal(after(), before)
    zombies = [pid for pid in service.family().values() if not is_alive(pid)]
    equal(zombies, [])
    equal(commands(service, "a"), [])
    equal(service.stop(), 0)


@test("one that dies again and again ends the service")
def crash_loop():
    service = Service(POLICY)
    service.replace_program("usbmgrctl", BUILD + "/usbmgrctl")
    process = qemu(service, "a")
    service.start()
    standin(service, "filter", "usbmgrd-qmpclient")
    os.kill(service.pids["qmpclient"], signal.SIGKILL)
    equal(service.end(30), 1)
    lines = about(service, "qmpclient")
    equal(len(lines), DEATHS)
    equal(len(service.stderr().splitlines()), DEATHS + 2)
    for line in lines[1:-1]:
        matches(line, r"usbmgrd: qmpclient \(pid \d+\) was killed by its "
                "system call filter: it is started again")
    equal(lines[-1], "usbmgrd: qmpclient died %d times in 60 seconds, the "
          "last time it was killed by its system call filter: giving up"
          % DEATHS)
    equal(process.poll(), None)
    equal(service.log("usbmgrd")[-2]["message"],
          "ended after a failure; devices stay in their machines")


@test("a program that is gone, hangs, or is back")
def programs():
    service = Service(POLICY)
    service.replace_program("usbmgrctl", BUILD + "/usbmgrctl")
    service.start()
    standin(service, "hang", "usbmgrd-monitor")
    os.kill(service.pids["monitor"], signal.SIGKILL)
    wait_for("two deaths", lambda: len(about(service, "monitor")) == 2, 15)
    matches(about(service, "monitor")[1], r"usbmgrd: monitor \(pid \d+\) was "
            "not ready in 10 seconds: it is started again")
    standin(service, "hang", "usbmgrd-qmpclient")
    os.unlink(service.programs + "/usbmgrd-qmpclient")
    os.kill(service.pids["qmpclient"], signal.SIGKILL)
    wait_for("two deaths", lambda: len(about(service, "qmpclient")) >= 2)
    matches(about(service, "qmpclient")[1], r"usbmgrd: qmpclient "
            r"\(pid \d+\) ended with status 127 before it was ready: it is "
            "started again")
    for name in "monitor", "qmpclient":
        service.replace_program("usbmgrd-" + name, BUILD + "/usbmgrd-" + name)
    wait_for("the qmpclient", lambda: restarts(service, "qmpclient"))
    # It may be the one that hangs, or already the next.
    pid = wait_for("a monitor", lambda: service.children().get("monitor"))
    count = len(restarts(service, "monitor"))
    os.kill(pid, signal.SIGKILL)
    wait_for("the monitor", lambda: len(restarts(service, "monitor")) > count)
    service.pids = service.children()
    service.is_well()
    equal(service.stop(), 0)


@test("SIGTERM while one waits to be started again")
def stop_meanwhile():
    for child in CHILDREN:
        service = Service(POLICY).start()
        for _ in range(4):
            kill(service, child)
        os.kill(service.pids[child], signal.SIGKILL)
        wait_for("its end", lambda: child not in service.children())
        equal(service.stop(), 0)
        equal(len(restarts(service, child)), 4)


@test("the logs are opened again while one is dead")
def rotate_meanwhile():
    service = Service(POLICY).start()
    for _ in range(3):
        kill(service, "monitor")
    os.kill(service.pids["monitor"], signal.SIGKILL)
    wait_for("its end", lambda: "monitor" not in service.children())
    service.process.send_signal(signal.SIGUSR1)
    wait_for("another one", lambda: len(restarts(service, "monitor")) == 4)
    service.pids = service.children()
    service.is_well()


@test("without the process that starts the children the service ends")
def spawner_killed():
    service = Service(POLICY).start()
    pid = service.family()["spawner"]
    os.kill(pid, signal.SIGKILL)
    equal(service.end(), 1)
    matches(service.stderr().splitlines()[1], r"usbmgrd: spawner \(pid %d\) "
            r"was killed by signal 9 \(Killed\): no child could be started "
            "again" % pid)


class Manager:
    """The service manager's end of sd_notify(3)."""

    def __init__(self, service, name, **environment):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(name.replace("@", "\0"))
        self.sock.settimeout(5)
        for key in "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID":
            os.environ.pop(key, None)
        os.environ.update(NOTIFY_SOCKET=name, **environment)
        try:
            service.start()
        finally:
            for key in "NOTIFY_SOCKET", *environment:
                del os.environ[key]

    def next(self):
        return self.sock.recv(4096).decode().split("\n")

    def expect(self, line, seconds=5):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            lines = self.next()
            if line in lines:
                return
        raise AssertionError("%s did not come" % line)


@test("the service manager is told")
def manager():
    for name in "%s/notify", "@usbmgrd-test-%d" % os.getpid():
        service = Service(POLICY)
        told = Manager(service, name.replace("%s", service.dir))
        equal(told.next(), ["READY=1", "STATUS=3 machines, 1 rules"])
        kill(service, "engine")
        equal(told.next(),
              ["STATUS=engine was killed by signal 9 (Killed)"])
        equal(told.next(), ["STATUS=engine was started again"])
        told.sock.settimeout(0.5)
        try:
            raise AssertionError(told.next())
        except TimeoutError:
            pass            # nothing is sent without a watchdog
        told.sock.settimeout(5)
        equal(service.stop(), 0)
        equal(told.next(), ["STOPPING=1"])


@test("the watchdog is fed while all children answer, one that hangs is ended")
def watchdog():
    service = Service(POLICY)
    told = Manager(service, service.path("notify"), WATCHDOG_USEC="2000000")
    for _ in range(3):
        told.expect("WATCHDOG=1", 1)
    for child in CHILDREN:
        pid = service.pids[child]
        os.kill(pid, signal.SIGSTOP)
        told.expect("STATUS=%s did not answer" % child, 2)
        told.expect("WATCHDOG=1", 1.9)
        matches(about(service, child)[-1], r"usbmgrd: %s \(pid %d\) did not "
                "answer: it is started again" % (child, pid))
        service.pids = service.children()
    service.is_well()
    equal(service.stop(), 0)


@test("a watchdog of another process is not fed, bad values are said")
def other_watchdog():
    service = Service(POLICY)
    told = Manager(service, service.path("notify"), WATCHDOG_USEC="400000",
                   WATCHDOG_PID="1")
    equal(told.next()[0], "READY=1")
    time.sleep(0.5)
    equal(service.stop(), 0)
    equal(told.next(), ["STOPPING=1"])
    service = Service(POLICY)
    Manager(service, service.path("notify"), WATCHDOG_USEC="soon")
    equal(service.stop(), 0)
    equal("usbmgrd: WATCHDOG_USEC or WATCHDOG_PID is invalid" in
          service.stderr(), True)


run()
