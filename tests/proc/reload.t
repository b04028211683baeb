#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""The policy file is read again while all runs, by SIGHUP or usbmgrctl; a
file with errors changes nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (BUILD, Service, equal, matches, run,     # noqa: E402
                     start, test, wait_for)

QEMU = """qemu-system-x86_64 -machine q35 -nodefaults -display none -S
    -device qemu-xhci,id=xhci""".split()
READY = r"QEMU \d+\.\d+\.\d+"


def policies(service):
    return [line for line in service.log("usbmgrd")
            if line["event"] == "policy"]


def messages(service, name="usbmgrd"):
    return [line["message"] for line in service.log(name)
            if line["event"] == "log"]


def reloads(service, text, *errors):
    """usbmgrctl reload does it, and says this."""
    result = service.ctl("reload")
    equal((result.stdout, result.returncode), (text + "\n", 0))
    equal(result.stderr.splitlines(), list(errors))


def refuses(service, *errors):
    before = service.machines(), len(policies(service))
    result = service.ctl("reload")
    equal((result.stdout, result.returncode), ("", 1))
    equal(result.stderr.splitlines(), [*errors, (
        "usbmgrctl: the policy was not loaded, the one before stays in "
        "force: %s has errors" % service.conf)])
    equal((service.machines(), len(policies(service))), before)
    for error in errors:
        equal(error in messages(service), True)


def qemu(service, name):
    return start([*QEMU, "-qmp", "unix:%s,server=on,wait=off"
                  % service.path(name + ".qmp")])


def is_ready(service, name):
    def ready():
        state, reason = service.machines()[name]
        return state == "ready" and re.match(READY, reason)
    wait_for("%s is ready" % name, ready, 15)


@test("SIGHUP and usbmgrctl reload read the file again")
def both():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    service.rewrite('vm "a" qmp', 'vm "b" qmp "%s/b"\nvm "a" qmp'
                    % service.dir)
    reloads(service, "policy loaded: 2 machines, 0 rules")
    equal(list(service.machines()), ["b", "a"])
    service.rewrite('vm "b"', '#vm "b"')
    service.process.send_signal(signal.SIGHUP)
    wait_for("one machine", lambda: list(service.machines()) == ["a"])
    wait_for("the line", lambda: messages(service)[-1]
             == "policy loaded: 1 machines, 0 rules")
    hashes = [line["sha256"] for line in policies(service)]
    equal((len(hashes), hashes[0], len(set(hashes))), (3, hashes[2], 2))
    service.is_well()
    equal(service.stop(), 0)


@test("errors go to usbmgrctl and to the log; the old policy stays")
def errors():
    service = Service('vm "a" qmp "DIR/a"\npass all to "a"\n').start()
    with open(service.conf) as file:
        good = file.read()
    with open(service.conf, "a") as file:
        file.write('pass port 3:300 to "a"\nblok\npass port 3:9 to "b"\n')
    where = service.conf + ":"
    lines = good.count("\n")
    refuses(service,
            '%s%d: port "3:300": a port is a number from 1 to 255, behind '
            'hubs several with dots, as in 1.2'
            % (where, lines + 1),
            '%s%d: unknown statement "blok", expected block, control, damping, eve, '
            'events, include, log, manifest, pass, process, timeout, vm or a '
            'macro, as in blok = "..."'
            % (where, lines + 2),
            '%s%d: unknown vm "b": no line says vm "b" qmp "..."'
            % (where, lines + 3))
    os.chmod(service.conf, 0o666)
    refuses(service, "%s must be writable by root only (chmod go-w %s)"
            % (where, service.conf))
    os.unlink(service.conf)
    refuses(service, where + " No such file or directory")
    os.mkdir(service.conf)
    refuses(service, where + " not a regular file")
    os.rmdir(service.conf)
    with open(service.conf, "w") as file:
        file.write(good)
    reloads(service, "policy loaded: 1 machines, 1 rules")
    service.is_well()
    equal(service.stop(), 0)


