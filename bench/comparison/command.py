# SPDX-License-Identifier: MIT
"""The command line of bench/compare."""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import picture, record, selection, table, tree
from .catalogue import SCENARIOS
from .evaluate import Outcomes, ScenarioResult, Verdict, evaluate
from .machine import inspect
from .measure import Bench, measure
from .model import Contestant, Outcome, Scenario
from .rounds import Progress, run_rounds
from .selection import UsageError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_MISSED = 3
EXIT_INTERRUPTED = 130

_EPILOG = """\
exit status: 0 everything ran (a MISSED target is a result, not an error), 1 a contestant failed or
nothing could be built, 2 usage, 3 with --strict: a target was MISSED; 130 interrupted.
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="bench/compare", epilog=_EPILOG, allow_abbrev=False,
        description="Compares quoit with what one would use instead, side by side on this machine.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", metavar="P1,P3", help="only these scenarios (see --list)")
    made.add_argument("--rounds", type=int, metavar="N",
                      help="how often each contestant runs (9); the first round is dropped")
    made.add_argument("--quick", action="store_true",
                      help="3 rounds of a quarter second: all within two minutes, and noisy")
    made.add_argument("--json", metavar="FILE", help="write the figures there as well")
    made.add_argument("--svg", metavar="FILE", help="draw P1 there")
    made.add_argument("--build", metavar="DIR", help="use this build tree as it is; build nothing")
    made.add_argument("--strict", action="store_true", help="a MISSED target is exit status 3")
    made.add_argument("--list", action="store_true", help="print scenarios, contestants, targets")
    return made


def _check_writable(option: str, name: str | None) -> None:
    """Before the runs, not after ten minutes of them."""
    if name is None:
        return
    path = Path(name)
    where = path if path.exists() else path.absolute().parent
    if path.is_dir() or not where.exists() or not os.access(where, os.W_OK):
        raise UsageError(f"{option} {name}: cannot be written")


def _progress(total: int) -> Progress:
    """One line on a terminal, nothing elsewhere."""
    done = 0

    def show(contestant: Contestant, index: int) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            print(f"\r\033[K[{done}/{total}] round {index + 1}: {contestant.name}", end="",
                  file=sys.stderr, flush=True)
    return show


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _is_ready(scenario: Scenario, outcomes: Outcomes) -> bool:
    return all(row.contestant in outcomes for row in scenario.rows)


def _run(bench: Bench, scenarios: Sequence[Scenario]) -> list[ScenarioResult]:
    """Runs everything; prints the scenarios in their order, each as soon as it can."""
    grouped = selection.groups(scenarios)
    progress = _progress(bench.times.rounds * sum(len(group) for group in grouped))
    outcomes: dict[Contestant, Outcome] = {}
    results: dict[str, ScenarioResult] = {}
    for group in grouped:
        outcomes |= run_rounds(group, bench.times.rounds, lambda one: measure(bench, one), progress)
        _clear_progress()
        for scenario in scenarios[len(results):]:
            if not _is_ready(scenario, outcomes):
                break
            results[scenario.id] = evaluate(scenario, outcomes)
            print(table.scenario_text(results[scenario.id], bench.machine, bench.times),
                  flush=True)
    return [results[scenario.id] for scenario in scenarios]


def _exit_status(results: Sequence[ScenarioResult], is_strict: bool) -> int:
    if any(row.failed for result in results for row in result.rows):
        return EXIT_FAILED
    missed = any(target.verdict is Verdict.MISSED for result in results
                 for target in result.targets)
    return EXIT_MISSED if is_strict and missed else 0


def _compare(options: argparse.Namespace, sources: Path) -> int:
    scenarios = selection.join_python(selection.select(SCENARIOS, options.only))
    times = selection.timing(options.rounds, options.quick)
    if options.svg:
        picture.require_p1([one.id for one in scenarios])
    _check_writable("--json", options.json)
    _check_writable("--svg", options.svg)
    built = tree.existing(options.build) if options.build else tree.build(sources)
    bench = Bench(built, sources, inspect(), times)
    minutes = math.ceil(selection.estimate_s(scenarios, times) / 60)
    print(f"{times.rounds} rounds, about {minutes} min at most\n", flush=True)
    results = _run(bench, scenarios)
    print(table.summary_text(results), end="")
    _write(options, results, bench)
    return _exit_status(results, options.strict)


def _write(options: argparse.Namespace, results: Sequence[ScenarioResult], bench: Bench) -> None:
    command = shown_command(options)
    if options.json:
        written = record.report(results, bench.machine, bench.times, command)
        Path(options.json).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    if options.svg:
        Path(options.svg).write_text(picture.draw(results, bench.machine, command),
                                     encoding="utf-8")


def shown_command(options: argparse.Namespace) -> str:
    """How to get such a report again: where this one was written, or from which tree, is nobody
    else's business."""
    shown = ["bench/compare"]
    shown += ["--only", options.only] if options.only else []
    shown += ["--rounds", str(options.rounds)] if options.rounds else []
    return shlex.join(shown + (["--quick"] if options.quick else []))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str], sources: Path) -> int:
    """Runs the command and returns its exit status."""
    options = parser().parse_args(arguments)
    if options.list:
        print(table.list_text(SCENARIOS), end="")
        return 0
    # Both unwind through every `with`, which is where children are ended.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        return _compare(options, sources)
    except UsageError as why:
        print(f"bench/compare: {why}", file=sys.stderr)
        return EXIT_USAGE
    except (tree.BuildFailed, OSError) as why:
        print(f"bench/compare: {why}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        _clear_progress()
        print("bench/compare: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
