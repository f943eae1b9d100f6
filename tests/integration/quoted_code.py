#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Code that a page quotes stands in the file it is quoted from, to the letter.

Usage: quoted_code.py ROOT

A quotation is a code block behind a comment that names the file: <!-- api/examples/echo.cpp -->
"""
import pathlib
import re
import sys

QUOTATION = re.compile(r"<!-- (\S+) -->\n```\w*\n(.*?)```\n", re.DOTALL)


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    root = pathlib.Path(sys.argv[1])
    count = wrong = 0
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        for name, code in QUOTATION.findall(page.read_text(encoding="utf-8")):
            count += 1
            source = root / name
            if not source.is_file() or code not in source.read_text(encoding="utf-8"):
                wrong += 1
                print(f"{page.relative_to(root)}: not what stands in {name}")
    print(f"{count} quotations, {wrong} of them wrong")
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main())
