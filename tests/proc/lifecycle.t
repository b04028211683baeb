#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""usbmgrd starts, works confined, and ends; or says why it does not start."""

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (BUILD, CHILDREN, FIRST_ID, LOGS,         # noqa: E402
                     USERS, Service, equal, is_alive, matches, run,
                     set_accounts, start, status_of, test, wait_for)


def refused(service, pattern, status=1):
    """It ends at once, with nothing on stderr but this."""
    service.launch()
    equal(service.end(), status)
    matches(service.stderr(), pattern)


@test("start, SIGTERM, exit status 0, nothing left")
def start_and_stop():
    service = Service().start()
    mode = os.stat(service.socket)
    equal((stat.S_IMODE(mode.st_mode), mode.st_uid, mode.st_gid),
          (0o660, 0, 0))
    equal(service.stop(), 0)
    matches(service.stderr(), r"(.*listening to uevents.*\n)?"
            r"usbmgrd: started: 0 machines, 1 rules")


@test("SIGINT is as good")
def interrupt():
    service = Service().start()
    service.process.send_signal(signal.SIGINT)
    equal(service.end(), 0)


@test("SIGTERM during the start")
def stop_at_start():
    service = Service()
    for milliseconds in range(0, 60, 3):
        service.launch()
        time.sleep(milliseconds / 1000)
        # Before it blocks signals there is nothing to leave behind.
        equal(service.stop() in (0, -signal.SIGTERM), True)


@test("SIGHUP during the start: the policy is read again after it")
def reload_at_start():
    service = Service().launch()
    hangup = 1 << signal.SIGHUP - 1
    wait_for("blocked signals", lambda: int(
        status_of(service.process.pid, "SigBlk")[0], 16) & hangup)
    service.process.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: any(
        line.get("message", "").startswith("policy loaded")
        for line in service.log("usbmgrd")))
    equal(service.stop(), 0)


@test("started without the standard descriptors")
def no_descriptors():
    service = Service()
    service.process = start(
        ["sh", "-c", 'exec "$0" -f "$1" <&- >&- 2>&-',
         BUILD + "/usbmgrd", service.conf])
    wait_for("start", service.has_started, 15)
    service.pids = service.children()
    for fd in 0, 1, 2:
        equal(os.readlink("/proc/%d/fd/%d" % (service.process.pid, fd)),
              "/dev/null")
    os.kill(service.pids["monitor"], signal.SIGKILL)
    wait_for("another monitor", lambda: any(
        line["event"] == "child-restarted"
        for line in service.log("usbmgrd")))
    equal(service.stop(), 0)


@test("signals to the children do not end the service")
def signals_to_children():
    service = Service().start()
    for pid in service.pids.values():
        for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP,
                      signal.SIGUSR1, signal.SIGPIPE):
            os.kill(pid, signo)
    service.is_well()


@test("the children end when the parent is killed, the next start succeeds")
def parent_killed():
    service = Service().start()
    service.process.kill()
    service.process.wait()
    for name, pid in service.pids.items():
        wait_for("end of " + name, lambda: not is_alive(pid))
    equal(os.path.lexists(service.socket), True)
    os.rename(service.logs, service.path("log.old"))
    service.start()
    equal(service.stop(), 0)


@test("each child runs as its own user, without capabilities")
def users():
    service = Service().start()
    for child, user in zip(("engine", "monitor", "qmpclient"), USERS):
        pid = service.pids[child]
        account = pwd.getpwnam(user)
        equal(status_of(pid, "Uid"), [str(account.pw_uid)] * 4)
        equal(status_of(pid, "Gid"), [str(account.pw_gid)] * 4)
        equal(status_of(pid, "Groups"), [str(account.pw_gid)])
        for kind in "CapInh", "CapPrm", "CapEff", "CapAmb":
            equal(int(status_of(pid, kind)[0], 16), 0)


@test("each process is filtered and has no new privileges")
def filtered():
    service = Service().start()
    for pid in [service.process.pid, *service.family().values()]:
        equal(status_of(pid, "Seccomp"), ["2"])
        equal(status_of(pid, "NoNewPrivs"), ["1"])


