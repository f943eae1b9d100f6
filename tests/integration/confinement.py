# SPDX-License-Identifier: MIT
"""Takes things away from a program that a test starts: system calls, lockable memory,
capabilities, CPUs, its network; and sysctls from the whole machine, for a moment.

What refuse() and the others return is for subprocess's preexec_fn; several go together with
all_of(). What Sysctl changes is put back whatever becomes of the test.
"""
import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import socket
import struct
import time

# <linux/prctl.h>, <linux/seccomp.h>, <linux/filter.h>, <linux/capability.h>; the same everywhere.
PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 22, 24, 38
SECCOMP_MODE_FILTER = 2
CAP_NET_ADMIN, CAP_IPC_LOCK, CAP_SYS_ADMIN = 12, 14, 21
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, RETURN, EQUAL = 0x20, 0x06, 0x15
NUMBER_AT, ARGUMENTS_AT = 0, 16  # of struct seccomp_data; the low half of an argument comes first

# The same numbers on all architectures.
IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER = 425, 426, 427
# Operations of io_uring_register: its second argument (<linux/io_uring.h>).
ENABLE_RINGS, PBUF_RING, SYNC_CANCEL = 12, 22, 24

libc = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def why_no_filters():
    """None where refuse() works."""
    if platform.machine() not in ("x86_64", "aarch64", "riscv64"):
        return f"no system call numbers for {platform.machine()}"
    return None


def prctl(what, *arguments):
    padded = [*arguments, 0, 0, 0, 0][:4]
    if libc.prctl(what, *padded) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({what})")


def refuse(system_call, error, operation=None):
    """That call answers `error`; with `operation`, only if that is its second argument."""
    def instruction(code, value, skipped=0):
        return struct.pack("HBBI", code, 0, skipped, value)  # skipped when not equal
    code = [instruction(LOAD, NUMBER_AT)]
    if operation is None:
        code += [instruction(EQUAL, system_call, 1)]
    else:
        code += [instruction(EQUAL, system_call, 3), instruction(LOAD, ARGUMENTS_AT + 8),
                 instruction(EQUAL, operation, 1)]
    code += [instruction(RETURN, ERRNO | error), instruction(RETURN, ALLOW)]

    def install():
        program = Program(len(code), b"".join(code))
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))
    return install


def drop_capability(capability):
    """Root that starts a program has what the bounding set has; others have none of these."""
    def install():
        if os.geteuid() == 0:
            prctl(PR_CAPBSET_DROP, capability)
    return install


def limit_locked_memory(size):
    def install():
        drop_capability(CAP_IPC_LOCK)()
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (size, size))
    return install


def limit_descriptors(count):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def run_on_cpus(cpus):
    return lambda: os.sched_setaffinity(0, cpus)


def leave_network():
    """Into a fresh network namespace, where loopback is down."""
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")


def raise_loopback():
    """After leave_network()."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        wanted = struct.pack("16sH22x", b"lo", IFF_UP)  # struct ifreq
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, wanted)


def mount_empty(where):
    """In a mount namespace of its own."""
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNS)")
    for what, here, kind, flags in ((None, b"/", None, MS_REC | MS_PRIVATE),
                                    (b"none", where, b"tmpfs", 0)):
        if libc.mount(what, here, kind, ctypes.c_ulong(flags), None) != 0:
            raise OSError(ctypes.get_errno(), "mount")


def hide_proc():
    """Into a mount namespace of its own, where /proc is empty."""
    mount_empty(b"/proc")


def show_cgroups(**texts):
    """Into a mount namespace of its own, where /sys/fs/cgroup has these files and no others; of
    their names' dots the first is given as an underscore: cpu_max."""
    def install():
        mount_empty(b"/sys/fs/cgroup")
        for name, text in texts.items():
            with open("/sys/fs/cgroup/" + name.replace("_", ".", 1), "w", encoding="ascii") as file:
                file.write(text)
    return install


def why_not(installer):
    """None where it works, in a child."""
    child = os.fork()
    if child == 0:
        try:
            installer()
        except OSError as why:
            os._exit(why.errno or errno.EPERM)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if status == 0 else f"{installer.__name__}: {os.strerror(abs(status))}"


def all_of(*installers):
    def install():
        for one in installers:
            one()
    return install


def path_of(name):
    return "/proc/sys/" + name.replace(".", "/")


def read_sysctl(name):
    with open(path_of(name), encoding="ascii") as file:
        return file.read().strip()


def write_sysctl(name, value):
    with open(path_of(name), "w", encoding="ascii") as file:
        file.write(value)


def why_not_sysctl(name):
    """None where it can be changed: writes what is there already."""
    try:
        write_sysctl(name, read_sysctl(name))
    except OSError as why:
        return f"{name} cannot be changed here: {why.strerror}"
    return None


@contextlib.contextmanager
def sysctl(name, value):
    """Holds a sysctl at a value. It is put back when the block ends; if the test is ended or
    killed, by a process that waits for that."""
    before = read_sysctl(name)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # A session of its own, and init's child: what ends this test's tree does not reach it.
        os.setsid()
        if os.fork() == 0:
            for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(ignored, signal.SIG_IGN)
            os.close(writer)
            # Not to hold the pipes that ctest waits for.
            nowhere = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(nowhere, standard)
            if not os.read(reader, 1):
                write_sysctl(name, before)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(reader)
    try:
        write_sysctl(name, value)
        yield
    finally:
        write_sysctl(name, before)
        os.write(writer, b"!")
        os.close(writer)


def wait_until(condition, seconds):
    """For what another process does: looks every few milliseconds, with a deadline."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.005)
