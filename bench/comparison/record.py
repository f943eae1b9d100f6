# SPDX-License-Identifier: MIT
"""Results as JSON, for programs. Fields are only ever added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .evaluate import RowResult, ScenarioResult, TargetResult
from .machine import Machine
from .model import Scenario
from .selection import Timing
from .statistic import Interval


def _interval(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"median": interval.median, "low": interval.low, "high": interval.high}


def _contestant(row: RowResult) -> dict[str, Any]:
    status = "failed" if row.failed else "skipped" if row.skipped else "ok"
    return {"name": row.name, "status": status, "reason": row.failed or row.skipped or None,
            "value": row.value, "spread": row.spread, "rate": row.rate, "cpu_ns": row.cpu_ns,
            "loss": row.loss, "rtt_ns": row.round_trips_ns, "baseline": row.baseline,
            "baseline_ratio": _interval(row.baseline_ratio), "values": list(row.values)}


def _target(result: TargetResult) -> dict[str, Any]:
    target = result.target
    return {"text": target.text, "subject": target.subject, "reference": target.reference or None,
            "comparison": target.comparison.value,
            "direction": "at least" if target.better.value == "more" else "at most",
            "limit": target.limit, "measured": _interval(result.interval),
            "verdict": result.verdict.value, "reason": result.reason or None}


def _pinning(scenario: Scenario, machine: Machine) -> str:
    # A micro-benchmark has threads, but neither server nor client.
    if scenario.rows[0].contestant.load is None:
        return "not pinned"
    return machine.pinning_text()


def _scenario(result: ScenarioResult, machine: Machine) -> dict[str, Any]:
    one = result.scenario
    return {"id": one.id, "title": one.title, "workload": one.workload,
            "pinning": _pinning(one, machine),
            "measure": {"heading": one.measure.heading, "unit": one.measure.unit,
                        "better": one.measure.better.value},
            "contestants": [_contestant(row) for row in result.rows],
            "targets": [_target(target) for target in result.targets],
            "ahead_of_quoit": [row.name for row in result.ahead_of_quoit],
            "notes": list(one.notes)}


def report(results: Sequence[ScenarioResult], machine: Machine, times: Timing,
           command: str) -> dict[str, Any]:
    """The whole report. `rate` is per second, `loss` and `spread` are shares, 0..1."""
    return {"kernel": machine.kernel, "cpu": machine.cpu, "cpu_count": len(machine.cpus),
            "pinning": machine.pinning_text(),
            "receive_buffer_size": machine.buffer_granted, "command": command,
            "rounds": times.rounds, "rounds_counted": times.counted,
            "duration_s": times.duration_s, "warmup_s": times.warmup_s,
            "scenarios": [_scenario(result, machine) for result in results]}