@test("each child has a root of its own with next to nothing in it")
def roots():
    service = Service().start()
    want = {"engine": [], "qmpclient": [], "monitor": ["sys"]}
    if os.path.exists("/run/udev"):
        want["monitor"] = ["run", "sys"]
    for child, names in want.items():
        root = "/proc/%d/root" % service.pids[child]
        equal(sorted(os.listdir(root)), names)
        equal(bool(os.statvfs(root).f_flag & os.ST_RDONLY), True)
        equal(os.readlink("/proc/%d/cwd" % service.pids[child]), "/")
    monitor = "/proc/%d/root" % service.pids["monitor"]
    equal(bool(os.statvfs(monitor + "/sys").f_flag & os.ST_RDONLY), True)
    if "run" in want["monitor"]:
        equal(os.listdir(monitor + "/run"), ["udev"])


@test("no process has a descriptor that it does not need")
def descriptors():
    service = Service()
    with open("/etc/passwd") as leak:
        os.set_inheritable(leak.fileno(), True)
        os.dup2(leak.fileno(), 77)
        with open(service.path("stderr"), "ab") as err:
            service.process = start(
                [BUILD + "/usbmgrd", "-f", service.conf], stdout=err,
                stderr=err, close_fds=False)
        os.close(77)
    wait_for("start", service.has_started)
    service.pids = service.children()
    log = service.logs + "/%s.log"
    std = ["/dev/null"] * 2 + [service.path("stderr")]
    loop = ["anon_inode:[eventpoll]"]
    # Parent, two siblings, and the socket that clients connect to.
    equal(open_files(service.pids["engine"]),
          sorted(std + loop + [log % "engine"] + ["socket"] * 4))
    # Parent, engine, uevents.
    equal(open_files(service.pids["monitor"]),
          sorted(std + loop + [log % "monitor"] + ["socket"] * 3 +
                 ["/sys", "/proc/%d/mountinfo" % service.process.pid,
                  "/proc/swaps"]))
    equal(open_files(service.pids["qmpclient"]),
          sorted(std + loop + [log % "qmpclient"] + ["socket"] * 2))
    # Three children, the one that starts them, and a copy of the control
    # socket; the rest is opened below directories that it holds.
    std = ["/dev/null"] + [service.path("stderr")] * 2
    usbfs = [f for f in open_files(service.process.pid)
             if f in ("/dev", "/dev/bus/usb")]
    equal(open_files(service.process.pid),
          sorted(std + loop + [log % "usbmgrd"] + ["socket"] * 5 + usbfs +
                 [service.logs, "/proc/%d" % service.process.pid,
                  "anon_inode:[signalfd]", "anon_inode:inotify",
                  "anon_inode:inotify"]))
    equal(open_files(service.family()["spawner"]), sorted(std + ["socket"]))


def open_files(pid):
    directory = "/proc/%d/fd" % pid
    return sorted(re.sub(r"^(socket|pipe):.*", r"\1",
                         os.readlink("%s/%s" % (directory, fd)))
                  for fd in os.listdir(directory))


@test("the environment does not reach the children")
def environment():
    service = Service().start()
    for pid in service.pids.values():
        equal(open("/proc/%d/environ" % pid).read().strip("\0"), "")


@test("what starts the children is a process of its own")
def spawner():
    service = Service().start()
    pid = service.family()["spawner"]
    equal(open("/proc/%d/cmdline" % pid).read().split("\0")[0],
          "usbmgrd: spawner")
    service.process.kill()
    wait_for("its end", lambda: not is_alive(pid))


