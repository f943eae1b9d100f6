# SPDX-License-Identifier: MIT
"""All runs. Contestants take turns, A B C A B C ..., so that what disturbs the machine for a while
disturbs all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .model import Contestant, Outcome, Run
from .process import ChildFailed, ChildSkipped

Measuring = Callable[[Contestant], Run]
Progress = Callable[[Contestant, int], None]


def run_rounds(contestants: Sequence[Contestant], round_count: int, measuring: Measuring,
               progress: Progress) -> dict[Contestant, Outcome]:
    """Every contestant once per round; the first round is dropped. One that fails or cannot run is
    out, and the others go on."""
    outcomes = {contestant: Outcome() for contestant in contestants}
    for index in range(round_count):
        for contestant, outcome in outcomes.items():
            run = None
            if not (outcome.failed or outcome.skipped):
                progress(contestant, index)
                run = _attempt(contestant, outcome, measuring)
            if index > 0:
                outcome.runs.append(run)
    return outcomes


def _attempt(contestant: Contestant, outcome: Outcome, measuring: Measuring) -> Run | None:
    try:
        return measuring(contestant)
    except ChildSkipped as why:
        outcome.skipped = str(why)
    except ChildFailed as why:
        outcome.failed = str(why)
    return None
