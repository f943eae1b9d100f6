# SPDX-License-Identifier: MIT
"""What the tests of bench/compare share: the path to its modules, outcomes made by hand, and a
build tree of fakes."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2]
COMPARE = SOURCES / "bench" / "compare"
DEADLINE_S = 60

sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCES / "bench"))

from comparison.machine import Machine  # noqa: E402
from comparison.model import Outcome, Run  # noqa: E402

TWO_CPUS = Machine("6.1.0", "Some CPU <fast> & \"cheap\"", (0, 1), frozenset(), 4 << 20)
ONE_CPU = Machine("6.1.0", "Some CPU", (0,), frozenset(), 212992)


def outcome_of_rates(*rates):
    """What a contestant with these rates looks like once all rounds have run."""
    return Outcome([Run(rate=rate, cpu_ns=1e9 / rate, loss=0.0) for rate in rates])


def outcomes(scenario, rates):
    """Outcomes of a scenario's rows: `rates` has a list, or an Outcome, by row name; 1.0 for the
    others."""
    made = {}
    for row in scenario.rows:
        given = rates.get(row.name, [1.0, 1.0])
        made[row.contestant] = given if isinstance(given, Outcome) else outcome_of_rates(*given)
    return made


CLIENTS = ("bench_client", "bench_packet_client")


class FakeTree:
    """A build tree whose programs are one script. No datagram is sent: each server listens on a
    "port" that is its rate in thousands, which the client reads off the address. How a program
    misbehaves is set by its name; a number is another rate in thousands."""

    PROGRAMS = ("tools/quoit", "bench/quoit_receive", "bench/client/bench_client",
                "bench/packet_client/bench_packet_client",
                "bench/micro/micro_spsc_queue",
                *(f"bench/peers/peer_{name}" for name in
                  ("recvfrom", "mmsg", "epoll", "io_uring", "asio", "libuv", "receive",
                   "asio_packets", "epoll_packets")))

    def __init__(self, behaviour=None, without=()):
        self._directory = tempfile.TemporaryDirectory()
        self.path = Path(self._directory.name)
        (self.path / "behaviour.json").write_text(json.dumps(behaviour or {}), encoding="utf-8")
        body = (Path(__file__).parent / "fake_program.py").read_text(encoding="utf-8")
        for name in self.PROGRAMS:
            if name in without:
                continue
            program = self.path / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(f"#!{sys.executable} -SE\n{body}", encoding="utf-8")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._directory.cleanup()

    def calls(self):
        """The command lines of all programs that were started, in order, without the tree."""
        log = self.path / "calls"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [json.loads(line) for line in lines]

    def clients(self):
        """Those of the clients."""
        return [call for call in self.calls() if call[0] in CLIENTS]

    def servers(self):
        """Those of the servers a client was started for."""
        talked_to = {call[call.index("--server-pid") + 1] for call in self.clients()}
        return [call for call in self.calls() if str(call[1]) in talked_to]

    def idle_servers(self):
        """Those of the servers nobody talked to."""
        busy = self.clients() + self.servers()
        return [call for call in self.calls() if call not in busy]

    def compare(self, *arguments):
        """Runs bench/compare on this tree to its end."""
        return subprocess.run([str(COMPARE), "--build", str(self.path), *arguments],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=DEADLINE_S, check=False, env=os.environ)

    def start(self, *arguments):
        """Starts bench/compare on this tree."""
        return subprocess.Popen([str(COMPARE), "--build", str(self.path), *arguments],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
