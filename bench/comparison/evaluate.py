# SPDX-License-Identifier: MIT
"""Runs into rows and verdicts."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from . import statistic
from .model import (Better, Comparison, Contestant, Measure, Outcome, Run, Scenario, Target)
from .statistic import Interval

Outcomes = Mapping[Contestant, Outcome]


class Verdict(enum.Enum):
    """Whether a target's interval reaches its limit."""

    HOLDS = "holds"
    MISSED = "MISSED"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class RowResult:
    """A line of a table."""

    name: str
    baseline: str
    values: tuple[float | None, ...] = ()
    value: float | None = None
    spread: float | None = None
    rate: float | None = None
    cpu_ns: float | None = None
    loss: float | None = None
    round_trips_ns: dict[str, float] | None = None
    baseline_ratio: Interval | None = None  # baseline / this row, round by round
    skipped: str = ""
    failed: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is quoit's; a row's name may begin with a scenario's."""
        return self.name.split(" ")[-1].startswith("quoit/")


@dataclass(frozen=True)
class TargetResult:
    """A target and what became of it."""

    target: Target
    interval: Interval | None
    verdict: Verdict
    reason: str = ""  # why it was not measured


@dataclass(frozen=True)
class ScenarioResult:
    """A scenario and its figures."""

    scenario: Scenario
    rows: tuple[RowResult, ...]
    targets: tuple[TargetResult, ...]

    def row(self, name: str) -> RowResult:
        """The row of this name, which has to exist."""
        return next(row for row in self.rows if row.name == name)

    @property
    def ahead_of_quoit(self) -> list[RowResult]:
        """The peers whose median beats that of the row of quoit they are held against."""
        return [row for row in self.rows if not row.is_ours and row.value is not None
                and _beats(row.value, self.row(row.baseline).value, self.scenario.measure)]


def _beats(value: float, ours: float | None, measure: Measure) -> bool:
    if ours is None:
        return False
    return value > ours if measure.better is Better.MORE else value < ours


def judge(target: Target, interval: Interval | None) -> Verdict:
    """A target holds when the interval reaches it: noise alone must not miss one."""
    if interval is None:
        return Verdict.NOT_MEASURED
    if target.comparison is Comparison.VALUE:
        # As it is printed: a count per call is not to miss a whole number by a call in a million.
        interval = replace(interval, low=float(f"{interval.low:.3g}"),
                           high=float(f"{interval.high:.3g}"))
    if target.better is Better.MORE:
        return Verdict.HOLDS if interval.high >= target.limit else Verdict.MISSED
    return Verdict.HOLDS if interval.low <= target.limit else Verdict.MISSED


def _values(scenario: Scenario, outcomes: Outcomes, name: str) -> list[float | None]:
    return outcomes[scenario.row(name).contestant].values(scenario.measure)


def _target_interval(scenario: Scenario, outcomes: Outcomes, target: Target) -> Interval | None:
    subject = _values(scenario, outcomes, target.subject)
    if target.comparison is Comparison.VALUE:
        return statistic.bootstrap(statistic.known(subject))
    reference = _values(scenario, outcomes, target.reference)
    if target.comparison is Comparison.DIFFERENCE:
        return statistic.difference(subject, reference)
    return statistic.ratio(subject, reference)


def _why_not_measured(scenario: Scenario, outcomes: Outcomes, target: Target) -> str:
    for name in filter(None, (target.subject, target.reference)):
        outcome = outcomes[scenario.row(name).contestant]
        if outcome.failed:
            return f"{name} failed"
        if outcome.skipped:
            return f"{name} was skipped: {outcome.skipped}"
    return "there is no round that has all its figures"


def _target_result(scenario: Scenario, outcomes: Outcomes, target: Target) -> TargetResult:
    reason = ""
    names = filter(None, (target.subject, target.reference))
    # A contestant that failed late has figures from before, which must not pass for a measurement.
    if any(outcomes[scenario.row(name).contestant].failed for name in names):
        interval = None
    else:
        interval = _target_interval(scenario, outcomes, target)
    if interval is None:
        reason = _why_not_measured(scenario, outcomes, target)
    return TargetResult(target, interval, judge(target, interval), reason)


def _median_of(runs: list[Run], key: str) -> float | None:
    return statistic.median([getattr(run, key) for run in runs])


def _round_trips(runs: list[Run]) -> dict[str, float] | None:
    """The median over the rounds of each percentile."""
    every = [run.round_trips_ns for run in runs if run.round_trips_ns]
    if not every:
        return None
    medians = {key: statistic.median([one.get(key) for one in every]) for key in every[0]}
    return {key: value for key, value in medians.items() if value is not None}


def _row_result(scenario: Scenario, outcomes: Outcomes, name: str) -> RowResult:
    row = scenario.row(name)
    outcome = outcomes[row.contestant]
    if outcome.failed or outcome.skipped:
        return RowResult(name, row.baseline, skipped=outcome.skipped, failed=outcome.failed)
    values = outcome.values(scenario.measure)
    runs = [run for run in outcome.runs if run]
    ratio = None
    if name != row.baseline:
        ratio = statistic.ratio(_values(scenario, outcomes, row.baseline), values)
    return RowResult(
        name, row.baseline, tuple(values), statistic.median(values), statistic.spread(values),
        _median_of(runs, "rate"), _median_of(runs, "cpu_ns"), _median_of(runs, "loss"),
        _round_trips(runs), ratio)


def evaluate(scenario: Scenario, outcomes: Outcomes) -> ScenarioResult:
    """The scenario's table and verdicts."""
    return ScenarioResult(
        scenario, tuple(_row_result(scenario, outcomes, row.name) for row in scenario.rows),
        tuple(_target_result(scenario, outcomes, target) for target in scenario.targets))
