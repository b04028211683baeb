#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""The files of EVE, written as EVE writes them, and the machines they name:
real QEMUs, where nothing else is said."""

import glob
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (BUILD, HERE, ROOT, Service, equal, is_alive,        # noqa: E402
                     run, start, status_of, test, wait_for)

QEMU = """qemu-system-x86_64 -machine q35 -nodefaults -display none -S
    -device qemu-xhci,id=xhci,p2=15,p3=15""".split()
READY = r"QEMU \d+\.\d+\.\d+.*"
POLICY = """eve {
    adapters "DIR/domainmgr/AssignableAdapters/global.json"
    domains "DIR/domainmgr/DomainStatus"
    qmp "DIR/kvm/%s/qmp"
}
"""
UUID = "4f1c2a6e-0b6d-4f0e-9a53-3d6c5f6f6b%02d"
SECRET = "correct-horse-battery-staple"
MEMORY = 64 * 1024          # kB that the engine may need for what is huge


class Eve(Service):
    """usbmgrd, and EVE's side of its files."""

    def __init__(self, policy=POLICY, plugs=False):
        super().__init__(policy)
        self.aa = self.path("domainmgr/AssignableAdapters")
        self.ds = self.path("domainmgr/DomainStatus")
        if plugs:
            self.replace_program("usbmgrd-monitor", BUILD + "/evil")
            with open(self.programs + "/fault", "w") as out:
                out.write("monitor-plugs")

    def make_directories(self):
        os.makedirs(self.aa)
        os.makedirs(self.ds)
        return self

    def publish(self, directory, key, text):
        """A temporary file beside it, fsync, rename, as pubsub does it."""
        if not isinstance(text, (str, bytes)):
            text = json.dumps(text, separators=(",", ":"))
        if isinstance(text, str):
            text = text.encode()
        temporary = os.path.join(directory, "tmp123456")
        with open(temporary, "wb") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.rename(temporary, os.path.join(directory, key + ".json"))

    def adapters(self, *bundles):
        self.publish(self.aa, "global",
                     {"Initialized": True, "IoBundleList": list(bundles)})

    def domain(self, number, name, state=115, *adapters, **more):
        self.publish(self.ds, UUID % number, {
            "UUIDandVersion": {"UUID": UUID % number, "Version": "1"},
            "DisplayName": "display", "State": state, "DomainName": name,
            "IoAdapterList": [{"Type": 14, "Name": a} for a in adapters],
            "EnvVariables": {"PASSWORD": SECRET}, "VncPasswd": SECRET, **more})

    def unpublish(self, number):
        os.unlink("%s/%s.json" % (self.ds, UUID % number))

    def qemu(self, name):
        directory = self.path("kvm/" + name)
        os.makedirs(directory, exist_ok=True)
        path = directory + "/qmp"
        process = start(QEMU + ["-qmp", "unix:%s,server=on,wait=off" % path],
                        stderr=subprocess.DEVNULL)
        wait_for("socket of QEMU", lambda: os.path.exists(path), 15)
        return process

    def becomes(self, name, state, reason=".*", seconds=5):
        def is_so():
            now = self.machines().get(name, ("none", ""))
            return now[0] == state and re.fullmatch(reason, now[1])
        wait_for("%s is %s" % (name, state), is_so, seconds)

    def forgets(self, name):
        wait_for("no machine %s" % name, lambda: name not in self.machines())

    def complaint(self, pattern):
        return wait_for("a line like %s" % pattern, lambda: [
            line["message"] for line in self.log("engine") + self.log("usbmgrd")
            if re.search(pattern, line.get("message", ""))])

    def actions(self, event):
        return [(line.get("vm"), line["device"], line["reason"])
                for line in self.log("engine") if line["event"] == event]


def bundle(label, **more):
    return {"Type": 14, "Phylabel": label, "Logicallabel": label,
            "AssignmentGroup": "", **more,
            "UsedByUUID": "00000000-0000-0000-0000-000000000000",
            "Error": {"TimeOfError": "0001-01-01T00:00:00Z"}, "Vfs": {},
            "VfParams": {}}


