# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Debian's kernel for the bed: fetched, unpacked and cached, not installed."""

import fcntl
import glob
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
import zlib

# What of the package is unpacked, beside the kernel image. The bed, what
# scenarios load, the guests of the demonstration and all that these modules
# depend on.
MODULES = """
    arch/x86/kvm  virt/lib
    block/t10-pi.ko  crypto  lib
    drivers/char/hw_random  drivers/char/virtio_console.ko
    drivers/crypto/ccp
    drivers/hid/hid.ko  drivers/hid/hid-generic.ko  drivers/hid/usbhid
    drivers/input/evdev.ko
    drivers/net/mii.ko  drivers/net/usb/cdc_ether.ko
    drivers/net/usb/rndis_host.ko  drivers/net/usb/usbnet.ko
    drivers/scsi/scsi_common.ko  drivers/scsi/scsi_mod.ko
    drivers/scsi/sd_mod.ko
    drivers/usb/common  drivers/usb/core  drivers/usb/host
    drivers/usb/storage/usb-storage.ko
    drivers/virtio
    fs/9p  fs/fscache  fs/minix  fs/netfs  fs/overlayfs  net/9p
""".split()


class Missing(Exception):
    """Something that the bed cannot do without; the text says what to do."""


def _command(*argv, cwd=None):
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=300)
    if done.returncode != 0:
        raise Missing("%s: %s" % (" ".join(argv), done.stderr.strip()))
    return done.stdout


def _package_name():
    out = _command("apt-cache", "depends", "linux-image-amd64")
    found = re.search(r"Depends: (linux-image-\S+)", out)
    if not found:
        raise Missing("apt-cache does not know linux-image-amd64: "
                      "the package lists are empty, run apt-get update")
    return found.group(1)


def _download(directory, say):
    """The package file in directory; the lists are renewed if they are old."""
    try:
        name = _package_name()
        say("fetching %s (70 MB, once)" % name)
        _command("apt-get", "-q", "download", name, cwd=directory)
    except Missing:
        root = [] if os.getuid() == 0 else ["sudo"]
        say("the package lists are old: apt-get update")
        _command(*root, "apt-get", "-q", "update")
        name = _package_name()
        _command("apt-get", "-q", "download", name, cwd=directory)
    return glob.glob(directory + "/linux-image-*.deb")[0]


def _unpack(package, directory):
    listing = ["./boot/vmlinuz-*"]
    listing += ["./lib/modules/*/kernel/" + name for name in MODULES]
    archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package],
                               stdout=subprocess.PIPE)
    tar = subprocess.run(["tar", "-x", "--wildcards", "-C", directory,
                           *listing], stdin=archive.stdout, timeout=300)
    archive.stdout.close()
    if archive.wait() != 0 or tar.returncode != 0:
        raise Missing("%s cannot be unpacked" % package)


def _uncompressed(image):
    """The ELF file inside of a bzImage.

    QEMU starts it through PVH, and the guest saves the decompression, which
    is slow when it is emulated. Offsets: Documentation/x86/boot.rst.
    """
    sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    return lzma.LZMADecompressor().decompress(image[start:start + length])


def prepare(cache, say):
    """Directory with vmlinux, version and lib/modules, made if need be."""
    wanted = zlib.crc32(" ".join(MODULES).encode())
    ready = os.path.join(cache, "kernel.%08x" % wanted)
    if os.path.exists(ready):
        return ready
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)        # one of several beds does it
        if not os.path.exists(ready):
            _make(cache, ready, say)
    return ready


def _make(cache, ready, say):
    with tempfile.TemporaryDirectory(prefix="kernel.", dir=cache,
                                     ignore_cleanup_errors=True) as work:
        os.chmod(work, 0o755)
        package = _download(work, say)
        say("unpacking it")
        _unpack(package, work)
        os.unlink(package)
        image = glob.glob(work + "/boot/vmlinuz-*")[0]
        version = image.split("vmlinuz-")[1]
        with open(image, "rb") as src, open(work + "/vmlinux", "wb") as dst:
            dst.write(_uncompressed(src.read()))
        shutil.rmtree(work + "/boot")
        _command("busybox", "depmod", "-b", work, version)
        with open(work + "/version", "w") as out:
            out.write(version)
        os.rename(work, ready)


def modules(kernel, *names):
    """Files of the named modules and what they need, in order of loading."""
    with open(kernel + "/version") as text:
        base = kernel + "/lib/modules/" + text.read()
    needs = {}
    with open(base + "/modules.dep") as text:
        for line in text:
            path, _, rest = line.partition(":")
            needs[os.path.basename(path)] = (path, rest.split())
    order = []

    def add(path):
        for need in needs[os.path.basename(path)][1]:
            add(need)
        full = os.path.join(base, needs[os.path.basename(path)][0])
        if full not in order:
            order.append(full)

    for name in names:
        add(name + ".ko")
    return order