@test("installed where sbin is a symbolic link to bin")
def merged():
    with open(BUILD + "/obj/paths") as file:
        sbin, libexec = file.read().split()[:2]
    prefix = os.path.commonpath([sbin, libexec])
    if prefix in ("/", "/usr"):
        print("# compiled for %s, which cannot be hidden here" % prefix)
        return
    subprocess.run(["mount", "-t", "tmpfs", "none", prefix], check=True)
    try:
        os.makedirs(libexec)
        os.mkdir(os.path.dirname(sbin) + "/bin")
        os.symlink("bin", sbin)
        shutil.copy2(BUILD + "/usbmgrd", sbin)
        for name in "monitor", "qmpclient":
            shutil.copy2(BUILD + "/usbmgrd-" + name, libexec)
        service = Service()
        service.programs = sbin
        service.start()
        equal(service.stop(), 0)
    finally:
        subprocess.run(["umount", "-l", prefix], check=True)


@test("a second usbmgrd on the same socket is refused, the first undisturbed")
def second():
    first = Service().start()
    before = first.log("usbmgrd")
    second = Service()
    second.rewrite(second.dir, first.dir)
    second.launch()
    equal(second.process.wait(10), 1)
    matches(second.stderr(), "usbmgrd: another usbmgrd serves %s already"
            % first.socket)
    first.is_well()
    equal(first.log("usbmgrd"), before)
    equal(first.stop(), 0)


@test("a socket that nobody serves is replaced")
def stale():
    service = Service(group="usbmgrd")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(service.socket)
    service.start()
    service.is_well()
    mode = os.stat(service.socket)
    equal((stat.S_IMODE(mode.st_mode), mode.st_uid, mode.st_gid),
          (0o660, 0, FIRST_ID + len(USERS)))


@test("a socket of another kind that somebody has is not")
def other_socket():
    service = Service()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(service.socket)
        service.launch()
        equal(service.process.wait(10), 1)
        equal(os.path.lexists(service.socket), True)
        matches(service.stderr(), "usbmgrd: another usbmgrd serves %s already"
                % service.socket)


@test("a file that is no socket is not")
def no_socket():
    service = Service()
    with open(service.socket, "w") as out:
        out.write("precious")
    service.launch()
    equal(service.process.wait(10), 1)
    matches(service.stderr(),
            "usbmgrd: control socket %s: File exists" % service.socket)
    equal(open(service.socket).read(), "precious")
    os.unlink(service.socket)
    os.mkdir(service.socket)
    service.launch()
    equal(service.process.wait(10), 1)


@test("no directory for the socket")
def no_directory():
    service = Service()
    service.rewrite("/ctl.sock", "/no/ctl.sock")
    refused(service, "usbmgrd: control socket %s: No such file or directory"
            % service.path("no/ctl.sock"))


@test("not root")
def not_root():
    service = Service()
    result = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         BUILD + "/usbmgrd", "-f", service.conf],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        timeout=10)
    equal(result.returncode, 1)
    matches(result.stderr, "usbmgrd: must be started by root")


@test("users that are missing are named")
def no_users():
    text = ("usbmgrd: user {1}, whom the {0} is to run as, does not exist; "
            "run {2}useradd --system --user-group --home-dir /nonexistent "
            "--shell /usr/sbin/nologin {1}\n")
    pairs = list(zip(CHILDREN, USERS))
    for missing in pairs[1:2], pairs:
        set_accounts(users=[user for pair in pairs for user in pair[1:]
                            if pair not in missing])
        refused(Service(), "".join(text.format(
            *pair, "systemd-sysusers, or ") for pair in missing))
    set_accounts()
    refused(Service('process engine user "nobody-here"\n'),
            text.format("engine", "nobody-here", ""))
    set_accounts()


@test("the group of the socket is missing")
def no_group():
    refused(Service(group="no-such"),
            "usbmgrd: group no-such of the control socket does not exist; "
            "make it: groupadd --system no-such")


@test("two users that are one are refused")
def same_users():
    with open("/etc/passwd", "a") as out:
        out.write("twin:x:%d:%d::/nonexistent:/usr/sbin/nologin\n"
                  % (FIRST_ID, FIRST_ID + 9))
    refused(Service('process qmpclient user "twin"\n'),
            "usbmgrd: user twin has the number of _usbmgrd-engine: each "
            "process needs its own")
    set_accounts()


@test("users that are root are refused")
def root_users():
    set_accounts(first=0, groups=[])
    refused(Service(), "usbmgrd: user _usbmgrd-engine must not have the user "
            "or group number of root")
    set_accounts()


