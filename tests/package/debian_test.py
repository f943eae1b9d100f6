#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cpack makes two Debian packages that hold and need what they should.

Usage: debian_test.py build=BUILD_TREE work=FOLDER version=... [unittest arguments]

That they can be installed into a clean root, and used there, is tried by hand: clean_root.
"""
import os
import re
import shutil
import unittest

import outside
from outside import ROOT, settings


class TheDebianPackages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        outside.must("cpack", "-G", "DEB", "-B", settings.work / "packages", cwd=settings.build)
        found = sorted((settings.work / "packages").glob("*.deb"))
        cls.packages = {path.name.split("_")[0]: path for path in found}

    def field(self, package, name):
        return outside.must("dpkg-deb", "--field", self.packages[package], name).strip()

    def content(self, package):
        lines = outside.must("dpkg-deb", "--contents", self.packages[package]).splitlines()
        return {line.split()[5].removeprefix("."): line for line in lines}

    def test_AreTwoOfTheProjectsVersion(self):
        self.assertEqual(set(self.packages), {"libquoit-dev", "quoit"})
        for package in self.packages:
            self.assertEqual(self.field(package, "Version"), settings.version)

    def test_NeedWhatTheyUse(self):
        program = self.field("quoit", "Depends")
        self.assertRegex(program, r"\blibc6 \(>= ")
        self.assertRegex(program, r"\blibstdc\+\+6 \(>= ")
        library = self.field("libquoit-dev", "Depends")
        if settings.has_io_uring:
            self.assertRegex(program, r"\bliburing2 \(>= 2\.3\)")
            self.assertEqual(library, "liburing-dev (>= 2.3)")

    def test_HoldWhatTheyShouldAndNothingElse(self):
        program = {name for name in self.content("quoit") if not name.endswith("/")}
        self.assertEqual(program, {
            "/usr/bin/quoit",
            "/usr/share/bash-completion/completions/quoit",
            "/usr/share/doc/quoit/CHANGELOG.md.gz",
            "/usr/share/doc/quoit/changelog.gz",
            "/usr/share/doc/quoit/copyright",
            "/usr/share/man/man1/quoit.1.gz",
        })
        library = {name for name in self.content("libquoit-dev") if not name.endswith("/")}
        self.assertIn("/usr/include/quoit/quoit.hpp", library)
        self.assertIn("/usr/share/doc/libquoit-dev/copyright", library)
        strange = {name for name in library if not re.fullmatch(
            r"/usr/(include/quoit/\S+\.hpp|share/doc/libquoit-dev/\S+|"
            r"lib(/[\w-]+)?/(libquoit\.a|pkgconfig/quoit\.pc|cmake/quoit/\S+\.cmake))", name)}
        self.assertEqual(strange, set())

    def test_AreTheRootsAndNobodyElseMayWrite(self):
        for package in self.packages:
            for name, line in self.content(package).items():
                mode, owner = line.split()[:2]
                self.assertEqual(owner, "root/root", name)
                self.assertRegex(mode, "^drwxr-xr-x$|^-rwxr-xr-x$|^-rw-r--r--$", name)

    def test_UnpackToFilesThatTheirSumsAreRightOf(self):
        for package, path in self.packages.items():
            root = settings.work / package
            outside.must("dpkg-deb", "--raw-extract", path, root)
            outside.must("md5sum", "--check", "--quiet", "DEBIAN/md5sums", cwd=root)
            copyright_text = (root / "usr/share/doc" / package / "copyright").read_text("utf-8")
            self.assertEqual(copyright_text, (ROOT / "LICENSE").read_text("utf-8"))

    def test_AreWithoutErrorsToLintian(self):
        if os.environ.get("QUOIT_REQUIRE_LINTIAN") != "1":
            self.skipTest("QUOIT_REQUIRE_LINTIAN is not 1; lintian takes half a minute")
        self.assertTrue(shutil.which("lintian"), "lintian is not installed")
        done = outside.run("lintian", "--allow-root", "--fail-on", "error",
                           *self.packages.values())
        self.assertEqual(done.returncode, 0, done.stdout)
        print(done.stdout)


if __name__ == "__main__":
    outside.main(__doc__, "debian")
