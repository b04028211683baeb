#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Audit logs: no line is missing, changed or new without notice; the service
goes on without them, or does not, as the policy says."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (BUILD, LOGS, ROOT, Service, equal,       # noqa: E402
                     matches, run, test, wait_for)

WHOLE = r"%s: \d+ lines, all in their places, from the first one ever"


def starts(service):
    return [line for line in open(path(service, "usbmgrd"))
            if '"message":"started: ' in line]


def again(service):
    """Starts it once more, with the logs of before."""
    before = len(starts(service))
    service.launch()
    wait_for("another start", lambda: service.process.poll() is None and
             len(starts(service)) > before)
    service.pids = service.children()
    return service


def path(service, name, suffix=""):
    return "%s/%s.log%s" % (service.logs, name, suffix)


def verify(*files):
    return subprocess.run([BUILD + "/usbmgrctl", "audit", "verify", *files],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=10)


def is_whole(service, *suffixes):
    """All four logs, of the files with these suffixes, oldest first."""
    for name in LOGS:
        result = verify(*(path(service, name, suffix)
                          for suffix in suffixes or ("",)))
        equal((result.returncode, result.stderr), (0, ""))
        matches(result.stdout, (WHOLE % name) + r"\n  last: [0-9a-f]{64}")


def rotate(service):
    for name in LOGS:
        os.rename(path(service, name), path(service, name, ".1"))


def reopen(service):
    service.process.send_signal(signal.SIGUSR1)
    wait_for("new logs", lambda: all(service.log(name) for name in LOGS))


@test("each line has the hash of the one before, over rotations and restarts")
def chain():
    service = Service().start()
    service.is_well()
    is_whole(service)
    rotate(service)
    service.is_well()           # still goes to the old ones
    reopen(service)
    is_whole(service, ".1", "")
    equal(service.stop(), 0)
    again(service)
    service.process.kill()
    service.process.wait()
    again(service)
    equal(service.stop(), 0)
    is_whole(service, ".1", "")
    # Once more, while nobody writes them.
    for name in LOGS:
        os.rename(path(service, name, ".1"), path(service, name, ".2"))
    rotate(service)
    service.start()
    equal(service.stop(), 0)
    is_whole(service, ".2", ".1", "")
    result = verify(path(service, "engine", ".1"), path(service, "engine"))
    equal(result.returncode, 0)
    equal("those before the first one are not here" in result.stdout, True)
    # As text the chain is what the manual says.
    before = "0" * 64
    for suffix in ".2", ".1", "":
        for line in open(path(service, "engine", suffix)):
            equal(json.loads(line)["prev"], before)
            before = hashlib.sha256(line.rstrip("\n").encode()).hexdigest()


@test("what was changed, removed or inserted is named by its line")
def forged():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    for _ in range(10):
        service.is_well()
    service.stop()
    with open(path(service, "engine")) as log:
        lines = log.read().splitlines()
    copy = service.path("forged.log")

    def says(expected, changed):
        with open(copy, "w") as out:
            out.write("\n".join(changed) + "\n")
        result = verify(copy)
        equal((result.stdout, result.returncode),
              ("%s:%s\n" % (copy, expected), 1))

    equal(len(lines) > 12, True)
    for at in range(1, len(lines) - 1):
        says("%d: this line was changed" % (at + 1),
             lines[:at] + [lines[at].replace('"event":"', '"event":"x')] +
             lines[at + 1:])
        says("%d: 1 lines before this one were removed" % (at + 1),
             lines[:at] + lines[at + 1:])
    says("5: 3 lines before this one were removed", lines[:4] + lines[7:])
    says("5: this line was inserted", lines[:4] + lines[2:3] + lines[4:])
    # Also if its "prev" is right, or it is no line of a log at all.
    good = hashlib.sha256(lines[3].encode()).hexdigest()
    says("5: this line was inserted",
         lines[:4] + [re.sub(r'"prev":".*', '"prev":"%s"}' % good, lines[8])]
         + lines[4:])
    says("5: this is no line of an audit log",
         lines[:4] + ["hello"] + lines[4:])
    says("5: this is no line of an audit log", lines[:4] + [""] + lines[4:])
    # The "prev" of a line itself.
    says("6: this line was changed", lines[:5] + [
        re.sub(r'"prev":"......', '"prev":"000000', lines[5])] + lines[6:])
    says("5: this line was inserted",
         lines[:4] + [lines[5], lines[4]] + lines[6:])
    result = verify(service.path("none.log"))
    equal(result.returncode, 1)
    matches(result.stderr, "usbmgrctl: .*/none.log: No such file or directory")


