# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""What runs inside of the bed: ports to plug into, machines, usbmgrd.

Whatever is asserted is looked up on the real thing: the kernel's sysfs, the
descriptors of the QEMU process, QEMU's own answers on a second QMP socket.
"""

import errno
import fcntl
import glob
import json
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import time

import kernel
import qmp

HERE = os.path.dirname(os.path.realpath(__file__))
POLICY = "/etc/usbmgrd.conf"
LOGS = "/var/log/usbmgrd"
LOG_NAMES = ["usbmgrd", "engine", "monitor", "qmpclient"]
CONTROL_SOCKET = "/run/usbmgrd.sock"
MACHINES = "/run/qemu"
QEMU_USER = "bed-qemu"
USBFS_MAJOR = 189
USBDEVFS_RESET = ord("U") << 8 | 20     # linux/usbdevice_fs.h
FIRMWARE = "/run/qemu-firmware"     # waits for interrupts which never come
HANDOVER = ["add-fd", "device_add", "remove-fd", "device_del"]
STDERR = "/run/usbmgrd.stderr"

BINARIES = "/run/usbmgrd-build"
PROGRAMS = ["usbmgrd", "usbmgrd-monitor", "usbmgrd-qmpclient", "usbmgrctl"]
SECONDS = 30        # the longest that anything is waited for

MOUSE = {"vendor": "045e", "product": "0823", "manufacturer": "Microsoft",
         "name": "Classic IntelliMouse", "interfaces": ["03:01:02"]}
KEYBOARD = {"vendor": "413c", "product": "2107", "manufacturer": "Dell",
            "name": "USB Keyboard", "interfaces": ["03:01:01"]}
SERIAL = {"vendor": "0403", "product": "6001", "manufacturer": "FTDI",
          "name": "FT232R USB UART", "serial": "A9",
          "interfaces": ["ff:ff:ff"]}
HUB = {"kind": "usb-hub"}
STICK = {"kind": "usb-storage"}
NETWORK = {"kind": "usb-net"}


class Trouble(Exception):
    """The scenario cannot go on."""


class NoStart(Trouble):
    """usbmgrd does not come up: none can go on."""


def wait(what, condition, seconds=SECONDS):
    """The first true value of condition(); Trouble if there is none."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Trouble("not within %d s: %s" % (seconds, what))
        time.sleep(0.05)


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def prepare():
    """Once, before the first machine and the first usbmgrd."""
    user = pwd.getpwnam(QEMU_USER)
    os.makedirs(MACHINES, exist_ok=True)
    os.chown(MACHINES, user.pw_uid, user.pw_gid)
    with open(FIRMWARE, "wb") as file:
        file.write(bytes(65520) + b"\xfa\xf4\xeb\xfd".ljust(16, b"\0"))


