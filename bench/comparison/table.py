# SPDX-License-Identifier: MIT
"""Results as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .evaluate import RowResult, ScenarioResult, TargetResult, Verdict
from .machine import Machine
from .model import Better, Measure, Scenario
from .selection import Timing
from .statistic import Interval

NOTHING = "-"
_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def count_text(value: float) -> str:
    """Three significant digits: 3.02 M, 214 k, 17.0."""
    for step, letter in _STEPS:
        if value >= 0.9995 * step:
            return f"{_three_digits(value / step)} {letter}"
    return _three_digits(value)


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def time_text(ns: float) -> str:
    """Nanoseconds in the unit that suits them."""
    for step, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if ns >= 0.9995 * step:
            return f"{_three_digits(ns / step)} {unit}"
    return f"{_three_digits(ns)} ns"


def value_text(value: float | None, measure: Measure) -> str:
    """A figure of the measure the table is about."""
    if value is None:
        return NOTHING
    return time_text(value) if measure.unit == "ns" else count_text(value)


def percent_text(share: float | None) -> str:
    """A share between 0 and 1; never rounds a loss to nothing."""
    if share is None:
        return NOTHING
    if 0 < share < 0.0001:
        return "<0.01 %"
    return "0 %" if share == 0 else f"{100 * share:.3g} %"


def interval_text(interval: Interval | None) -> str:
    """The estimate and its bounds."""
    if interval is None:
        return NOTHING
    return f"{interval.median:.3g} [{interval.low:.3g}..{interval.high:.3g}]"


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns, the first to the left and the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines)]
    text = []
    for cells in lines:
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])]
        text.append("  ".join([first, *others]).rstrip())
    return text


def _buffer_text(size: int) -> str:
    return f"{size / (1 << 20):.3g} MiB" if size >= 1 << 20 else f"{size / 1024:.3g} KiB"


def heading(scenario: Scenario, machine: Machine, times: Timing) -> list[str]:
    """Everything the figures depend on."""
    lines = [f"{scenario.id}  {scenario.title}", f"    workload: {scenario.workload}",
             f"    Linux {machine.kernel}, {machine.cpu}, {len(machine.cpus)} CPUs"]
    loads = [row.contestant.load for row in scenario.rows if row.contestant.load]
    counted = f"{times.counted} of {times.rounds} rounds counted"
    if not loads:
        return lines + [f"    two threads, on any CPU; {counted}"]
    if loads[0].mode == "packets":
        return lines + [
            f"    {machine.pinning_text()}",
            "    TCP_NODELAY; the kernel adapts the sockets' buffers",
            f"    {counted}, {times.duration_s:g} s each after {times.warmup_s:g} s of warm-up"]
    modes = sorted({load.is_offloading for load in loads}, reverse=True)
    offload = " and ".join("on" if mode else "off" for mode in modes)
    warmup = "" if loads[0].mode == "flood" else f" after {times.warmup_s:g} s of warm-up"
    return lines + [
        f"    {machine.pinning_text()}",
        f"    client's offload {offload}; SO_RCVBUF granted {_buffer_text(machine.buffer_granted)}"
        f" (net.core.rmem_max {machine.buffer_max}, doubled by the kernel)",
        f"    {counted}, {times.duration_s:g} s each{warmup}"]


def _cpu_heading(scenario: Scenario) -> str:
    load = scenario.rows[0].contestant.load
    return f"CPU/{load.counted if load else 'datagram'}"


def _cells(row: RowResult, scenario: Scenario) -> dict[str, str]:
    """By heading. The measure comes first; rate and CPU time beside it unless they are it."""
    measure = scenario.measure
    cells = {"contestant": row.name, measure.heading: value_text(row.value, measure),
             "spread": percent_text(row.spread)}
    if measure.key != "rate":
        cells["delivered/s"] = NOTHING if row.rate is None else count_text(row.rate)
    if scenario.shows_round_trip:
        p50 = (row.round_trips_ns or {}).get("p50")
        cells["p50"] = NOTHING if p50 is None else time_text(p50)
    if measure.key != "cpu_ns":
        cells[_cpu_heading(scenario)] = NOTHING if row.cpu_ns is None else time_text(row.cpu_ns)
    return {**cells, "loss": percent_text(row.loss),
            "quoit / it [90 %]": interval_text(row.baseline_ratio)}


def rows_text(result: ScenarioResult) -> list[str]:
    """The table proper; what did not run says why behind its name."""
    cells = [_cells(row, result.scenario) for row in result.rows]
    lines = aligned([list(cells[0]), *[list(one.values()) for one in cells]])
    for index, row in enumerate(result.rows, start=1):
        if row.failed:
            lines[index] = f"{row.name}  FAILED: {row.failed}"
        elif row.skipped:
            lines[index] = f"{row.name}  skipped: {row.skipped}"
    return lines


def target_text(result: TargetResult) -> str:
    """The verdict first: that is what one looks for."""
    found = result.reason if result.interval is None else interval_text(result.interval)
    return f"{result.verdict.value:<12}  {result.target.text}: {found}"


def ahead_text(result: ScenarioResult) -> str:
    """Who beats us, in so many words."""
    ahead = result.ahead_of_quoit
    if not ahead:
        return "ahead of quoit: none of the peers measured"
    names = [f"{row.name} ({value_text(row.value, result.scenario.measure)}, {row.baseline} "
             f"{value_text(result.row(row.baseline).value, result.scenario.measure)})"
             for row in ahead]
    return "ahead of quoit: " + ", ".join(names)


def _has_peers(result: ScenarioResult) -> bool:
    return any(not row.is_ours for row in result.rows)


def scenario_text(result: ScenarioResult, machine: Machine, times: Timing) -> str:
    """One scenario: heading, table, verdicts."""
    less = result.scenario.measure.better is Better.LESS
    lines = heading(result.scenario, machine, times) + [""]
    lines += [f"  {line}" for line in rows_text(result)] + [""]
    lines += [f"  {target_text(target)}" for target in result.targets]
    lines += [f"  {ahead_text(result)}"] if _has_peers(result) else []
    lines += [f"  (less is better: {result.scenario.measure.heading})"] if less else []
    lines += [f"  {note}" for note in result.scenario.notes]
    return "\n".join(lines) + "\n"


def summary_text(results: Iterable[ScenarioResult]) -> str:
    """The last line, and before it what was missed or failed."""
    results = list(results)
    targets = [(one.scenario.id, target) for one in results for target in one.targets]
    lines = [f"{name}  {target_text(target)}" for name, target in targets
             if target.verdict is not Verdict.HOLDS]
    failed = {f"{row.name} in {one.scenario.id} failed: {row.failed}"
              for one in results for row in one.rows if row.failed}
    held = sum(target.verdict is Verdict.HOLDS for _, target in targets)
    return "\n".join([*lines, *sorted(failed), f"{held} of {len(targets)} targets hold"]) + "\n"


def list_text(scenarios: Iterable[Scenario]) -> str:
    """What --list prints."""
    lines = []
    for one in scenarios:
        lines += [f"{one.id}  {one.title}: {one.workload}",
                  "    contestants: " + ", ".join(row.name for row in one.rows)]
        lines += [f"    target: {target.text}" for target in one.targets]
    return "\n".join(lines) + "\n"
