# SPDX-License-Identifier: MIT
"""The build tree the programs come from."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from .measure import CLIENT

TREE = Path("build") / "bench"
BUILD_LIMIT_S = 3600


class BuildFailed(Exception):
    """The programs cannot be had; the message says why."""


def _quietly(command: list[str], sources: Path, environment: dict[str, str]) -> None:
    """Prints what the command said only when it fails."""
    try:
        started = subprocess.Popen(command, cwd=sources, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   errors="replace", process_group=0)
    except OSError as why:
        raise BuildFailed(f"cannot start {command[0]}: {why.strerror}") from why
    try:
        output, _ = started.communicate(timeout=BUILD_LIMIT_S)
    except subprocess.TimeoutExpired as why:
        raise BuildFailed(f"{command[0]} did not end within {BUILD_LIMIT_S} s") from why
    finally:
        # An interrupt has to reach the compilers, not only the command that started them.
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGTERM)
            started.wait()
    if started.returncode != 0:
        sys.stderr.write(output)
        raise BuildFailed(f"{' '.join(command)} failed (status {started.returncode})")


def _setup(sources: Path) -> None:
    # Not quietly: it installs packages, and that should be seen.
    command = [str(sources / "tools" / "setup"), "build", "bench"]
    try:
        ended = subprocess.run(command, cwd=sources, stdin=subprocess.DEVNULL, check=False,
                               timeout=BUILD_LIMIT_S)
    except OSError as why:
        raise BuildFailed(f"cannot start {command[0]}: {why.strerror}") from why
    except subprocess.TimeoutExpired as why:
        raise BuildFailed(f"tools/setup did not end within {BUILD_LIMIT_S} s") from why
    if ended.returncode != 0:
        raise BuildFailed("tools/setup build bench failed")


def build(sources: Path) -> Path:
    """Sets up, configures, builds; returns the tree."""
    _setup(sources)
    environment = dict(os.environ)
    # By environment and not by -G: an existing tree keeps the generator it has.
    if not environment.get("CMAKE_GENERATOR") and shutil.which("ninja"):
        environment["CMAKE_GENERATOR"] = "Ninja"
    _quietly(["cmake", "-S", ".", "-B", str(TREE), "-DCMAKE_BUILD_TYPE=Release",
              "-DQUOIT_BUILD_BENCH=ON", "-DQUOIT_BUILD_TESTS=OFF", "-DQUOIT_BUILD_EXAMPLES=OFF"],
             sources, environment)
    _quietly(["cmake", "--build", str(TREE), "-j2"], sources, environment)
    return _checked(sources / TREE)


def existing(directory: str) -> Path:
    """A tree the user named; nothing is built there."""
    return _checked(Path(directory).resolve())


def _checked(tree: Path) -> Path:
    # Without a client there is no contest; any other program that is missing is told in its row.
    if not (tree / CLIENT).exists():
        raise BuildFailed(f"{tree}: there is no {CLIENT} in it")
    return tree