@test("a machine comes with its file and goes with it, again and again")
def life():
    eve = Eve().make_directories()
    eve.start()
    equal(eve.machines(), {})
    for number in 1, 2:
        process = eve.qemu("vm.1")
        eve.domain(1, "vm.1")
        eve.becomes("vm.1", "ready", READY)
        eve.domain(1, "vm.1", 118)
        eve.forgets("vm.1")
        eve.domain(1, "vm.1")
        eve.becomes("vm.1", "ready", READY)
        process.kill()
        process.wait()
        eve.becomes("vm.1", "absent")
        eve.unpublish(1)
        eve.forgets("vm.1")
        equal(number, len([l for l in eve.log("engine")
                           if l["event"] == "eve-domain-gone"]))
    equal({l["vm"] for l in eve.log("usbmgrd") if l["event"] == "open-qmp"},
          {"vm.1"})
    eve.is_well()
    equal(eve.stop(), 0)


@test("what is there at the start counts, other files do not")
def start_late():
    eve = Eve().make_directories()
    eve.qemu("a")
    eve.qemu("b")
    eve.domain(1, "a")
    eve.domain(2, "b", 119)
    for name in "tmp123", "restarted", ".json", "x.json.tmp", "a b.json":
        with open("%s/%s" % (eve.ds, name), "w") as out:
            out.write("nonsense")
    os.symlink(UUID % 1 + ".json", eve.ds + "/link.json")
    os.mkfifo(eve.ds + "/fifo.json")
    eve.start()
    eve.becomes("a", "ready", READY)
    equal(sorted(eve.machines()), ["a"])
    eve.complaint('file "a b.json" has a name that EVE does not give')
    eve.complaint("link.json: Too many levels of symbolic links")
    eve.complaint("fifo.json: not a regular file")
    eve.domain(2, "b")
    eve.becomes("b", "ready", READY)
    eve.is_well()


@test("two files that name one machine, a file that names another one")
def names():
    eve = Eve().make_directories()
    eve.qemu("a")
    eve.qemu("b")
    eve.start()
    eve.domain(1, "a")
    eve.domain(2, "a")
    eve.becomes("a", "ready", READY)
    equal(len(eve.machines()), 1)
    eve.unpublish(1)
    time.sleep(0.2)
    eve.becomes("a", "ready", READY)
    eve.domain(2, "b")
    eve.becomes("b", "ready", READY)
    eve.forgets("a")
    eve.is_well()
    equal(eve.stop(), 0)


@test("directories that come late, go, and are replaced")
def directories():
    eve = Eve().start()
    eve.qemu("a")
    eve.qemu("b")
    for _ in range(2):
        os.mkdir(eve.path("domainmgr"))
        time.sleep(0.05)
        os.mkdir(eve.ds)
        eve.domain(1, "a")
        eve.becomes("a", "ready", READY)
        os.mkdir(eve.aa)
        eve.adapters(bundle("P9", UsbAddr="3:9"))
        wait_for("adapters", lambda: any(
            line["event"] == "eve-adapters" for line in eve.log("engine")))
        # All of it at once, in the place of the old.
        os.makedirs(eve.path("new/DomainStatus"))
        eve.ds = eve.path("new/DomainStatus")
        eve.domain(2, "b")
        eve.ds = eve.path("domainmgr/DomainStatus")
        os.rename(eve.path("domainmgr"), eve.path("old"))
        os.rename(eve.path("new"), eve.path("domainmgr"))
        eve.becomes("b", "ready", READY)
        eve.forgets("a")
        # And one directory.
        os.rename(eve.ds, eve.path("old/gone"))
        eve.forgets("b")
        os.rename(eve.path("old/DomainStatus"), eve.ds)
        eve.becomes("a", "ready", READY)
        subprocess.run(["rm", "-r", eve.path("domainmgr"), eve.path("old")],
                       check=True)
        eve.forgets("a")
    eve.is_well()


