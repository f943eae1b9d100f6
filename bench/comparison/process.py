# SPDX-License-Identifier: MIT
"""Children: started in a process group of their own, awaited with a bound, ended by their id."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from types import TracebackType

LISTEN_LIMIT_S = 5.0
STOP_LIMIT_S = 5.0
LINE_SIZE_MAX = 4096

# What a program ends with when it lacks a library, as CMake's and Automake's tests do.
EXIT_SKIPPED = 77

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ChildFailed(Exception):
    """A contestant did not do its part; the message says what."""


class ChildSkipped(Exception):
    """A contestant cannot take part on this machine; the message says why."""


def _before_exec(cpus: frozenset[int] | None) -> Callable[[], None]:
    def prepare() -> None:
        # Nobody else would end the child of a driver that was killed (prctl(2), Linux 2.1.57).
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
    return prepare


def cpu_ns(pid: int) -> int:
    """CPU time, user and system, of all threads of a process that has not been reaped.

    This is the first field of /proc/PID/task/*/schedstat, summed, but up to date for a thread that
    runs right now and including threads that have ended (clock_getcpuclockid(3); the number is made
    as in the kernel's include/linux/posix-timers_types.h: ~pid << 3 | CPUCLOCK_SCHED).
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


class Child:
    """A program of ours. Use with `with`: leaving it ends the program, whatever happened."""

    def __init__(self, command: Sequence[str], cpus: frozenset[int] | None = None) -> None:
        self.command = list(command)
        # A file and not a pipe: nobody reads it until the end, and a full pipe would stop the
        # server.
        self._errors = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=self._errors, process_group=0, preexec_fn=_before_exec(cpus))
        except OSError as why:
            self._errors.close()
            raise ChildFailed(f"cannot start {self.command[0]}: {why.strerror}") from why

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._kill()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def _kill(self) -> None:
        # Only while it has not been reaped: afterwards the id may be somebody else's.
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id, its own until this object has gone."""
        return self._process.pid

    @property
    def cpu_ns(self) -> int:
        """CPU time so far; ChildFailed when it has ended."""
        if self._process.poll() is not None:
            raise ChildFailed(f"ended while it was needed{self._how()}")
        return cpu_ns(self._process.pid)

    def first_line(self, limit_s: float = LISTEN_LIMIT_S) -> str:
        """The first line of its output."""
        end = time.monotonic() + limit_s
        line = b""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise ChildFailed(f"printed no line within {limit_s:g} s{self._said()}")
                byte = os.read(descriptor, 1)  # no more: the report follows in the same stream
                if not byte:
                    self._ended_early(end)
                line += byte
                if len(line) > LINE_SIZE_MAX:
                    raise ChildFailed("its first line does not end")
        return line.decode(errors="replace").rstrip("\n")

    def _ended_early(self, end: float) -> None:
        try:
            self._process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"closed its output without a line{self._said()}") from None
        if self._process.returncode == EXIT_SKIPPED:
            raise ChildSkipped(self.errors() or "it says it cannot run here")
        raise ChildFailed(f"ended before it listened{self._how()}")

    def stop(self) -> str:
        """Tells it to end and returns the rest of its output. A program that does not end well has
        failed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        output = self.finish(STOP_LIMIT_S, "did not end within {:g} s of SIGTERM")
        # A peer may leave SIGTERM to the kernel: that is an end as asked.
        if self._process.returncode not in (0, -signal.SIGTERM):
            raise ChildFailed(f"ended badly{self._how()}")
        return output

    def finish(self, limit_s: float, complaint: str = "did not end within {:g} s") -> str:
        """Waits for its end and returns the rest of its output."""
        try:
            output, _ = self._process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise ChildFailed(complaint.format(limit_s) + self._said()) from None
        return output.decode(errors="replace")

    def complete(self, limit_s: float) -> str:
        """finish(), for a program that ends by itself and has to end with 0."""
        output = self.finish(limit_s)
        if self._process.returncode == EXIT_SKIPPED:
            raise ChildSkipped(self.errors() or "it says it cannot run here")
        if self._process.returncode != 0:
            raise ChildFailed(f"failed{self._how()}")
        return output

    def errors(self) -> str:
        """The last line of its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        words = lines[-1].strip() if lines else ""
        for name in self.command[:2]:  # programs begin with their own name, as a path
            words = words.removeprefix(f"{name}: ")
        return words

    def _said(self) -> str:
        words = self.errors()
        return f": {words}" if words else ""

    def _how(self) -> str:
        code = self._process.returncode
        if code < 0:
            return f" (signal {signal.Signals(-code).name}){self._said()}"
        return f" (status {code}){self._said()}"
