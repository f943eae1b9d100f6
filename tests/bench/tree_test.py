#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Building what is compared, with a CMake that builds nothing."""

import contextlib
import io
import os
import shutil
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import support  # noqa: F401  (sets the path)
from comparison import tree
from comparison.tree import BuildFailed

MAKES_THE_CLIENT = """mkdir -p build/bench/bench/client
touch build/bench/bench/client/bench_client
"""


class Build(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.sources = Path(scratch.name)
        self.write("tools/setup", 'echo "$@" >setup.log\n')

    def write(self, name, body):
        path = self.sources / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}", encoding="utf-8")
        path.chmod(0o755)

    def build(self, cmake):
        """Returns the tree and what was printed."""
        logging = 'echo "$@" >>cmake.log\necho "generator=$CMAKE_GENERATOR"\n'
        self.write("bin/cmake", logging + cmake)
        path = f"{self.sources / 'bin'}{os.pathsep}{os.environ['PATH']}"
        printed = io.StringIO()
        environment = {"PATH": path, "CMAKE_GENERATOR": ""}
        with mock.patch.dict(os.environ, environment), contextlib.redirect_stderr(printed):
            try:
                return tree.build(self.sources), printed.getvalue()
            except BuildFailed as why:
                return why, printed.getvalue()

    def logged(self, name):
        return (self.sources / name).read_text(encoding="utf-8")

    def test_sets_up_configures_and_builds_a_tree_of_its_own_without_a_word(self):
        built, printed = self.build(MAKES_THE_CLIENT)
        self.assertEqual((built, printed), (self.sources / "build" / "bench", ""))
        self.assertEqual(self.logged("setup.log"), "build bench\n")
        configure, make = self.logged("cmake.log").splitlines()
        for option in ("-S . -B build/bench", "-DCMAKE_BUILD_TYPE=Release",
                       "-DQUOIT_BUILD_BENCH=ON", "-DQUOIT_BUILD_TESTS=OFF"):
            self.assertIn(option, configure)
        self.assertEqual(make, "--build build/bench -j2")

    def test_a_failing_build_shows_what_it_said(self):
        failed, printed = self.build("echo no such compiler >&2; exit 1\n")
        self.assertIn("cmake -S . -B build/bench", str(failed))
        self.assertIn("no such compiler", printed)

    @unittest.skipUnless(shutil.which("ninja"), "ninja is not installed")
    def test_new_trees_are_made_for_ninja_where_it_is_installed(self):
        _, printed = self.build("exit 1\n")
        self.assertIn("generator=Ninja", printed)

    def test_a_failing_setup_ends_it(self):
        self.write("tools/setup", "exit 1\n")
        failed, _ = self.build(MAKES_THE_CLIENT)
        self.assertIn("tools/setup build bench failed", str(failed))
        self.assertFalse((self.sources / "cmake.log").exists())

    def test_a_build_without_the_client_is_refused(self):
        failed, _ = self.build("true\n")
        self.assertIn("there is no bench/client/bench_client", str(failed))


if __name__ == "__main__":
    unittest.main(verbosity=2)
