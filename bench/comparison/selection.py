# SPDX-License-Identifier: MIT
"""Which scenarios to run, and what that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .model import Contestant, Kind, Load, Placement, Scenario

# What a run takes besides its measured time: starting the server (half a second for Twisted),
# the client's wait for stragglers, ending both. For the estimate only.
OVERHEAD_S = 0.2


class UsageError(Exception):
    """What the user asked for cannot be done; the message says why."""


@dataclass(frozen=True)
class Timing:
    """How often and how long."""

    rounds: int = 9
    duration_s: float = 1.0
    warmup_s: float = 0.2

    @property
    def counted(self) -> int:
        """The first round is dropped: it pays for cold caches and first-time page faults."""
        return self.rounds - 1


QUICK = Timing(rounds=3, duration_s=0.25, warmup_s=0.05)


def timing(rounds: int | None, is_quick: bool) -> Timing:
    """The default or the quick one, with `rounds` if the user said so."""
    chosen = QUICK if is_quick else Timing()
    if rounds is None:
        return chosen
    if rounds < 2:
        raise UsageError(f"--rounds {rounds}: at least 2, because the first round is dropped")
    return replace(chosen, rounds=rounds)


def select(scenarios: Sequence[Scenario], only: str | None) -> list[Scenario]:
    """Those `only` names, in the order of `scenarios`; all without it."""
    if only is None:
        return list(scenarios)
    wanted = {name.strip().upper() for name in only.split(",") if name.strip()}
    unknown = sorted(wanted - {one.id.upper() for one in scenarios})
    if unknown or not wanted:
        exist = ", ".join(one.id for one in scenarios)
        raise UsageError(f"--only: no scenario {', '.join(unknown) or 'named'}; there are {exist}")
    return [one for one in scenarios if one.id.upper() in wanted]


def join_python(chosen: Sequence[Scenario]) -> list[Scenario]:
    """P9 belongs into P1's table: with both selected, P1 shows P9's contestants too."""
    by_id = {one.id: one for one in chosen}
    if "P1" not in by_id or "P9" not in by_id:
        return list(chosen)
    names = {row.name for row in by_id["P1"].rows}
    added = tuple(row for row in by_id["P9"].rows if row.name not in names)
    joined = replace(by_id["P1"], rows=by_id["P1"].rows + added)
    return [joined if one.id == "P1" else one for one in chosen]


# What is compared must run in turn, so contestants are grouped by what they can be compared in.
Group = tuple[Kind, Placement, Load | None]


def _group(contestant: Contestant) -> Group:
    load = contestant.load and replace(contestant.load, is_spinning=False)
    return contestant.kind, contestant.placement, load


def groups(scenarios: Sequence[Scenario]) -> list[list[Contestant]]:
    """The contestants to run, each once however many scenarios show it; each group is to be
    interleaved."""
    found: dict[Group, list[Contestant]] = {}
    for scenario in scenarios:
        for row in scenario.rows:
            members = found.setdefault(_group(row.contestant), [])
            if row.contestant not in members:
                members.append(row.contestant)
    return list(found.values())


def estimate_s(scenarios: Sequence[Scenario], times: Timing) -> float:
    """About how long all runs take, the build not included."""
    runs = sum(len(group) for group in groups(scenarios))
    return runs * times.rounds * (times.duration_s + times.warmup_s + OVERHEAD_S)