@test("the device of a bundle goes to its machine, also before it runs on")
def device():
    eve = Eve(plugs=True).make_directories()
    eve.adapters(bundle("C", Type=13, AssignmentGroup="C",
                        PciLong="0000:00:14.0"),
                 bundle("P9", UsbAddr="003:9", ParentAssignmentGroup="D"))
    eve.domain(1, "a", 115, "p9")
    eve.qemu("a")
    eve.start()
    wait_for("hold", lambda: (
        None, "3:9", 'eve: bundle "P9" needs parentassigngrp "D", which has '
        'no bundle') in eve.actions("hold"))
    eve.adapters(bundle("P9", UsbAddr="003:9"))
    wait_for("attach", lambda: eve.actions("attach") ==
             [("a", "3:9", 'eve: bundle "P9"')])
    refused = [line for line in eve.log("engine")
               if line["event"] == "bundle-refused"]
    equal([(line["bundle"], line["reason"]) for line in refused],
          [("P9", 'no bundle is in its parentassigngrp "D"')])


BAD = {
    "truncated": ('{"State":115,"DomainName":"b"', r":1:30: not JSON: "),
    "empty": ("", r":1:1: not JSON: premature EOF"),
    "two": ('{"State":115}\n{}', r":2:1: not JSON: trailing garbage"),
    "type": ('{\n "State":"115"}', r":2:10: \"State\": expected a whole"),
    "element": ('{"IoAdapterList":[7]}', r":1:19: expected an object"),
    "float": ('{"State":115.5}', r":1:10: \"State\": expected a whole"),
    "twice": ('{"State":115,"State":119}', r":1:14: \"State\" stands twice"),
    "deep": ("[" * 100000, r":1:1: expected an object"),
    "deeper": ('{"x":' * 100000, r":1:\d+: nested deeper than 64"),
    "latin1": (b'{"DomainName":"b\xe4r"}', r":1:\d+: not JSON: invalid bytes"),
    "long": ('{"DomainName":"%s"}' % ("b" * 64), r":1:15: .* longer than 63"),
    "path": ('{"DomainName":"../b"}', r"cannot be part of a path"),
    "huge": (b'{"State":115,"DomainName":"b"' + b" " * 100 * 1024 * 1024 +
             b"}", r":0:0: 104857630 bytes: larger than 16 MiB"),
}


@test("a file that cannot be read is told, and the state before it stays")
def bad_files():
    eve = Eve().make_directories()
    eve.qemu("a")
    eve.adapters(bundle("P9", UsbAddr="3:9"))
    eve.domain(1, "a", 115, "P9")
    eve.start()
    eve.becomes("a", "ready", READY)
    before = int(status_of(eve.pids["engine"], "VmRSS")[0])
    for text, pattern in BAD.values():
        eve.publish(eve.ds, UUID % 1, text)
        eve.complaint("^eve: %s.json.*%s" % (UUID % 1, pattern))
        equal(eve.machines()["a"][0], "ready")
    eve.publish(eve.aa, "global", '{"IoBundleList":[{"UsbAddr":9}]}')
    eve.complaint(r'^eve: AssignableAdapters.json:1:29: "UsbAddr": expected '
                  "a string; what was read of it before stays$")
    # Also when everything is read again.
    os.rename(eve.ds, eve.ds + ".old")
    os.rename(eve.ds + ".old", eve.ds)
    time.sleep(0.3)
    equal(int(status_of(eve.pids["engine"], "VmHWM")[0]) - before < MEMORY,
          True)
    eve.domain(1, "a", 119)
    eve.forgets("a")
    eve.is_well()
    equal(eve.stop(), 0)


def memory_has(pid, text):
    """Is it anywhere in the memory of the process?"""
    for line in open("/proc/%d/maps" % pid):
        first, last = (int(n, 16) for n in line.split()[0].split("-"))
        if " rw" not in line or "[v" in line:
            continue
        with open("/proc/%d/mem" % pid, "rb") as memory:
            memory.seek(first)
            if text in memory.read(last - first):
                return True
    return False