@test("start and end, with version and the hash of the policy")
def start_and_end():
    service = Service('vm "a" qmp "DIR/a"\npass port 3:9 to "a"\n').start()
    service.stop()
    printed = subprocess.run(
        [BUILD + "/usbmgrd", "-nv", "-f", service.conf],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    for name in LOGS:
        log = service.log(name)
        equal((log[0]["event"], log[-1]["event"]), ("start", "end"))
        equal(bool(re.fullmatch(r"\d+\.\d+(\.\d+)?", log[0]["version"])), True)
        equal([line["seq"] for line in log], list(range(1, len(log) + 1)))
        monos = [line["mono"] for line in log]
        equal(monos, sorted(monos))
    for name in "usbmgrd", "engine":
        policy = [line for line in service.log(name)
                  if line["event"] == "policy"]
        equal([line["sha256"] for line in policy],
              [hashlib.sha256(printed).hexdigest()])


@test("control requests have the uid and pid of who asked, and what for")
def requests():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    process = subprocess.Popen(
        [BUILD + "/usbmgrctl", "-s", service.socket, "log", "verbose"],
        stdout=subprocess.DEVNULL)
    equal(process.wait(5), 0)
    line = [line for line in service.log("engine")
            if line["event"] == "control"][-1]
    equal((line["uid"], line["pid"], line["request_type"], line["verbose"]),
          (0, process.pid, "MSG_CTL_LOG", True))
    service.stop()


def full_disk(policy):
    """A service whose logs are on a file system of 128 KiB."""
    service = Service(policy)
    os.mkdir(service.logs)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=750",
                    "none", service.logs], check=True)
    service.start()
    fill = open(service.logs + "/fill", "wb", buffering=0)
    for size in 4096, 1:
        try:
            while True:
                fill.write(bytes(size))
        except OSError:
            pass
    fill.close()
    return service


@test("a full disk: the service goes on, counts what was lost and says so")
def disk_full():
    service = full_disk("")
    try:
        for _ in range(60):         # to the end of the page it has
            service.is_well()
        whole = len(open(path(service, "engine")).read().splitlines())
        counters = json.loads(service.ctl("show", "counters", "-j").stdout)
        lost = next(counter["value"] for counter in counters
                    if counter["counter"] == "audit_lines_lost")
        equal(lost > 20, True)
        os.unlink(service.logs + "/fill")
        service.is_well()
        equal(service.stop(), 0)
        result = verify(path(service, "engine"))
        equal(result.returncode, 0)
        # One was cut off where the disk was full.
        matches(result.stdout, (WHOLE % "engine") + r"""
  1 were cut off when they were written \(disk full, crash\)
  (\d+) were lost, as the log itself says
  last: [0-9a-f]{64}""")
        told = [line for line in map(
            json.loads, [text for text in open(path(service, "engine"))
                         if text.startswith("{") and text.endswith("}\n")])
                if line["event"] == "lost"]
        equal(len(told), 1)
        equal(told[0]["lines"] >= lost, True)
        equal(whole > 5, True)
    finally:
        service.process.kill()
        service.process.wait()
        subprocess.run(["umount", "-l", service.logs], check=True)


@test("log required: a line that cannot be written ends the service")
def required():
    service = full_disk("log required\n")
    try:
        for _ in range(60):
            if service.ctl("show", "vms").returncode:
                break
        equal(service.process.wait(10), 1)
        equal("audit log cannot be written, and the policy says log "
              "required: No space left on device" in service.stderr(), True)
        equal("usbmgrd: engine (pid %d) ended with status 4"
              % service.pids["engine"] in service.stderr(), True)
    finally:
        subprocess.run(["umount", "-l", service.logs], check=True)


@test("a log that is deleted is made again, and the chain goes on")
def deleted():
    service = Service().start()
    old = {name: open(path(service, name)) for name in LOGS}
    for name in LOGS:
        os.unlink(path(service, name))
    wait_for("new ones", lambda: all(os.path.exists(path(service, name))
                                     and service.log(name) for name in LOGS))
    service.is_well()
    for name in LOGS:
        with open(path(service, name, ".1"), "w") as out:
            out.write(old[name].read())
    equal(service.stop(), 0)
    is_whole(service, ".1", "")
    equal("log file engine.log was deleted; a new one was made"
          in [line.get("message") for line in service.log("usbmgrd")], True)


