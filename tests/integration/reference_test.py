#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""doxygen makes the reference of the public headers without a warning.

Usage: reference_test.py DOXYFILE FOLDER

Skipped where doxygen is not installed, unless QUOIT_REQUIRE_DOXYGEN is 1.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

doxyfile = folder = None

WRONG = """
/// \\file
/// A page of its own.

/// A comment that promises what is not there.
/// \\param nothing  no function has it
void function(int something);
/// See \\ref nowhere.
struct structure {};
"""


class TheReference(unittest.TestCase):
    def run_doxygen(self, name, **settings):
        """Exit status and warnings. `settings` replace those of the Doxyfile."""
        output = folder / name
        output.mkdir()
        text = doxyfile.read_text(encoding="utf-8")
        text += f'OUTPUT_DIRECTORY = "{output}"\n'
        text += "".join(f'{key} += "{value}"\n' for key, value in settings.items())
        (output / "Doxyfile").write_text(text, encoding="utf-8")
        done = subprocess.run(["doxygen", output / "Doxyfile"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=100, check=False)
        return done.returncode, done.stderr

    def test_IsMadeWithoutAWarning(self):
        status, warnings = self.run_doxygen("reference")
        self.assertEqual(warnings, "")
        self.assertEqual(status, 0)
        pages = {path.name for path in (folder / "reference/html").glob("*.html")}
        self.assertIn("classquoit_1_1loop.html", pages)
        self.assertEqual([page for page in pages if "1_1detail" in page], [])

    def test_IsRefusedWhenACommentIsWrong(self):
        wrong = folder / "wrong.hpp"
        wrong.write_text(WRONG, encoding="utf-8")
        status, warnings = self.run_doxygen("refused", INPUT=wrong)
        self.assertNotEqual(status, 0)
        self.assertIn("nothing", warnings)
        self.assertIn("nowhere", warnings)


def main():
    global doxyfile, folder
    if len(sys.argv) < 3:
        print(__doc__)
        return 2
    doxyfile, folder = (pathlib.Path(sys.argv.pop(1)).resolve() for _ in range(2))
    if not shutil.which("doxygen"):
        print("doxygen is not installed")
        return 1 if os.environ.get("QUOIT_REQUIRE_DOXYGEN") == "1" else 77
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    unittest.main(module="__main__", verbosity=2)


if __name__ == "__main__":
    sys.exit(main())