@test("secrets in EVE's files are neither logged nor kept")
def secrets():
    eve = Eve().make_directories()
    eve.qemu("a")
    eve.domain(1, "a", Escaped=SECRET + "\\n\u00e4", CloudInit=SECRET * 1000)
    eve.start()
    eve.becomes("a", "ready", READY)
    eve.domain(1, "a", 118)
    eve.forgets("a")
    eve.publish(eve.ds, UUID % 2, '{"VncPasswd":"%s" "x":1}' % SECRET)
    eve.complaint("not JSON")
    for path in glob.glob(eve.logs + "/*") + [eve.path("stderr")]:
        equal(SECRET in open(path, errors="replace").read(), False)
    equal(memory_has(eve.pids["engine"], UUID[:-4].encode()), True)
    for pid in [eve.process.pid, *eve.pids.values()]:
        equal(memory_has(pid, SECRET.encode()), False)


@test("10000 bundles and 300 domains are read in seconds and little memory")
def many():
    eve = Eve(plugs=True).make_directories()
    eve.qemu("vm.7")
    bundles = [bundle("P%d" % n, UsbAddr="%d:%d.%d" % (
        n // 250 + 4, n % 250 + 1, n % 7 + 1), AssignmentGroup="G%d" % n,
        ParentAssignmentGroup="C%d" % (n % 100)) for n in range(10000)]
    bundles += [bundle("C%d" % n, AssignmentGroup="C%d" % n,
                       PciLong="0000:%02x:14.0" % n) for n in range(100)]
    bundles += [bundle("P9", UsbAddr="3:9")]
    for number in range(300):
        path = "%s/%s.json" % (eve.ds, "app-%d" % number)
        with open(path, "w") as out:
            json.dump({"DomainName": "vm.%d" % number, "State": 119, "x":
                       ["y"] * 1000, "IoAdapterList": [
                           {"Name": "P%d" % n} for n in range(10)]}, out)
    eve.adapters(*bundles)
    eve.publish(eve.ds, "app-7", {"DomainName": "vm.7", "State": 115,
                                  "IoAdapterList": [{"Name": "P9"}]})
    eve.start()
    wait_for("attach", lambda: eve.actions("attach") ==
             [("vm.7", "3:9", 'eve: bundle "P9"')], 10)
    equal(int(status_of(eve.pids["engine"], "VmHWM")[0]) < MEMORY, True)
    used = cpu(eve.pids["engine"])
    for _ in range(20):
        eve.adapters(*bundles)
    eve.adapters(*bundles, bundle("last"))
    wait_for("the last one", lambda: any(
        line["event"] == "eve-adapters" and line["bundles"] == 10102
        for line in eve.log("engine")), 20)
    equal(cpu(eve.pids["engine"]) - used < 10, True)
    eve.is_well()


def cpu(pid):
    """Seconds of processor that it has used."""
    fields = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@test("a machine that hangs, and sockets that nobody serves, hold up nothing")
def faulty():
    eve = Eve().make_directories()
    os.makedirs(eve.path("kvm/silent"))
    silent = start([HERE + "/qmp_peer.py", eve.path("kvm/silent/qmp"),
                    "greeting", "silence"], stdout=subprocess.DEVNULL)
    wait_for("peer", lambda: os.path.exists(eve.path("kvm/silent/qmp")))
    for name in "dead1", "dead2", "dead3":
        os.makedirs(eve.path("kvm/" + name))
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(eve.path("kvm/%s/qmp" % name))
    eve.qemu("good")
    eve.start()
    for number, name in enumerate(["silent", "dead1", "dead2", "dead3",
                                   "nowhere", "good"]):
        eve.domain(number, name)
    since = time.monotonic()
    eve.becomes("good", "ready", READY, 2)
    for name in "dead1", "dead2", "dead3":
        eve.becomes(name, "absent", "Connection refused")
    eve.becomes("nowhere", "absent", "No such file or directory")
    equal(time.monotonic() - since < 3, True)
    for number in range(6):
        eve.unpublish(number)
    # It may have devices from before, and has not said that it has none.
    wait_for("the others are gone", lambda: list(eve.machines()) == ["silent"])
    silent.kill()
    wait_for("nobody", lambda: eve.machines() == {})
    eve.is_well()
    equal(eve.stop(), 0)


@test("machines that come and go all the time leave nothing")
def churn():
    eve = Eve().make_directories()
    processes = [eve.qemu("vm%d" % n) for n in range(2)]
    eve.start()
    for number in range(40):
        n = number % 2
        eve.domain(n, "vm%d" % n, 115 if number % 4 < 2 else 118)
        time.sleep(0.02 * (number % 5))
    for n in range(2):
        eve.domain(n, "vm%d" % n)
        eve.becomes("vm%d" % n, "ready", READY)
    time.sleep(1)           # for clients that have just gone
    before = fds(eve)
    for number in range(40):
        eve.domain(number % 2, "vm%d" % (number % 2), 115 + number // 2 % 2)
        time.sleep(0.01)
    for n in range(2):
        eve.domain(n, "vm%d" % n)
        eve.becomes("vm%d" % n, "ready", READY)
    wait_for("no descriptor more than %r, but %r" % (before, fds(eve)),
             lambda: fds(eve) == before)
    equal([process.poll() for process in processes], [None, None])
    eve.is_well()
    equal(eve.stop(), 0)


def fds(eve):
    return {name: len(os.listdir("/proc/%d/fd" % pid)) for name, pid in
            {"usbmgrd": eve.process.pid, **eve.pids}.items()
            if name != "qmpclient"}


@test("a child that dies finds EVE and its machines again")
def deaths():
    eve = Eve().make_directories()
    eve.qemu("a")
    eve.qemu("b")
    eve.adapters(bundle("P9", UsbAddr="3:9"))
    eve.domain(1, "a", 115, "P9")
    eve.start()
    eve.becomes("a", "ready", READY)
    for name in "engine", "qmpclient", "monitor":
        os.kill(eve.pids[name], signal.SIGKILL)
        # What happens meanwhile is not lost.
        eve.domain(1, "a", 119)
        eve.domain(2, "b")
        wait_for("another " + name, lambda: eve.children().get(name)
                 not in (None, eve.pids[name]))
        wait_for("usbmgrctl", lambda: eve.ctl("show", "vms").returncode == 0)
        eve.becomes("b", "ready", READY, 10)
        eve.forgets("a")
        eve.domain(2, "b", 119)
        eve.domain(1, "a")
        eve.becomes("a", "ready", READY)
        eve.forgets("b")
        eve.pids = eve.children()
    equal(eve.stop(), 0)


@test("files that come while there is no engine wait for the next one")
def no_engine():
    eve = Eve().make_directories()
    eve.start()
    for number in 1, 2, 3, 4:
        engine = eve.family()["engine"]
        os.kill(engine, signal.SIGKILL)
        wait_for("its end", lambda: not is_alive(engine))
        eve.domain(number, "vm.%d" % number)
        wait_for("another one", lambda: "engine" in eve.family())
    wait_for("all machines", lambda: len(eve.machines()) == 4)
    equal(eve.stop(), 0)


@test("when nothing happens in EVE no process wakes up")
def idle():
    eve = Eve().make_directories()
    eve.qemu("a")
    eve.adapters(bundle("P9", UsbAddr="3:9"))
    eve.domain(1, "a", 115, "P9")
    eve.start()
    eve.becomes("a", "ready", READY)
    time.sleep(3)
    pids = {"usbmgrd": eve.process.pid, **eve.pids}
    for _ in range(3):
        before = switches(pids)
        # Others write beside it, and there is more than EVE in /run.
        os.mkdir(eve.path("else-%f" % time.monotonic()))
        os.makedirs(eve.path("domainmgr/else"), exist_ok=True)
        time.sleep(2)
        after = switches(pids)
        if before == after:
            return
    equal(after, before)


def switches(pids):
    return {name: int(status_of(pid, "voluntary_ctxt_switches")[0])
            for name, pid in pids.items()}


@test("events of inotify that were lost are found by reading all again")
def overflow():
    eve = Eve().make_directories()
    eve.qemu("a")
    eve.start()
    eve.domain(1, "b")
    eve.domain(3, "c")
    eve.becomes("c", "absent")
    os.kill(eve.process.pid, signal.SIGSTOP)
    limit = int(open("/proc/sys/fs/inotify/max_queued_events").read())
    a, b = eve.ds + "/tmp1", eve.ds + "/tmp2"
    open(a, "w").close()
    for _ in range(limit // 2 + 10):
        os.rename(a, b)
        os.rename(b, a)
    eve.domain(2, "a")
    eve.unpublish(1)
    eve.publish(eve.ds, UUID % 3, "{")
    os.kill(eve.process.pid, signal.SIGCONT)
    eve.becomes("a", "ready", READY)
    eve.forgets("b")
    # What cannot be read is as it was.
    eve.complaint("premature EOF")
    equal(sorted(eve.machines()), ["a", "c"])
    eve.is_well()


def capabilities():
    """Those that the service file of the documents gives."""
    text = open(ROOT + "/docs/eve/usbmgrd.yml").read()
    return re.findall("- CAP_([A-Z_]+)", text)


def launch_with(eve, names):
    names = ["-all"] + ["+" + name.lower() for name in names]
    with open(eve.path("stderr"), "ab") as out:
        eve.process = start(
            ["setpriv", "--bounding-set", ",".join(names),
             BUILD + "/usbmgrd", "-f", eve.conf],
            stdout=out, stderr=out, cwd="/")
    eve.pids = {}


@test("the capabilities in docs/eve/usbmgrd.yml are enough, none is too many")
def confined():
    for without in ["", *capabilities()]:
        names = [name for name in capabilities() if name != without]
        eve = Eve().make_directories()
        eve.qemu("a")
        eve.domain(1, "a")
        launch_with(eve, names)
        if without in ("", "KILL"):
            wait_for("usbmgrd has started", eve.has_started)
            eve.pids = eve.children()
            eve.becomes("a", "ready", READY)
            os.kill(eve.pids["qmpclient"], signal.SIGSTOP)
            eve.process.terminate()
        if without == "KILL":
            # It waits for a child that it may not end.
            time.sleep(7)
            equal(eve.process.poll(), None)
            os.kill(eve.pids["qmpclient"], signal.SIGKILL)
        equal(eve.process.wait(10), 0 if without in ("", "KILL") else 1)


@test("a manifest is read by the engine, one that is wrong ends the start")
def manifest():
    service = Service('manifest "DIR/model.json"\n'
                      'vm "a" qmp "DIR/a.qmp" adapters { "P9" }\n')
    service.replace_program("usbmgrd-monitor", BUILD + "/evil")
    with open(service.programs + "/fault", "w") as out:
        out.write("monitor-plugs")

    def write(text):
        with open(service.path("model.json"), "wb") as out:
            out.write(text)

    for text, error in (
            (b'{"ioMemberList":[', r"model.json:1:18: not JSON: premature EOF"),
            (b'{"ioMemberList":[]}',
             r'no phylabel, assigngrp or logicallabel is "P9"'),
            (b'{"ioMemberList":[{"phylabel":"\xe4"}]}',
             r"model.json:1:\d+: not JSON: invalid bytes in UTF8 string"),
            (b'{"x":' * 100000, r"model.json:1:\d+: nested deeper than 64"),
            (b'{"ioMemberList":[' + b"{}," * 65537 + b"{}]}",
             r"model.json:1:\d+: more than 65536 members"),
            (b" " * 100 * 1024 * 1024,
             r'manifest ".*model.json": larger than 16 MiB')):
        write(text)
        for options in [], ["-n"]:
            done = subprocess.run(
                [BUILD + "/usbmgrd", "-f", service.conf, *options],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, timeout=10, check=False)
            equal((done.returncode, bool(re.search(error, done.stderr))),
                  (1, True))
    write(b'"ioMemberList":[' + b",".join(
        b'{"phylabel":"X%d","phyaddrs":{"usbaddr":"4:%d.%d"}}' %
        (n, n // 200 + 1, n % 200 + 1) for n in range(10000)) +
        b',{"phylabel":"P9","phyaddrs":{"usbaddr":"3:9",}}]')
    service.start()
    equal(len(re.findall("model.json:.*warning", service.stderr())), 1)
    wait_for("hold", lambda: [
        line["reason"] for line in service.log("engine")
        if line["event"] == "hold"][-1:] == ['machine "a" is down'])
    path = service.path("a.qmp")
    start(QEMU + ["-qmp", "unix:%s,server=on,wait=off" % path],
          stderr=subprocess.DEVNULL)
    wait_for("attach", lambda: [
        line["reason"] for line in service.log("engine")
        if line["event"] == "attach"] == ['model.json: bundle "P9"'])
    equal(service.stop(), 0)


@test("EVE's machines live through a reload, come and go with the statement")
def reload():
    eve = Eve().make_directories()
    eve.qemu("vm.1")
    eve.domain(1, "vm.1")
    eve.start()
    eve.becomes("vm.1", "ready", READY)
    before = [line for line in eve.log("qmpclient") if line["event"] == "vm"]
    eve.rewrite("events kernel", 'events kernel\nvm "x" qmp "/x"')
    equal(eve.ctl("reload").stdout,
          "policy loaded: 1 machines, 1 rules\n")
    equal(sorted(eve.machines()), ["vm.1", "x"])
    equal([line for line in eve.log("qmpclient") if line["event"] == "vm"
           and line["vm"] == "vm.1"], before)
    with open(eve.conf) as file:
        whole = file.read()
    start_of = whole.index("eve {")
    with open(eve.conf, "w") as file:
        file.write(whole[:start_of] + whole[whole.index("}", start_of) + 1:])
    equal(eve.ctl("reload").stdout,
          "policy loaded: 1 machines, 0 rules\n")
    eve.forgets("vm.1")
    eve.domain(2, "vm.2")
    with open(eve.conf, "w") as file:
        file.write(whole)
    eve.qemu("vm.2")
    equal(eve.ctl("reload").returncode, 0)
    eve.becomes("vm.1", "ready", READY)
    eve.becomes("vm.2", "ready", READY)
    eve.is_well()
    equal(eve.stop(), 0)


@test("the manifest in force is what another engine gets, whatever is there")
def manifest_stays():
    service = Service('vm "a" qmp "DIR/a" adapters { "mouse" }\n'
                      'manifest "DIR/model.json"\n')
    path = service.path("model.json")
    with open(path, "w") as out:
        out.write('{"ioMemberList": [{"ztype": 14, "phylabel": "mouse", '
                  '"phyaddrs": {"usbaddr": "3:9"}}]}')
    os.chmod(path, 0o644)
    service.start()
    for text in "no JSON", None:
        os.unlink(path)
        if text is not None:
            with open(path, "w") as out:
                out.write(text)
        os.kill(service.children()["engine"], signal.SIGKILL)
        wait_for("another one", lambda: len(
            [line for line in service.log("usbmgrd")
             if line["event"] == "child-restarted"]) == 1 + (text is None))
    equal(service.ctl("show", "vms").returncode, 0)
    equal(service.ctl("reload").returncode, 1)
    equal(service.stop(), 0)


@test("a manifest is read again by a reload; one with errors changes nothing")
def reload_manifest():
    service = Service('vm "a" qmp "DIR/a" adapters { "mouse" }\n'
                      'manifest "DIR/model.json"\n')
    path = service.path("model.json")

    def write(text):
        with open(path, "w") as out:
            out.write(text)
        os.chmod(path, 0o644)

    good = ('{"ioMemberList": [{"ztype": 14, "phylabel": "mouse", "phyaddrs": '
            '{"usbaddr": "%s"}}]}')
    write(good % "3:9")
    service.start()
    write(good % "3:8")
    equal(service.ctl("reload").returncode, 0)
    for text, error in [
            ('{"ioMemberList": [{]}', r"model.json:1:\d+: .*"),
            (good.replace("mouse", "disk") % "3:9",
             'vm "a": no phylabel, assigngrp or logicallabel is "mouse".*')]:
        write(text)
        result = service.ctl("reload")
        equal(result.returncode, 1)
        lines = result.stderr.splitlines()
        if not re.search(error, lines[0]):
            raise AssertionError(result.stderr)
        equal("the one before stays in force" in lines[-1], True)
    os.unlink(path)
    result = service.ctl("reload")
    equal(result.returncode, 1)
    equal("No such file" in result.stderr, True)
    service.is_well()
    write(good % "3:7")
    equal(service.ctl("reload").returncode, 0)
    equal(service.stop(), 0)


run()
