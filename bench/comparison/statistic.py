# SPDX-License-Identifier: MIT
"""Medians, spread and bootstrap intervals. Medians throughout: on a shared machine a round is now
and then disturbed as a whole, and a mean would carry that."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 4000
COVERAGE = 0.90
# Fixed, so that the same measurements always give the same verdict.
SEED = 20240229


@dataclass(frozen=True)
class Interval:
    """An estimate and its bootstrap interval."""

    median: float
    low: float
    high: float


def known(values: Sequence[float | None]) -> list[float]:
    """Those that are there."""
    return [value for value in values if value is not None]


def median(values: Sequence[float | None]) -> float | None:
    """None without values."""
    present = known(values)
    return statistics.median(present) if present else None


def spread(values: Sequence[float | None]) -> float | None:
    """Interquartile range / median; None below two values or around zero."""
    present = known(values)
    if len(present) < 2 or statistics.median(present) == 0:
        return None
    first, middle, third = statistics.quantiles(present, n=4, method="inclusive")
    return (third - first) / middle


def bootstrap(values: Sequence[float], resamples: int = RESAMPLES) -> Interval | None:
    """The median of `values` and the interval that COVERAGE of the resampled medians lie in."""
    if not values:
        return None
    draw = random.Random(SEED)
    medians = sorted(statistics.median(draw.choices(values, k=len(values)))
                     for _ in range(resamples))
    tail = (1 - COVERAGE) / 2
    last = resamples - 1
    return Interval(statistics.median(values), medians[round(tail * last)],
                    medians[round((1 - tail) * last)])


def paired(left: Sequence[float | None],
           right: Sequence[float | None]) -> list[tuple[float, float]]:
    """The rounds both have. What disturbs a round disturbs both, so pairs differ less than all."""
    return [(a, b) for a, b in zip(left, right) if a is not None and b is not None]


def ratio(left: Sequence[float | None], right: Sequence[float | None]) -> Interval | None:
    """left / right, round by round."""
    return bootstrap([a / b for a, b in paired(left, right) if b != 0])


def difference(left: Sequence[float | None], right: Sequence[float | None]) -> Interval | None:
    """left - right, round by round."""
    return bootstrap([a - b for a, b in paired(left, right)])
