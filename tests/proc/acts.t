#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Forbidden acts from inside each process at work (tests/acts).

The programs are the released ones with the acts built in. Whoever tries one
dies by SIGSYS, and the parent names process and system call; or the act is
refused. What must come of which act tests/acts/acts.table says.
"""

import os
import re
import shutil
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (BUILD, CHILDREN, ROOT, Service, equal, is_alive,  # noqa: E402
                     run, status_of, test, wait_for)

ACTED = BUILD + "/acts"
PROGRAMS = ["usbmgrd", "usbmgrd-monitor", "usbmgrd-qmpclient"]
COLUMNS = ["parent", "spawner", "engine", "monitor", "qmpclient"]
FILTER = "was killed by its system call filter"
ENDS = {"SIGSYS": FILTER,
        "SIGSEGV": "was killed by signal 11 (Segmentation fault)"}
CAPS = {"parent": {"dac_override", "kill"},
        "spawner": {"dac_read_search", "setgid", "setuid", "net_admin",
                    "sys_chroot", "sys_admin"}}
NUMBERS = {"dac_override": 1, "dac_read_search": 2, "kill": 5, "setgid": 6,
           "setuid": 7, "net_admin": 12, "sys_chroot": 18, "sys_admin": 21}


def table():
    for line in open(ROOT + "/tests/acts/acts.table"):
        if not line.startswith("#"):
            act, call, _, *cells = [word.strip() for word in line.split("|")]
            equal(len(cells), len(COLUMNS))
            yield act, call, dict(zip(COLUMNS, cells))


def launch(act, who, logs=None):
    service = Service()
    if logs is not None:
        service.rewrite(service.logs, logs)
        service.logs = logs
    service.programs = service.path("programs")
    os.mkdir(service.programs)
    for name in PROGRAMS:
        shutil.copy2(ACTED + "/" + name, service.programs)
    with open(service.programs + "/act", "w") as out:
        names = [who == "parent" and "usbmgrd" or who for who in who]
        out.write(" ".join([act, str(os.getpid()), *names]) + "\n")
    return service.launch()


def begun(service):
    wait_for("start", service.has_started, 15)
    service.pids = service.family()
    return service


def act_now(service):
    service.process.send_signal(signal.SIGUSR1)


def deaths(service):
    return {line["child"]: line["reason"]
            for line in service.log("usbmgrd") if line["event"] == "child-died"}


def refusals(service, name):
    return [line["message"] for line in service.log(name)
            if line.get("message", "").startswith("act ")]


def check_child(service, act, call, name, want):
    if want.startswith("E"):
        wait_for("%s: refused" % name, lambda: refusals(service, name))
        equal(refusals(service, name), ["act %s: %s" % (act, want)])
        equal(name in deaths(service), False)
        return
    wait_for("%s: end" % name, lambda: name in deaths(service) or
             refusals(service, name))
    equal(refusals(service, name), [])
    equal(deaths(service).get(name), ENDS.get(want, FILTER + ": " + call))


def has_landlock(service):
    return not any("no Landlock" in line.get("message", "")
                   for line in service.log("usbmgrd"))


def check_parent(service, act, want):
    if want == "EACCES" and not has_landlock(service):
        return
    if want.startswith("E"):
        wait_for("refusal", lambda: refusals(service, "usbmgrd"))
        equal(refusals(service, "usbmgrd"), ["act %s: %s" % (act, want)])
        equal(service.stop(), 0)
        return
    signo = signal.SIGSEGV if want == "SIGSEGV" else signal.SIGSYS
    equal(service.process.wait(10), -signo)
    for name, pid in service.pids.items():
        wait_for("end of " + name, lambda: not is_alive(pid))
    equal("filter does not have system call" in service.stderr(),
          want == "filter")


def check_spawner(service, act, call, want):
    os.kill(service.pids["engine"], signal.SIGKILL)
    if want.startswith("E"):
        wait_for("another engine",
                 lambda: "is at work again" in service.stderr() or any(
                     "at work again" in line.get("message", "")
                     for line in service.log("usbmgrd")))
        equal(re.findall("act .*", service.stderr()),
              ["act %s: %s" % (act, want)])
        equal(service.stop(), 0)
        return
    equal(service.end(), 1)
    how = ENDS.get(want, FILTER)
    equal("spawner (pid %d) %s:" % (service.pids["spawner"], how)
          in service.stderr(), True)


def add(act, call, cells):
    tried = [name for name in COLUMNS if cells[name] not in ("may", "-")]
    if "channel" in cells.values():
        return
    stopped = sorted(set(cells[name] for name in tried))

    @test("%s: %s" % (act, ", ".join(stopped)))
    def forbidden():
        children = [name for name in tried if name in CHILDREN]
        services = {"children": launch(act, children)}
        for name in tried:
            if name not in CHILDREN:
                services[name] = launch(act, [name])
        for service in services.values():
            begun(service)
        act_now(services["children"])
        if "parent" in services:
            act_now(services["parent"])
        for name in children:
            check_child(services["children"], act, call, name, cells[name])
        if "parent" in services:
            check_parent(services["parent"], act, cells["parent"])
        if "spawner" in services:
            check_spawner(services["spawner"], act, call, cells["spawner"])
        equal(services["children"].stop(), 0)


for row in table():
    add(*row)


@test("a descriptor that the parent does not want ends the sender")
def to_parent():
    service = begun(launch("descriptor-to-parent", CHILDREN))
    act_now(service)
    for name in CHILDREN:
        wait_for("end of " + name, lambda: name in deaths(service))
        equal(deaths(service)[name],
              "broke the protocol: MSG_PONG: with a descriptor")
    equal(service.stop(), 0)


def to_sibling(sender, said):
    service = begun(launch("descriptor-to-sibling", [sender]))
    act_now(service)
    for text in said:
        wait_for(text, lambda: text in service.stderr())
    equal(sender in deaths(service), False)
    equal(service.stop(), 0)


@test("a descriptor that a sibling does not want ends the sibling")
def to_siblings():
    to_sibling("engine", [
        "monitor: engine broke the protocol: MSG_DETACH: not a message to "
        "this receiver",
        "qmpclient: engine broke the protocol: MSG_DETACH: with a descriptor"])
    to_sibling("monitor", [
        "engine: monitor broke the protocol: MSG_SCAN_DONE: with a "
        "descriptor"])
    to_sibling("qmpclient", [
        "engine: qmpclient broke the protocol: MSG_VM_PORT: with a "
        "descriptor"])


@test("whose logs are below / may not write all over it")
def logs_below_root():
    name = "/usbmgrd-test-logs"
    for logs in name, "/" + name, "/." + name, "/dev/.." + name:
        try:
            service = begun(launch("openat2-write", ["parent"], logs))
            act_now(service)
            check_parent(service, "openat2-write", "EACCES")
        finally:
            shutil.rmtree(name)


def mask(names):
    return sum(1 << NUMBERS[name] for name in names)


@test("capabilities, core dumps, being traced: as docs/SECURITY.md has it")
def privileges():
    service = Service().start()
    family = {**service.family(), "parent": service.process.pid}
    equal(sorted(family), sorted(COLUMNS))
    for name, pid in family.items():
        caps = mask(CAPS.get(name, ()))
        for key in "CapPrm", "CapEff":
            if int(status_of(pid, key)[0], 16) & ~caps:
                raise AssertionError("%s: %s" % (name, key))
        equal(int(status_of(pid, "CapInh")[0], 16), 0)
        equal(int(status_of(pid, "CapAmb")[0], 16), 0)
        bounding = mask(CAPS["parent" if name == "parent" else "spawner"])
        equal(int(status_of(pid, "CapBnd")[0], 16) & ~bounding, 0)
        equal(status_of(pid, "NoNewPrivs"), ["1"])
        equal(status_of(pid, "Seccomp"), ["2"])
        # A process that is not dumpable has its files in /proc owned by root.
        equal(os.stat("/proc/%d/mem" % pid).st_uid, 0)
        limits = open("/proc/%d/limits" % pid).read()
        equal(re.search(r"Max core file size +(\S+) +(\S+)", limits).groups(),
              ("0", "0"))
    equal(service.stop(), 0)


@test("with -d there may be core dumps")
def debugging():
    service = Service().start("-d")
    for pid in [service.process.pid, *service.family().values()]:
        limits = open("/proc/%d/limits" % pid).read()
        mine = open("/proc/self/limits").read()
        equal(re.search("Max core.*", limits).group(),
              re.search("Max core.*", mine).group())
    equal(service.stop(), 0)


@test("released programs have no acts")
def released():
    def has_acts(path):
        symbols = subprocess.run(["nm", path], stdout=subprocess.PIPE,
                                 text=True, check=True).stdout
        equal("spawn_child" in symbols or "child_init" in symbols, True)
        return "acts_" in symbols
    for name in PROGRAMS:
        equal(has_acts(BUILD + "/" + name), False)
        equal(has_acts(ACTED + "/" + name), True)


run()