@test("a warning is told, and the policy counts")
def warning():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    with open(service.conf, "a") as file:
        file.write('block quick all\npass port 3:9 to "a"\n')
    reloads(service, "policy loaded: 1 machines, 2 rules",
            "%s:6: warning: this rule never decides: the quick one in "
            "usbmgrd.conf:5 matches all that it does" % service.conf)
    service.stop()


@test("macros and included files count, and links to files")
def includes():
    service = Service('include "more.conf"\n')
    with open(service.path("more.conf"), "w") as file:
        file.write('which = "x"\nvm $which qmp "%s/x"\n' % service.dir)
    real = service.path("real.conf")
    os.rename(service.conf, real)
    os.symlink("real.conf", service.conf)
    service.start()
    equal(list(service.machines()), ["x"])
    with open(service.path("more.conf"), "w") as file:
        file.write('which = "y"\nvm $which qmp "%s/y"\n' % service.dir)
    reloads(service, "policy loaded: 1 machines, 0 rules")
    equal(list(service.machines()), ["y"])
    service.stop()


@test("what cannot change while it runs is named")
def fixed():
    service = Service().start()
    with open(service.conf) as file:
        good = file.read()
    with open(service.conf, "w") as file:
        file.write(good.replace(service.logs, "/elsewhere")
                   .replace(service.socket, "/elsewhere.sock")
                   .replace("events kernel", "events auto") +
                   'log required\ncontrol socket "/ro" readonly\n'
                   'process engine user "nobody"\n')
    warn = ("warning: %s has changed: that counts from the next start of "
            "usbmgrd on")
    for _ in range(2):          # also the second time
        reloads(service, "policy loaded: 0 machines, 1 rules",
                *(warn % what for what in (
                    "log directory", "log required", "control socket",
                    "the readonly control socket", "events",
                    "process engine user")))
    with open(service.conf, "w") as file:
        file.write(good)
    reloads(service, "policy loaded: 0 machines, 1 rules")
    service.is_well()
    equal(service.stop(), 0)


WARNING = ("warning: process engine has other promises: it is started again, "
           "and what was attached and detached by hand is forgotten")


def confined(service, child):
    """Promises of each process that ran for it, as it says them itself."""
    found = [re.match(r"confined by system call filter \((.*)\) and",
                      message) for message in messages(service, child)]
    return [match.group(1) for match in found if match]


def renewed(service):
    return [line["child"] for line in service.log("usbmgrd")
            if line["event"] == "child-restarted" and
            line.get("reason") == "other promises in the policy"]


def is_renewed(service, *children):
    """Others in their place, the rest as it was, and nobody died."""
    before = service.pids

    def others():
        now = service.children()
        return sorted(now) == sorted(before) and {
            child for child in now if now[child] != before[child]
        } == set(children) and now
    service.pids = wait_for("others", others)
    equal([line for line in service.log("usbmgrd")
           if line["event"] == "child-died"], [])


@test("an engine with other promises answers before it is started again")
def engine_promises():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    usual = confined(service, "engine")
    with open(service.conf) as file:
        good = file.read()
    with open(service.conf, "a") as file:
        file.write('process engine pledge "stdio recvfd"\n')
    reloads(service, "policy loaded: 1 machines, 0 rules", WARNING)
    is_renewed(service, "engine")
    wait_for("its promises", lambda: confined(service, "engine") ==
             [*usual, "stdio recvfd"])
    wait_for("the record", lambda: renewed(service) == ["engine"])
    # As it is a client would kill it.
    with open(service.conf, "w") as file:
        file.write(good)
    service.process.send_signal(signal.SIGHUP)
    is_renewed(service, "engine")
    wait_for("its promises", lambda: confined(service, "engine") ==
             [*usual, "stdio recvfd", *usual])
    equal(WARNING in messages(service), True)
    wait_for("the record", lambda: renewed(service) == ["engine"] * 2)
    # The same, in other words.
    with open(service.conf, "a") as file:
        file.write('process engine pledge "control recvfd stdio"\n')
    reloads(service, "policy loaded: 1 machines, 0 rules")
    service.is_well()
    equal(renewed(service), ["engine"] * 2)
    equal(service.stop(), 0)
    equal(len(service.stderr().splitlines()), 1)


