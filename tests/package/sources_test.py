#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""quoit can be a part of somebody else's build: add_subdirectory, FetchContent.

Usage: sources_test.py build=BUILD_TREE work=FOLDER [compiler=... launcher=...]

Building the library takes the time. It is not optimised, and with ccache it is compiled once: the
two consumers are laid out alike, so that the second has the same compiler calls.
"""
import re
import unittest

import outside
from outside import ROOT, settings


class QuoitInAnotherBuild(unittest.TestCase):
    def consume(self, name):
        folder = outside.copy_consumer(name)
        (folder / "quoit").symlink_to(ROOT)
        launcher = settings.launcher.replace("|", ";")
        with_io_uring = "ON" if settings.has_io_uring else "OFF"
        done = outside.configure(folder, "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0",
                                 f"-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}",
                                 "-DQUOIT_PRECOMPILE_HEADERS=ON",
                                 f"-DQUOIT_WITH_IO_URING={with_io_uring}")
        self.assertEqual(done.returncode, 0, done.stdout)
        outside.check_echo(self, outside.build(folder))
        self.check_that_nothing_leaks(folder)

    def check_that_nothing_leaks(self, folder):
        """Only the library is built, nothing of ours is installed with the consumer's own, and its
        choices are its own."""
        cache = (folder / "build/CMakeCache.txt").read_text(encoding="utf-8")
        for option in ("TOOLS", "EXAMPLES", "TESTS"):
            self.assertIn(f"QUOIT_BUILD_{option}:BOOL=OFF", cache)
        self.assertIn("QUOIT_INSTALL:BOOL=OFF", cache)
        self.assertFalse((folder / "build/compile_commands.json").exists())
        outside.must("cmake", "--install", folder / "build", "--prefix", folder / "prefix")
        self.assertFalse((folder / "prefix").exists())
        programs = {path.name for path in (folder / "build").rglob("*")
                    if path.is_file() and path.stat().st_mode & 0o100
                    and not re.search(r"CMakeFiles|\.so|\.bin", str(path))}
        self.assertEqual(programs, {"echo"})

    def test_AddSubdirectoryBuildsAndRuns(self):
        self.consume("subdirectory")

    def test_FetchContentBuildsAndRuns(self):
        self.consume("fetch_content")


if __name__ == "__main__":
    outside.main(__doc__, "sources")
