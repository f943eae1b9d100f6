# SPDX-License-Identifier: MIT
"""P1 as an SVG of horizontal bars, small enough for a README and legible on light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from .evaluate import RowResult, ScenarioResult
from .machine import Machine
from .selection import UsageError
from .table import count_text

WIDTH = 720
LEFT = 150  # where bars begin; names end before it
RIGHT = 110  # what the longest bar leaves for its figure
TOP = 74
BAR_HEIGHT = 20
BAR_STEP = 28
BOTTOM = 49
# At 11 px, so that the lines around the bars stay within the picture.
SMALL_LENGTH_MAX = 104

# GitHub's own colours for text, so that the picture sits in its pages.
_STYLE = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif;
           fill: #1f2328; }
    .title { font-size: 17px; font-weight: 600; }
    .small { font-size: 11px; fill: #59636e; }
    .ours { font-weight: 600; }
    rect { fill: #afb8c1; }
    rect.ours { fill: #0969da; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      .small { fill: #9198a1; }
      rect { fill: #57606a; }
      rect.ours { fill: #4493f8; }
    }
"""


@dataclass(frozen=True)
class Bar:
    """One contestant."""

    name: str
    rate: float
    is_ours: bool


def bars(results: Sequence[ScenarioResult]) -> list[Bar]:
    """P1's contestants with a figure, and P9's that P1 lacks; fastest first."""
    found: dict[str, RowResult] = {}
    for result in results:
        if result.scenario.id in ("P1", "P9"):
            for row in result.rows:
                found.setdefault(row.name, row)
    measured = [Bar(row.name, row.rate, row.is_ours) for row in found.values()
                if row.rate is not None]
    return sorted(measured, key=lambda bar: -bar.rate)


def require_p1(ids: Sequence[str]) -> None:
    """To be asked before anything is run."""
    if "P1" not in ids:
        raise UsageError("--svg draws P1: let --only name it")


def _bar(bar: Bar, index: int, longest: float) -> str:
    y = TOP + index * BAR_STEP
    length = max(1.0, (WIDTH - LEFT - RIGHT) * bar.rate / longest)
    base = y + BAR_HEIGHT - 5.5
    kind = ' class="ours"' if bar.is_ours else ""
    return (f'  <text{kind} x="{LEFT - 10}" y="{base}" text-anchor="end">'
            f'{escape(bar.name)}</text>\n'
            f'  <rect{kind} x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR_HEIGHT}"'
            ' rx="3"/>\n'
            f'  <text{kind} x="{LEFT + length + 8:.1f}" y="{base}">{count_text(bar.rate)}</text>')


def _shortened(text: str) -> str:
    if len(text) <= SMALL_LENGTH_MAX:
        return text
    return text[:SMALL_LENGTH_MAX - 3].rstrip() + "..."


def draw(results: Sequence[ScenarioResult], machine: Machine, command: str) -> str:
    """The whole document."""
    drawn = bars(results)
    height = TOP + len(drawn) * BAR_STEP + BOTTOM
    workload = "1 flow, 64 datagrams of 64 bytes in flight, loopback, one server thread"
    where = f"Linux {machine.kernel}, {machine.cpu}, {len(machine.cpus)} CPUs"
    described = "; ".join(f"{bar.name}: {count_text(bar.rate)} per second" for bar in drawn)
    longest = max((bar.rate for bar in drawn), default=1.0)
    body = [_bar(bar, index, longest) for index, bar in enumerate(drawn)]
    if not drawn:
        body = [f'  <text x="24" y="{TOP + 10}">nothing was measured</text>']
        height += BAR_STEP
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title desc">',
        '  <title id="title">Echoes per second</title>',
        f'  <desc id="desc">{escape(described or "nothing was measured")}</desc>',
        f"  <style>{_STYLE}  </style>",
        '  <text class="title" x="24" y="28">Echoes per second</text>',
        f'  <text class="small" x="24" y="46">{escape(workload)}</text>',
        f'  <text class="small" x="24" y="61">{escape(_shortened(where))}</text>',
        *body,
        f'  <text class="small" x="24" y="{height - 27}">medians of interleaved rounds, counted'
        " where the answers arrive</text>",
        f'  <text class="small" x="24" y="{height - 12}">{escape(_shortened(command))}</text>',
        "</svg>", ""])
