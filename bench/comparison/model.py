# SPDX-License-Identifier: MIT
"""What the comparison is made of. Data only: nothing here runs anything."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Placement(enum.Enum):
    """Which CPUs a server may use. The client always has one of its own, if there are two."""

    ONE_CPU = "one"
    EVERY_CPU = "every"  # for servers whose threads are to run side by side


class Kind(enum.Enum):
    """How a contestant is run and what is counted."""

    ECHO = "echo"  # answers; the client counts what came back
    RECEIVE = "receive"  # only counts, and reports that when it is told to end
    MICRO = "micro"  # one benchmark of a Google Benchmark program


@dataclass(frozen=True)
class Program:
    """A command, relative to the build tree, or to bench/peers for a Python script."""

    path: str
    arguments: tuple[str, ...] = ()
    is_script: bool = False
    writes_report: bool = False  # `quoit echo` and `quoit packets serve`: takes --json FILE
    says: str = ""  # what the first line has to contain, so that no fallback goes unseen

    @property
    def is_ours(self) -> bool:
        """Ours has to be there; a peer may lack its library."""
        return "quoit" in self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Load:
    """The client's settings."""

    mode: str = "echo"  # "packets": over TCP, with a client of its own
    flows: int = 1  # connections, with packets
    outstanding: int = 64
    size: int = 64
    is_offloading: bool = True
    is_spinning: bool = False
    train_max: int | None = None  # datagrams the client sends as one; None: as many as it can
    rate: int | None = None  # datagrams per second; None: as fast as answers come back

    @property
    def counted(self) -> str:
        """What the client sends and counts."""
        return "packet" if self.mode == "packets" else "datagram"


@dataclass(frozen=True)
class Contestant:
    """A server under one load. Equal contestants of different scenarios share their runs."""

    name: str
    program: Program
    load: Load | None  # None: a micro-benchmark, which has no client
    kind: Kind = Kind.ECHO
    placement: Placement = Placement.ONE_CPU
    needs_two_cpus: bool = False


@dataclass(frozen=True)
class Row:
    """A contestant's line in a scenario's table, and whom it is held against."""

    name: str
    contestant: Contestant
    baseline: str  # the name of quoit's row that the column "quoit / it" is about


class Better(enum.Enum):
    """Which way a measure improves."""

    MORE = "more"
    LESS = "less"


@dataclass(frozen=True)
class Measure:
    """The figure a scenario is about; `key` names a field of Run."""

    key: str
    heading: str
    unit: str
    better: Better


class Comparison(enum.Enum):
    """What a target's limit limits."""

    RATIO = "ratio"  # subject / reference
    DIFFERENCE = "difference"  # subject - reference
    VALUE = "value"  # subject alone


@dataclass(frozen=True)
class Target:
    """"subject >= limit x reference" and its relatives, named by row."""

    subject: str
    better: Better  # MORE: at least; LESS: at most
    limit: float
    reference: str = ""
    comparison: Comparison = Comparison.RATIO
    unit: str = ""

    @property
    def text(self) -> str:
        """As it is printed."""
        sign = ">=" if self.better is Better.MORE else "<="
        if self.comparison is Comparison.RATIO:
            return f"{self.subject} {sign} {self.limit:g} x {self.reference}"
        if self.comparison is Comparison.DIFFERENCE:
            return f"{self.subject} - {self.reference} {sign} {self.limit:g} {self.unit}"
        return f"{self.subject} {sign} {self.limit:g} {self.unit}"


@dataclass(frozen=True)
class Scenario:
    """One row of the table of targets."""

    id: str
    title: str
    workload: str  # in words, offloads included
    measure: Measure
    rows: tuple[Row, ...]
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()
    shows_round_trip: bool = False  # its median beside the measure

    def row(self, name: str) -> Row:
        """The row of this name, which has to exist."""
        return next(row for row in self.rows if row.name == name)


@dataclass
class Run:
    """What one run of one contestant gave. None: this kind of run does not have it."""

    rate: float | None = None  # delivered datagrams (or packets, or items) per second
    cpu_ns: float | None = None  # the server's CPU time per delivered datagram or packet
    loss: float | None = None  # share of what was sent, 0..1
    round_trips_ns: dict[str, float] | None = None
    per_system_call: float | None = None  # datagrams delivered per system call

    @property
    def p50_ns(self) -> float | None:
        """The median round trip."""
        return self.round_trips_ns.get("p50") if self.round_trips_ns else None

    def value(self, measure: Measure) -> float | None:
        """The figure `measure` is about."""
        return getattr(self, measure.key)


@dataclass
class Outcome:
    """All counted runs of one contestant, by round; None where it did not run."""

    runs: list[Run | None] = field(default_factory=list)
    skipped: str = ""
    failed: str = ""

    def values(self, measure: Measure) -> list[float | None]:
        """One figure per round."""
        return [run.value(measure) if run else None for run in self.runs]