@test("what is deleted in a directory of before is nobody's log")
def deleted_elsewhere():
    service = Service().start()
    for number in range(3):
        old = "%s.%d" % (service.logs, number)
        os.rename(service.logs, old)
        os.mkdir(service.logs, 0o750)
        service.process.send_signal(signal.SIGUSR1)
        wait_for("new ones", lambda: all(service.log(name) for name in LOGS))
        shutil.rmtree(old)
    os.unlink(path(service, "monitor"))
    wait_for("a new one", lambda: service.log("monitor"))
    equal([line["message"] for line in service.log("usbmgrd")
           if "was deleted" in line.get("message", "")],
          ["log file monitor.log was deleted; a new one was made"])
    equal(service.stop(), 0)


@test("where no logs may be made any more those that are open go on")
def hidden():
    service = Service()
    above = service.path("above")
    os.mkdir(above)
    service.rewrite(service.logs, above + "/log")
    service.logs = above + "/log"
    service.start()
    with open(path(service, "usbmgrd")) as old:
        subprocess.run(["mount", "-t", "tmpfs", "none", above], check=True)
        try:
            # Landlock knows the directory below the mount.
            os.mkdir(service.logs, 0o750)
            service.process.send_signal(signal.SIGUSR1)
            os.kill(service.pids["engine"], signal.SIGKILL)
            lines = []

            def said(text):
                lines.extend(old.readlines())
                return any(text in line
                           for line in lines + list(map(str, service.log(
                               "usbmgrd"))))
            wait_for("another engine", lambda: said("is at work again"))
        finally:
            subprocess.run(["umount", "-l", above], check=True)
    equal(service.stop(), 0)
    is_whole(service, "")


@test("a remainder at the end of a log does not spoil what follows")
def remainder():
    service = Service().start()
    service.stop()
    for name in LOGS:
        with open(path(service, name), "a") as log:
            log.write('{"time":"2026-01-0')
    again(service)
    service.stop()
    for name in LOGS:
        result = verify(path(service, name))
        equal(result.returncode, 0)
        equal("1 were cut off when they were written" in result.stdout, True)
    # Another remainder in its place is seen.
    with open(path(service, "engine")) as log:
        text = log.read()
    with open(service.path("forged.log"), "w") as log:
        log.write(text.replace('{"time":"2026-01-0\n', '{"time":"2026-02-0\n'))
    equal(verify(service.path("forged.log")).returncode, 1)


@test("the file for logrotate, done by logrotate itself")
def logrotate():
    if shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin") is None:
        print("# logrotate is not installed: what its file says is done here")
    service = Service().start()
    with open(ROOT + "/dist/logrotate.in") as template:
        text = template.read()
    equal("pkill -USR1 -x usbmgrd" in text, True)
    with open(service.path("rotate.conf"), "w") as out:
        out.write(text.replace("@LOGDIR@", service.logs).replace(
            "pkill -USR1 -x usbmgrd", "kill -USR1 %d" % service.process.pid))
    for count in 1, 2:
        service.is_well()
        inode = os.stat(path(service, "engine")).st_ino
        try:
            subprocess.run(["/usr/sbin/logrotate", "-f", "-s",
                            service.path("state"),
                            service.path("rotate.conf")],
                           check=True, timeout=20)
        except FileNotFoundError:
            for name in LOGS:
                if count == 2:
                    subprocess.run(["gzip", "-S", "x", path(
                        service, name, ".1")], check=True)
                    os.rename(path(service, name, ".1x"),
                              path(service, name, ".2.gz"))
            rotate(service)
            os.kill(service.process.pid, signal.SIGUSR1)
        wait_for("new logs", lambda: all(
            os.path.exists(path(service, name)) and service.log(name)
            for name in LOGS))
        equal(os.stat(path(service, "engine", ".1")).st_ino, inode)
    service.is_well()
    service.stop()
    for name in LOGS:
        subprocess.run(["gunzip", path(service, name, ".2.gz")], check=True)
    is_whole(service, ".2", ".1", "")


@test("a name in a request cannot break a line")
def hostile():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    service.ctl("attach", "3:9", 'x"}\n{"event":"forged"')
    service.ctl("explain", '3:9"}\n{')
    service.stop()
    equal("forged" in [line["event"] for line in service.log("engine")], False)
    is_whole(service)


run()
