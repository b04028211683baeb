#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""`make install` puts there what it should, and that works where it is;
`make uninstall` takes it away again."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../proc"))

from service import (BUILD, LOGS, ROOT, Service, equal,       # noqa: E402
                     run, status_of, test)

# What is installed below /usr/local and /etc, by mode.
WANT = {
    0o755: """
        PREFIX/sbin/usbmgrd PREFIX/sbin/usbmgrctl
        PREFIX/libexec/usbmgrd/usbmgrd-monitor
        PREFIX/libexec/usbmgrd/usbmgrd-qmpclient
        ETC/init.d/usbmgrd""",
    0o644: """
        PREFIX/share/man/man8/usbmgrd.8 PREFIX/share/man/man8/usbmgrctl.8
        PREFIX/share/man/man5/usbmgrd.conf.5
        PREFIX/lib/systemd/system/usbmgrd.service
        PREFIX/lib/sysusers.d/usbmgrd.conf PREFIX/lib/tmpfiles.d/usbmgrd.conf
        PREFIX/share/bash-completion/completions/usbmgrctl
        PREFIX/share/zsh/site-functions/_usbmgrctl
        ETC/logrotate.d/usbmgrd ETC/usbmgrd.conf"""
}


class Tree:
    """A build of its own, a copy, and the places that it is installed to.

    What has paths in it is compiled anew for these, and nothing else.
    """

    def __init__(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="usbmgrd-test."))
        os.chmod(self.dir, 0o755)
        self.build = self.path("build")
        os.mkdir(self.build)
        shutil.copytree(BUILD + "/obj", self.build + "/obj")
        self.prefix, self.etc = self.path("usr"), self.path("etc")
        self.run = self.path("run")
        self.logs = self.path("log/usbmgrd")

    def path(self, name):
        return os.path.join(self.dir, name)

    def make(self, *words, stage=""):
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith("MAKE") and key != "B"}
        result = subprocess.run(
            ["make", "-s", "-C", ROOT, "B=" + self.build,
             "PREFIX=" + self.prefix, "SYSCONFDIR=" + self.etc,
             "RUNDIR=" + self.run, "LOGDIR=" + self.logs,
             "INITDIR=" + self.etc + "/init.d",
             "DESTDIR=" + stage, *words], env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        equal((result.returncode, result.stdout if result.returncode else ""),
              (0, ""))
        return result.stdout

    def want(self, stage=""):
        """Path: mode, of all that is to be there."""
        return {stage + name.replace("PREFIX", self.prefix).replace(
            "ETC", self.etc): mode for mode, names in WANT.items()
                for name in names.split()}

    def installed(self, stage=""):
        found = {}
        for top in self.prefix, self.etc:
            for directory, names, files in os.walk(stage + top):
                equal(os.stat(directory).st_mode & 0o7777, 0o755)
                for name in files:
                    path = os.path.join(directory, name)
                    status = os.stat(path)
                    found[path] = status.st_mode & 0o7777
                    equal((status.st_uid, status.st_gid), (0, 0))
        return found


TREE = None


def tree():
    """Compiling takes seconds: the tests share it, and use it in turn."""
    global TREE
    if TREE is None:
        TREE = Tree()
    return TREE


def read(path):
    with open(path) as file:
        return file.read()


@test("into DESTDIR, twice: the same files, and a policy is never overwritten")
def staged():
    t = tree()
    stage = t.path("stage")
    os.umask(0o077)
    try:
        t.make("install", stage=stage)
        equal(t.installed(stage), t.want(stage))
        policy = stage + t.etc + "/usbmgrd.conf"
        text = read(policy)
        with open(policy, "a") as out:
            out.write("# mine\n")
        equal("stays as it is" in t.make("install", stage=stage), True)
    finally:
        os.umask(0o022)
    equal(t.installed(stage), t.want(stage))
    equal(read(policy), text + "# mine\n")
    equal("is left" in t.make("uninstall", stage=stage), True)
    equal(list(t.installed(stage)), [policy])
    # As it was installed it goes, too.
    with open(policy, "w") as out:
        out.write(text)
    t.make("install", stage=stage)
    t.make("uninstall", stage=stage)
    equal(t.installed(stage), {})
    equal(os.path.exists(stage + t.prefix + "/libexec/usbmgrd"), False)


@test("a part without a directory is left out")
def left_out():
    t = tree()
    stage = t.path("part")
    t.make("install", "INITDIR=", "ZSHDIR=", stage=stage)
    equal(t.installed(stage), {
        path: mode for path, mode in t.want(stage).items()
        if "/init.d/" not in path and "/zsh/" not in path})


@test("the paths in what is installed are those that were asked for")
def paths():
    t = tree()
    t.make("install")
    equal(t.installed(), t.want())
    for path in t.want():
        if os.path.dirname(path).endswith(("/sbin", "/libexec/usbmgrd")):
            continue
        text = read(path)
        equal(re.findall(r"@[A-Z]+@", text), [])
        for other in ("/usr/local/sbin", "/etc/usbmgrd", "/run/usbmgrd.sock",
                      "/var/log/usbmgrd"):
            equal((path, re.findall(r"(?<!\w)" + other,
                                    text.replace(t.dir, "DIR"))), (path, []))


@test("the policy that is installed passes nothing, and says so")
def policy():
    t = tree()
    result = subprocess.run(
        [t.prefix + "/sbin/usbmgrd", "-nv"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=10)
    equal((result.returncode, result.stderr), (0, "configuration OK\n"))
    equal("\nblock all\n" in result.stdout, True)
    equal("\npass" in result.stdout, False)
    # What it teaches is correct, too.
    taught = t.path("taught.conf")
    with open(taught, "w") as out:
        out.write(re.sub(r"(?m)^#([a-z])", r"\1",
                         read(t.etc + "/usbmgrd.conf")))
    result = subprocess.run(
        [t.prefix + "/sbin/usbmgrd", "-nv", "-f", taught],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=10)
    equal((result.returncode, result.stderr), (0, "configuration OK\n"))
    equal(result.stdout.count("\npass ") > 4, True)


@test("systemd takes the unit and the users")
def systemd():
    t = tree()
    if shutil.which("systemd-analyze") is None:
        print("# systemd is not installed")
        return
    unit = t.prefix + "/lib/systemd/system/usbmgrd.service"
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=20)
    equal((result.returncode, [line for line in result.stdout.splitlines()
                               if "usbmgrd" in line]), (0, []))
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=31",
         unit], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=20)
    print("# " + result.stdout.splitlines()[-1])
    equal(result.returncode, 0)
    os.makedirs(t.path("root/etc"))
    subprocess.run(["systemd-sysusers", "--root=" + t.path("root"),
                    t.prefix + "/lib/sysusers.d/usbmgrd.conf"],
                   stderr=subprocess.DEVNULL, check=True, timeout=20)
    equal(sorted(line.split(":")[0] for line in
                 read(t.path("root/etc/passwd")).splitlines()
                 if "usbmgrd" in line),
          ["_usbmgrd-engine", "_usbmgrd-monitor", "_usbmgrd-qmp"])
    equal("\nusbmgrd:" in "\n" + read(t.path("root/etc/group")), True)
    os.makedirs(t.path("root/var/log"))
    subprocess.run(["systemd-tmpfiles", "--create", "--root=" + t.path("root"),
                    t.prefix + "/lib/tmpfiles.d/usbmgrd.conf"],
                   check=True, timeout=20)
    equal(os.stat(t.path("root") + t.logs).st_mode & 0o7777, 0o750)


