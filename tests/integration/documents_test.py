#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the pages name is there: files, sections, errors.

Usage: documents_test.py ROOT [unittest arguments]
"""
import errno
import pathlib
import re
import sys
import unittest

LINK = re.compile(r"\]\(([^)\s]+)\)")
# In backticks, from the root; not patterns.
PATH = re.compile(r"`((?:api|bench|docs|engine|tests|tools)/[\w./-]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ROW = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \|", re.MULTILINE)

root = None


def pages():
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").glob("*.md"))]


def text_of(page):
    return page.read_text(encoding="utf-8")


def anchors_of(page):
    """As GitHub and its like make them of headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in HEADING.findall(text_of(page))}


class Pages(unittest.TestCase):
    def test_links_lead_somewhere(self):
        count = 0
        for page in pages():
            for link in LINK.findall(text_of(page)):
                if re.match(r"[a-z]+:", link):
                    continue
                count += 1
                name, _, anchor = link.partition("#")
                target = (page.parent / name).resolve() if name else page
                with self.subTest(page=page.name, link=link):
                    self.assertTrue(target.exists())
                    if anchor:
                        self.assertIn(anchor, anchors_of(target))
        self.assertGreater(count, 20)

    def test_files_that_are_named_exist(self):
        count = 0
        for page in pages():
            if page.name == "CHANGELOG.md":  # which tells of files that are gone
                continue
            for name in PATH.findall(text_of(page)):
                count += 1
                with self.subTest(page=page.name, name=name):
                    self.assertTrue((root / name).exists())
        self.assertGreater(count, 20)


class Errors(unittest.TestCase):
    def rows(self, section):
        """The names in the first column of that section's table."""
        page = text_of(root / "docs/errors.md")
        part = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]
        return [name for row in ROW.findall(part) for name in re.findall(r"`(\w+)`", row)
                if name != "errc"]

    def test_every_errc_has_its_row_and_no_other(self):
        header = text_of(root / "engine/include/quoit/error.hpp")
        body = re.search(r"enum class errc : int \{(.*?)\};", header, re.DOTALL)[1]
        declared = re.findall(r"^\s*(\w+)(?: = \d+)?,", body, re.MULTILINE)
        self.assertGreater(len(declared), 10)
        self.assertEqual(self.rows("quoit::errc"), declared)

    def test_every_errno_is_one(self):
        named = self.rows("Errnos")
        self.assertGreater(len(named), 10)
        self.assertEqual([name for name in named if not hasattr(errno, name)], [])
        self.assertEqual(len(named), len(set(named)), "one is there twice")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__)
        sys.exit(2)
    root = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