def run(*argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=SECONDS,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode != 0:
        raise Trouble("%s: %s" % (" ".join(argv), done.stdout.strip()))


def load(*modules):
    """Loads what the host's kernel does not have yet."""
    for path in kernel.modules(os.environ["KERNEL"], *modules):
        name = os.path.basename(path)[:-len(".ko")].replace("-", "_")
        if not os.path.exists("/sys/module/" + name):
            run("busybox", "insmod", path)


def open_files(pid):
    """{path as of readlink: stat result} of what a process has open."""
    found = {}
    for entry in glob.glob("/proc/%d/fd/*" % pid):
        try:
            found[os.readlink(entry)] = os.stat(entry)
        except FileNotFoundError:
            pass        # closed meanwhile
    return found


def usbfs_open(pid, unplugged=False):
    """(bus, devnum) of each USB device that a process has open; of those
    that are plugged, or of those that are gone.
    """
    numbers = [status.st_rdev for path, status in open_files(pid).items()
               if stat.S_ISCHR(status.st_mode)
               and os.major(status.st_rdev) == USBFS_MAJOR
               and path.endswith(" (deleted)") == unplugged]
    return {(os.minor(number) // 128 + 1, os.minor(number) % 128 + 1)
            for number in numbers}


# The ports

class Ports:
    """The USB ports of this host, served by the program that made it."""

    def __init__(self):
        self.channel = open(os.environ["CONTROL"], "r+b", buffering=0)
        self.used = set()

    def _request(self, **request):
        self.channel.write(json.dumps(request).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += self.channel.read(4096)
        error = json.loads(answer).get("error")
        if error:
            raise Trouble("%r: %s" % (request, error))

    def plug(self, port, device, settle=True):
        """Puts a device in; returns its devnum once the kernel has it."""
        self._request(do="plug", port=port, **device)
        self.used.add(port)
        if not settle:
            return None
        wait("the kernel sees a device in %s" % port,
             lambda: read(sysfs(port) + "/bConfigurationValue"))
        return devnum(port)

    def become(self, port, device):
        """Lets it say other things of itself, and resets it."""
        self._request(do="become", port=port, **device)
        before = devnum(port)
        node = os.open(usbfs_path(port), os.O_WRONLY)
        try:
            fcntl.ioctl(node, USBDEVFS_RESET)
        except OSError as error:        # it is not what it was
            if error.errno != errno.ENODEV:
                raise
        finally:
            os.close(node)
        # It may have the same product; the old one goes after the reset.
        wait("the kernel counts another device in %s" % port,
             lambda: read(sysfs(port) + "/devnum") not in (None, str(before)))
        self.wait_for(port, device)
        return before, devnum(port)

    def wait_for(self, port, device):
        wait("the kernel sees the other device in %s" % port,
             lambda: read(sysfs(port) + "/idProduct") == device["product"]
             and read(sysfs(port) + "/bConfigurationValue"))

    def unplug(self, port, settle=True):
        self._request(do="unplug", port=port)
        self.used.discard(port)
        if settle:
            wait("the kernel sees that %s is empty" % port,
                 lambda: not os.path.exists(sysfs(port)))

    def clear(self):
        """Empties all ports; what is plugged into a hub before the hub."""
        for port in sorted(self.used, key=len, reverse=True):
            self.unplug(port)

    def close(self):
        self.channel.close()


def sysfs(port):
    return "/sys/bus/usb/devices/" + port.replace(":", "-")


def peer(port):
    """Of a controller's port: the port that is the same connector."""
    bus, _, chain = port.partition(":")
    link = os.readlink("/sys/bus/usb/devices/usb%s/%s-0:1.0/usb%s-port%s/peer"
                       % (bus, bus, bus, chain))
    return os.path.basename(link)[len("usb"):].replace("-port", ":")


def devnum(port):
    return int(read(sysfs(port) + "/devnum"))


def address(port):
    """(bus, devnum), as in the name of the device's node."""
    return int(port.partition(":")[0]), devnum(port)


def usbfs_path(port):
    return "/dev/bus/usb/%03d/%03d" % address(port)


def partition(port):
    """The node of the first partition of a stick."""
    found = wait("%s is a disk with a partition" % port, lambda: glob.glob(
        sysfs(port) + "/*/host*/target*/*/block/sd*/sd*1"))
    node = "/dev/" + os.path.basename(found[0])
    wait("%s is there" % node, lambda: os.path.exists(node))
    return node


# Machines

class Machine:
    """A QEMU run by a user who may not open USB devices.

    Its guest is one instruction that waits for ever, so that the machine
    runs and costs nothing. name.qmp is usbmgrd's socket, name.look ours.
    """

    guest = ["-m", "16", "-bios", FIRMWARE]
    controller = ["-device", "qemu-xhci,id=xhci,p2=15,p3=15"]

    def __init__(self, name, options=()):
        self.name = name
        self.options = options
        self.process = None
        self.look = None

    def path(self, suffix):
        return "%s/%s.%s" % (MACHINES, self.name, suffix)

    def start(self):
        for suffix in ("qmp", "look"):
            if os.path.exists(self.path(suffix)):
                os.unlink(self.path(suffix))
        argv = ["setpriv", "--reuid", QEMU_USER, "--regid", QEMU_USER,
                "--clear-groups", "--pdeathsig", "KILL",
                "qemu-system-x86_64", "-name", self.name, "-nodefaults",
                "-display", "none", "-machine", "q35", *self.controller,
                "-trace", "handle_qmp_command", "-D", self.path("log"),
                "-sandbox", "on,obsolete=deny,elevateprivileges=deny,"
                            "spawn=deny,resourcecontrol=deny"]
        for suffix in ("look", "qmp"):
            argv += ["-qmp", "unix:%s,server=on,wait=off" % self.path(suffix)]
        argv += self.guest + list(self.options)
        with open(self.path("err"), "wb") as stderr:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                            stderr=stderr)
        wait("%s's sockets" % self.name,
             lambda: os.path.exists(self.path("qmp")) or self._died())
        self.look = qmp.Connection(self.path("look"))
        return self

    def _died(self):
        if self.process.poll() is not None:
            raise Trouble("%s's QEMU exited with status %d: %s"
                          % (self.name, self.process.returncode,
                             read(self.path("err"))))

    def kill(self, signum=signal.SIGKILL):
        """By default as in a crash: QEMU gets no chance to clean up."""
        if self.process:
            if self.look:
                self.look.close()
                self.look = None
            self.process.send_signal(signum)
            self.process.wait(SECONDS)
            self.process = None

    def holds(self, unplugged=False):
        return usbfs_open(self.process.pid, unplugged)

    def devices(self):
        """QEMU's ids of the host devices that are in the machine."""
        found = self.look.execute("qom-list", path="/machine/peripheral")
        return sorted(entry["name"] for entry in found
                      if entry["type"] == "child<usb-host>")

    def guest_ports(self):
        """What the guest's side of QEMU has: (port, product's name) each."""
        text = self.look.execute("x-query-usb")["human-readable-text"]
        return re.findall(r"Port ([\d.]+), .*Product (.*), ID: usbmgrd", text)

    def commands(self):
        """The QMP commands that QEMU was sent so far, ours left out."""
        lines = (read(self.path("log")) or "").splitlines()
        found = [json.loads(line.partition(" req: ")[2]) for line in lines
                 if line.startswith("handle_qmp_command")]
        return [command for command in found
                if command["execute"] in HANDOVER]


# usbmgrd

class Usbmgrd:
    """The service under test, as root, with a policy file of root's."""

    def __init__(self, build):
        self._install(build)
        self.process = None
        self.last = None
        self.policies = set()
        shutil.rmtree(LOGS, ignore_errors=True)
        open(STDERR, "w").close()

    def _install(self, build):
        """A copy: a compiler at work outside must not be noticed here."""
        os.makedirs(BINARIES, exist_ok=True)
        for program in PROGRAMS:
            path = "%s/%s" % (build, program)
            if not os.access(path, os.X_OK):
                raise SystemExit("%s is not there: run make first" % path)
            if not os.path.exists("%s/%s" % (BINARIES, program)):
                shutil.copy(path, BINARIES)

    def write_policy(self, text):
        self.policies.add(text)
        with open(POLICY, "w") as file:
            file.write(text)

    def start(self):
        """Returns when it answers on its control socket."""
        with open(STDERR, "ab") as stderr:
            self.process = subprocess.Popen(
                [BINARIES + "/usbmgrd", "-f", POLICY, "-d", "-v"],
                stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
                cwd="/")
        try:
            wait("usbmgrd answers on %s" % CONTROL_SOCKET, self._answers)
        except Trouble as trouble:
            raise NoStart(str(trouble)) from None

    def _answers(self):
        if self.process.poll() is not None:
            raise Trouble("usbmgrd exited with status %d"
                          % self.process.returncode)
        return os.path.exists(CONTROL_SOCKET) and \
            self._show("vms") is not None

    def stop(self, signum=signal.SIGTERM):
        """The exit status."""
        process, self.process = self.process, None
        if process is None:
            return None
        process.send_signal(signum)
        try:
            return process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Trouble("usbmgrd still runs %d s after signal %d"
                          % (SECONDS, signum)) from None

    def processes(self):
        """Process ids of the parent and its children."""
        family = [self.process.pid]
        for pid in family:
            children = read("/proc/%d/task/%d/children" % (pid, pid))
            family += map(int, (children or "").split())
        return family

    def usbmgrctl(self, *words):
        """What it prints; None if it fails."""
        done = subprocess.run(
            [BINARIES + "/usbmgrctl", "-s", CONTROL_SOCKET, *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=SECONDS)
        if done.returncode == 0:
            return done.stdout.decode()
        with open(STDERR, "ab") as log:
            log.write(done.stderr)
        return None

    def _show(self, what):
        text = self.usbmgrctl("show", what, "-j")
        return text and json.loads(text)

    def devices(self):
        return {entry["device"]: entry
                for entry in self._show("devices") or []}

    def vms(self):
        return {entry["vm"]: entry for entry in self._show("vms") or []}

    def device(self, port, seconds=SECONDS, **expected):
        """What usbmgrd says of a device, once it says what is expected."""
        def as_expected():
            self.last = self.devices().get(port)
            return self.last and all(self.last.get(key) == value
                                     for key, value in expected.items())
        self.last = None
        try:
            wait("", as_expected, seconds)
        except Trouble:
            raise Trouble("usbmgrctl says of %s %s, not %s"
                          % (port, self.last, expected)) from None
        return self.last

    def log(self, name):
        """The records of one process's audit log."""
        lines = (read("%s/%s.log" % (LOGS, name)) or "").splitlines()
        return [json.loads(line) for line in lines]

    def trail(self, request):
        """What the logs have of one request: of which process, what when.

        The monitor knows only the number of the kernel's uevent; the
        engine's log ties that to the request.
        """
        found = [record for name in LOG_NAMES for record in self.log(name)
                 if record.get("request") == request]
        uevents = {record["uevent"] for record in found if "uevent" in record}
        return found + [record for record in self.log("monitor")
                        if record.get("uevent") in uevents]

    def accounts(self):
        """Whether the logs are whole, and the engine's replays; and why not.

        Where the policy was another one meanwhile, the scenario knows which.
        """
        paths = ["%s/%s.log" % (LOGS, name) for name in LOG_NAMES]
        words = [["audit", "verify", *paths]]
        if len(self.policies) == 1:
            words.append(["replay", "-f", POLICY, paths[1]])
        for command in words:
            done = subprocess.run(
                [BINARIES + "/usbmgrctl", *command],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, timeout=SECONDS,
                check=False)
            if done.returncode != 0:
                return False, done.stderr or done.stdout
        return True, ", ".join(command[0] for command in words)

    def evidence(self):
        """(title, text) of what explains a failure."""
        for path in [POLICY, STDERR] + \
                ["%s/%s.log" % (LOGS, name) for name in LOG_NAMES]:
            yield path, read(path) or ""
        try:
            yield "usbmgrctl show devices", json.dumps(self.devices())
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            yield "usbmgrctl show devices", repr(error)
        yield "dmesg", subprocess.run(
            ["dmesg"], stdout=subprocess.PIPE, text=True, check=False).stdout