@test("many at once, with other promises: each has an answer")
def many_promises():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    for count, words in enumerate(["stdio control", "stdio recvfd control"],
                                  1):
        with open(service.conf, "a") as file:
            file.write('process engine pledge "%s"\n' % words)
        # All are with the engine before the first one has an answer.
        service.process.send_signal(signal.SIGSTOP)
        clients = [subprocess.Popen(
            [BUILD + "/usbmgrctl", "-s", service.socket, "reload"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(10)]
        wait_for("their requests", lambda: len(
            [line for line in service.log("engine")
             if line.get("request_type") == "MSG_CTL_RELOAD"]) == 10 * count)
        service.process.send_signal(signal.SIGCONT)
        for client in clients:
            out, err = client.communicate(timeout=10)
            equal((out, client.returncode),
                  ("policy loaded: 1 machines, 0 rules\n", 0))
            equal(err, WARNING + "\n")
        wait_for("the engine", lambda: confined(service, "engine")[-1] ==
                 words)
        service.rewrite('process engine pledge "%s"\n' % words, "")
    service.pids = service.children()
    service.is_well()
    equal(service.stop(), 0)


def add_refused(service, more=""):
    """A manifest that the parent can open, and the engine cannot read."""
    with open(service.path("model.json"), "w") as file:
        file.write('{"ioMemberList": [{]}')
    with open(service.conf, "a") as file:
        file.write('%smanifest "%s"\n' % (more, service.path("model.json")))


@test("a policy that the engine refuses takes no promise")
def refused_promises():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    add_refused(service, 'process qmpclient pledge "stdio qmp"\n')
    equal(service.ctl("reload").returncode, 1)
    service.is_well()
    # Nor has one that comes later.
    os.kill(service.pids["qmpclient"], signal.SIGKILL)
    wait_for("another one", lambda: len(confined(service, "qmpclient")) == 2)
    equal(len(set(confined(service, "qmpclient"))), 1)
    equal((renewed(service), service.stop()), ([], 0))


@test("a policy that only the next engine refuses changes nothing, either")
def refused_later():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    add_refused(service)
    os.kill(service.pids["engine"], signal.SIGSTOP)
    service.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)         # it is sent, and not read
    os.kill(service.pids["engine"], signal.SIGKILL)
    wait_for("the old one stays", lambda: any(
        "the one before stays in force" in line for line in
        messages(service)))
    wait_for("an engine", lambda: service.ctl("show", "vms").returncode == 0)
    deaths = [line for line in service.log("usbmgrd")
              if line["event"] == "child-died"]
    equal([line["reason"] for line in deaths],
          ["was killed by signal 9 (Killed)", "was refused its policy"])
    equal(list(service.machines()), ["a"])
    equal(service.stop(), 0)


@test("with promises that it cannot live with, a child ends the service")
def deadly_promises():
    service = Service().start()
    with open(service.conf, "a") as file:
        file.write('process monitor pledge "stdio"\n')
    reloads(service, "policy loaded: 0 machines, 1 rules")
    equal(service.end(30), 1)
    lines = service.stderr().splitlines()[1:]
    for line in lines[:9]:
        matches(line, r"usbmgrd: monitor \(pid \d+\) was killed by its system "
                r"call filter: \w+: it is started again")
    matches(lines[9], "usbmgrd: monitor died 10 times in 60 seconds, the last "
            r"time it was killed by its system call filter: \w+: giving up")
    equal(len(lines), 11)


@test("machines that come, go and change; the others are not disturbed")
def machines():
    service = Service('vm "stays" qmp "DIR/stays.qmp"\n'
                      'vm "goes" qmp "DIR/goes.qmp"\n')
    for name in "stays", "goes", "comes", "moved":
        qemu(service, name)
    for name in "stays", "goes", "comes", "moved":
        wait_for(name, lambda: os.path.exists(service.path(name + ".qmp")))
    service.start()
    is_ready(service, "stays")
    is_ready(service, "goes")

    def sockets(pid):
        links = [os.readlink("/proc/%d/fd/%s" % (pid, fd))
                 for fd in os.listdir("/proc/%d/fd" % pid)]
        return len([link for link in links if link.startswith("socket:")])

    qmp = service.pids["qmpclient"]
    count = sockets(qmp)
    told = len(service.log("qmpclient"))
    service.rewrite('vm "goes" qmp "%s/goes.qmp"' % service.dir,
                    'vm "comes" qmp "%s/comes.qmp"' % service.dir)
    reloads(service, "policy loaded: 2 machines, 0 rules")
    is_ready(service, "comes")
    equal(sorted(service.machines()), ["comes", "stays"])
    wait_for("the connection to go", lambda: sockets(qmp) == count)
    equal([line for line in service.log("qmpclient")[told:]
           if line.get("vm") == "stays"], [])
    # Another socket: another machine of that name.
    service.rewrite("comes.qmp", "moved.qmp")
    equal(service.ctl("reload").returncode, 0)
    is_ready(service, "comes")
    told = len(service.log("qmpclient"))
    # Other ports: asked anew, and nobody else is.
    service.rewrite('moved.qmp"', 'moved.qmp" port "2-3"')
    equal(service.ctl("reload").returncode, 0)
    wait_for("a new connection", lambda: any(
        line["event"] == "vm" and line["vm"] == "comes" and
        line["state"] == "ready" for line in
        service.log("qmpclient")[told:]))
    is_ready(service, "comes")
    equal([line for line in service.log("qmpclient")[told:]
           if line.get("vm") == "stays"], [])
    for _ in range(10):         # quickly, with machines that leave again
        service.rewrite('vm "stays"', '#vm "stays"')
        equal(service.ctl("reload").returncode, 0)
        service.rewrite('#vm "stays"', 'vm "stays"')
        equal(service.ctl("reload").returncode, 0)
    is_ready(service, "stays")
    service.is_well()
    equal(service.stop(), 0)


@test("many at once: each client has an answer, the last file counts")
def many():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    clients = [subprocess.Popen(
        [BUILD + "/usbmgrctl", "-s", service.socket, "reload"],
        stdout=subprocess.PIPE, text=True) for _ in range(10)]
    for _ in range(10):
        service.process.send_signal(signal.SIGHUP)
    service.rewrite('vm "a"', 'vm "last"')
    service.process.send_signal(signal.SIGHUP)
    for client in clients:
        out, _ = client.communicate(timeout=10)
        equal((out, client.returncode),
              ("policy loaded: 1 machines, 0 rules\n", 0))
    wait_for("the last", lambda: list(service.machines()) == ["last"])
    service.is_well()
    equal(service.stop(), 0)


@test("a policy of 5000 rules")
def big():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    with open(service.conf, "a") as file:
        for number in range(5000):
            file.write('pass product %04x:* to "a"\n' % number)
    since = time.monotonic()
    reloads(service, "policy loaded: 1 machines, 5000 rules")
    equal(time.monotonic() - since < 3, True)
    rules = json.loads(service.ctl("show", "rules", "-j").stdout)
    equal([rule["text"] for rule in rules],
          ['pass product %04x:* to "a"' % n for n in range(5000)])
    equal(rules[4999]["rule"], "usbmgrd.conf:5004")
    service.is_well()
    equal(service.stop(), 0)


@test("the engine's log of all that replays")
def replay():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    first = service.path("first/usbmgrd.conf")
    os.mkdir(service.path("first"))
    with open(service.conf) as file, open(first, "w") as out:
        out.write(file.read())
    service.rewrite('vm "a"', 'vm "b"')
    equal(service.ctl("reload").returncode, 0)
    equal(service.stop(), 0)
    log = service.logs + "/engine.log"
    result = service.ctl("replay", "-f", service.conf, "-f", first, log)
    equal((result.stdout, result.stderr, result.returncode), ("", "", 0))
    result = service.ctl("replay", "-f", first, log)
    equal(result.returncode, 1)
    matches(result.stderr, re.escape(log) + r":\d+: another policy was in "
            "force from here on: give it, too, with -f; its sha256 is that "
            "of what usbmgrd -nv prints of it")
    result = service.ctl("replay", "-f", first, service.logs + "/monitor.log")
    equal(result.returncode, 1)
    matches(result.stderr, ".*/monitor.log:1: this is the audit log of "
            "monitor: only that of the engine can be replayed")


run()