@test("the log directory is made, the logs are in it")
def log_directory():
    service = Service().start()
    made = os.stat(service.logs)
    equal((stat.S_IMODE(made.st_mode), made.st_uid), (0o750, 0))
    for name in LOGS:
        log = os.stat("%s/%s.log" % (service.logs, name))
        equal((stat.S_IMODE(log.st_mode), log.st_uid), (0o640, 0))
        lines = service.log(name)
        equal([line["seq"] for line in lines],
              list(range(1, len(lines) + 1)))
        equal({line["process"] for line in lines}, {name})


@test("a log directory whose parent is missing")
def no_log_parent():
    service = Service()
    service.rewrite('/log"', '/no/log"')
    refused(service, "usbmgrd: log directory %s: No such file or directory"
            % service.path("no/log"))


@test("a log directory that others may write to")
def open_log_directory():
    for owner, mode in (0, 0o770), (0, 0o757), (FIRST_ID, 0o750):
        service = Service()
        os.mkdir(service.logs)
        os.chmod(service.logs, mode)
        os.chown(service.logs, owner, 0)
        refused(service, "usbmgrd: log directory %s must be owned by root "
                "and writable by nobody else" % service.logs)


@test("a log directory that is none")
def no_log_directory():
    service = Service()
    open(service.logs, "w").close()
    refused(service, "usbmgrd: log directory %s: Not a directory"
            % service.logs)
    service = Service()
    os.mkdir(service.path("elsewhere"))
    os.symlink("elsewhere", service.logs)
    refused(service, "usbmgrd: log directory %s: Too many levels of symbolic "
            "links" % service.logs)
    service = Service()
    os.mkdir(service.logs)
    os.symlink("/etc/passwd", service.logs + "/usbmgrd.log")
    refused(service, "usbmgrd: log file usbmgrd.log: Too many levels of "
            "symbolic links")


@test("SIGUSR1 opens the logs again")
def rotate():
    service = Service().start()
    for name in LOGS:
        os.rename("%s/%s.log" % (service.logs, name),
                  "%s/%s.old" % (service.logs, name))
    service.process.send_signal(signal.SIGUSR1)
    wait_for("a line in the new log", lambda: service.log("usbmgrd"))
    wait_for("the engine's new log",
             lambda: os.path.exists(service.logs + "/engine.log"))
    service.is_well()       # which the engine logs
    wait_for("it", lambda: service.log("engine"))
    equal([line["event"] for line in service.log("engine")],
          ["log-opened", "control"])
    for name in LOGS:
        log = os.stat("%s/%s.log" % (service.logs, name))
        equal((stat.S_IMODE(log.st_mode), log.st_uid), (0o640, 0))
        # The old one is closed.
        pid = service.pids.get(name, service.process.pid)
        equal([f for f in open_files(pid) if f.endswith(".old")], [])
    equal(service.stop(), 0)


@test("-d logs to stderr, -v more")
def debug():
    service = Service().start("-d", "-v")
    equal(service.stop(), 0)
    matches(service.stderr(), r"(?s).*usbmgrd: engine: confined by system "
            r"call filter .*\nusbmgrd: ended; devices stay in their machines")


@test("usbmgrctl: exit status 3 without a daemon, 2 for wrong usage")
def ctl():
    service = Service()
    result = service.ctl("show", "devices")
    equal((result.returncode, result.stdout), (3, ""))
    message = ("usbmgrctl: usbmgrd is not running: nobody serves %s"
               % service.socket)
    matches(result.stderr, message)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(service.socket)
    result = service.ctl("show", "vms")
    equal(result.returncode, 3)
    matches(result.stderr, message)
    for arguments in ((), ("show",), ("show", "vms", "more"), ("-x",),
                      ("show", "rules?"), ("-j",), ("vms",)):
        result = service.ctl(*arguments)
        equal((result.returncode, result.stdout), (2, ""))
        matches(result.stderr, r"(?s)usage: usbmgrctl .*|"
                r"usbmgrctl: .*expected .*")


run()
