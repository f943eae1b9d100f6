#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What docs/kernel_support.md says quoit uses, the sources use, in the files it names.

Usage: kernel_support.py ROOT
"""
import pathlib
import re
import sys

PAGE = "docs/kernel_support.md"
NAME = re.compile(r"`((?:SO|IP|IPV6|UDP|TCP|IORING|EPIOC|SCM)_?[A-Z][A-Z0-9_]*)`")
FILE = re.compile(r"`((?:engine|api|tools)/[\w/.]+)`")
# Said of the kernel: used by liburing for us, or only a limit.
NOT_OURS = {"IORING_ENTER_EXT_ARG", "UDP_MAX_SEGMENTS"}


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    root = pathlib.Path(sys.argv[1])
    page = (root / PAGE).read_text(encoding="utf-8")
    engine = root / "engine"
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(engine.rglob("*.[ch]pp")))
    used = set(re.findall(r"\w+", code))
    names = set(NAME.findall(page)) - NOT_OURS
    files = set(FILE.findall(page))
    wrong = [f"{PAGE}: {name} is not in engine/" for name in sorted(names - used)]
    wrong += [f"{PAGE}: there is no {name}" for name in sorted(files) if not (root / name).exists()]
    for line in wrong:
        print(line)
    print(f"{len(names)} names and {len(files)} files, {len(wrong)} wrong")
    return 1 if wrong or not names or not files else 0


if __name__ == "__main__":
    sys.exit(main())