@test("shells and logrotate take their files")
def scripts():
    t = tree()
    for shell, name in [("sh", t.etc + "/init.d/usbmgrd"), (
            "bash", t.prefix + "/share/bash-completion/completions/usbmgrctl")]:
        subprocess.run([shell, "-n", name], check=True, timeout=10)
    try:
        subprocess.run(["/usr/sbin/logrotate", "-d", t.etc +
                        "/logrotate.d/usbmgrd"], check=True, timeout=20,
                       stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        print("# logrotate is not installed")


@test("what is installed starts, confined, and answers")
def works():
    t = tree()
    os.mkdir(t.run)
    os.mkdir(os.path.dirname(t.logs))
    service = Service()
    # All paths are those compiled in, so it needs no option.
    os.unlink(service.conf)
    service.conf = t.etc + "/usbmgrd.conf"
    service.socket = t.run + "/usbmgrd.sock"
    service.programs, service.logs = t.prefix + "/sbin", t.logs
    service.start()
    programs = {"engine": "sbin/usbmgrd",
                "monitor": "libexec/usbmgrd/usbmgrd-monitor",
                "qmpclient": "libexec/usbmgrd/usbmgrd-qmpclient"}
    for name, pid in service.pids.items():
        equal(os.readlink("/proc/%d/exe" % pid),
              os.path.join(t.prefix, programs[name]))
    for pid in [service.process.pid, *service.family().values()]:
        equal(status_of(pid, "Seccomp"), ["2"])
        equal(status_of(pid, "NoNewPrivs"), ["1"])
    ctl = [t.prefix + "/sbin/usbmgrctl"]
    equal(subprocess.run(ctl + ["reload"], stdout=subprocess.PIPE, text=True,
                         check=True, timeout=10).stdout,
          "policy loaded: 0 machines, 1 rules\n")
    subprocess.run(ctl + ["show", "devices"], stdout=subprocess.DEVNULL,
                   check=True, timeout=10)
    equal(service.stop(), 0)
    equal(sorted(os.listdir(t.logs)), sorted(name + ".log" for name in LOGS))


@test("nothing is left after uninstall")
def uninstalled():
    t = tree()
    t.make("uninstall")
    equal(t.installed(), {})


try:
    run()
finally:
    if TREE is not None:
        shutil.rmtree(TREE.dir)
