#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An installed quoit can be used by strangers, also after its tree was moved.

Usage: installed_test.py build=BUILD_TREE work=FOLDER [compiler=... libdir=... version=...
       has_io_uring=ON] [unittest arguments]
"""
import re
import shutil
import subprocess
import unittest

import outside
from outside import ROOT, settings

prefix = None   # where the tree is now
origin = None   # where it was installed


def setUpModule():
    """Installed, consumed and moved once: the tests below are about the moved tree, and the first
    of them about the one that was not."""
    global prefix, origin
    prefix = origin = settings.work / "first"
    outside.must("cmake", "--install", settings.build, "--prefix", prefix)


def moved():
    """The prefix, in another place than it was installed to."""
    global prefix
    if prefix == origin:
        prefix = settings.work / "elsewhere" / "deeper"
        prefix.parent.mkdir()
        origin.rename(prefix)
    return prefix


def pkg_config_path():
    return str(prefix / settings.libdir / "pkgconfig")


def public_headers():
    """What the sources have, by the name that users include."""
    names = set()
    for area in ("engine", "api"):
        folder = ROOT / area / "include"
        names |= {path.relative_to(folder).as_posix().removesuffix(".in")
                  for path in folder.rglob("*") if path.name.endswith((".hpp", ".hpp.in"))}
    return names


class AnInstalledTree(unittest.TestCase):
    def consume(self, name):
        with self.subTest("find_package"):
            folder = outside.copy_consumer("find_package", f"{name}/find_package")
            done = outside.configure(folder, f"-DCMAKE_PREFIX_PATH={prefix}")
            self.assertEqual(done.returncode, 0, done.stdout)
            cache = (folder / "build/CMakeCache.txt").read_text(encoding="utf-8")
            self.assertIn(f"quoit_DIR:PATH={prefix}/", cache, "another quoit was found")
            outside.check_echo(self, outside.build(folder))
        with self.subTest("pkg-config"):
            folder = outside.copy_consumer("pkg_config", f"{name}/pkg_config")
            program = folder / "echo"
            outside.must(folder / "build", folder.parent / "echo.cpp", program,
                         PKG_CONFIG_PATH=pkg_config_path(), CXX=settings.compiler)
            outside.check_echo(self, program)

    def test_1_IsConsumedWhereItWasInstalled(self):
        self.consume("installed")

    def test_2_IsConsumedWhereItWasMovedTo(self):
        moved()
        self.consume("moved")

    def test_3_HoldsEveryPublicHeaderAndNothingElse(self):
        include = moved() / "include"
        found = {path.relative_to(include).as_posix() for path in include.rglob("*")
                 if path.is_file()}
        self.assertEqual(found, public_headers())
        archives = [path.name for path in prefix.rglob("*.a")]
        self.assertEqual(archives, ["libquoit.a"])

    def test_4_DoesNotSayWhereItComesFrom(self):
        """But for the archive, whose debug information names the sources."""
        for path in moved().rglob("*"):
            if path.is_file() and path.suffix != ".a" and path.parent.name != "bin":
                text = path.read_text(encoding="utf-8")
                for place in (origin, settings.build, ROOT):
                    self.assertNotIn(str(place), text, path)

    def test_5_PkgConfigKnowsTheVersionAndWhatIsPrivate(self):
        moved()
        ask = ("pkg-config", "quoit")
        version = outside.must(*ask, "--modversion", PKG_CONFIG_PATH=pkg_config_path())
        self.assertEqual(version.strip(), settings.version)
        shared = outside.must(*ask, "--libs", PKG_CONFIG_PATH=pkg_config_path()).split()
        static = outside.must(*ask, "--libs", "--static", PKG_CONFIG_PATH=pkg_config_path()).split()
        self.assertIn("-lquoit", shared)
        self.assertEqual("-luring" in static, settings.has_io_uring)
        self.assertNotIn("-luring", shared)


class TheConfigPackage(unittest.TestCase):
    """Asked by a project that builds nothing."""
    def ask(self, name, text, *arguments):
        moved()
        folder = settings.work / name
        folder.mkdir()
        (folder / "CMakeLists.txt").write_text(
            f"cmake_minimum_required(VERSION 3.25)\nproject(asks LANGUAGES CXX)\n{text}\n",
            encoding="utf-8")
        return outside.configure(folder, f"-DCMAKE_PREFIX_PATH={prefix}", *arguments)

    def test_SaysThatLiburingIsMissing(self):
        if not settings.has_io_uring:
            self.skipTest("built without io_uring, so it needs no liburing")
        done = self.ask("no_liburing", """
            set(CMAKE_MODULE_PATH "/mine;/yours")
            find_package(quoit CONFIG)
            message("path=${CMAKE_MODULE_PATH} target=$<TARGET_EXISTS:quoit::quoit>")
            if(NOT CMAKE_MODULE_PATH STREQUAL "/mine;/yours" OR TARGET quoit::quoit)
                message(FATAL_ERROR "the module path was changed, or half a package was left")
            endif()
            find_package(quoit CONFIG REQUIRED)
            """, "-DCMAKE_DISABLE_FIND_PACKAGE_liburing=ON")
        self.assertNotEqual(done.returncode, 0)
        said = " ".join(done.stdout.split())
        self.assertIn("quoit was built with io_uring, and liburing >= 2.3 was not found: "
                      "install it (Debian: liburing-dev)", said)
        self.assertNotIn("the module path was changed", said)

    def test_LeavesTheModulePathAsItWas(self):
        done = self.ask("module_path", """
            set(CMAKE_MODULE_PATH "/mine;/yours")
            find_package(quoit CONFIG REQUIRED)
            if(NOT CMAKE_MODULE_PATH STREQUAL "/mine;/yours")
                message(FATAL_ERROR "the module path was changed: ${CMAKE_MODULE_PATH}")
            endif()
            if(DEFINED liburing_DIR)
                message(FATAL_ERROR "a config package of liburing was looked for")
            endif()
            """)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_MayBeAskedTwiceAndFromTwoFolders(self):
        done = self.ask("twice", """
            find_package(quoit CONFIG REQUIRED)
            find_package(quoit CONFIG REQUIRED)
            file(WRITE "${CMAKE_BINARY_DIR}/below/CMakeLists.txt"
                "find_package(quoit CONFIG REQUIRED)")
            add_subdirectory("${CMAKE_BINARY_DIR}/below" below_build)
            """)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_IsCompatibleWithinItsMinorVersion(self):
        major, minor, patch = (int(one) for one in settings.version.split("."))
        self.assertEqual(major, 0, "since 1.0 this test, and the promise, are about major versions")
        fits = [f"{major}.{minor}", settings.version]
        fits_not = [f"{major}.{minor + 1}", f"{major}.{minor}.{patch + 1}", f"{major + 1}"]
        if minor > 0:
            fits_not.append(f"{major}.{minor - 1}")
        text = [f"""
            find_package(quoit {wanted} CONFIG QUIET)
            if({"NOT" if wanted in fits else ""} quoit_FOUND)
                message(FATAL_ERROR "{wanted}: ${{quoit_FOUND}}")
            endif()
            unset(quoit_DIR CACHE)""" for wanted in fits + fits_not]
        done = self.ask("versions", "\n".join(text))
        self.assertEqual(done.returncode, 0, done.stdout)


class TheProgram(unittest.TestCase):
    def help_of(self, *subcommand):
        return outside.must(moved() / "bin/quoit", *subcommand, "--help")

    def leaves(self, *above):
        """The subcommands that have none of their own: [("packets", "serve"), ...]"""
        listed = re.search(r"^Subcommands:\n((?:  .*\n)+)", self.help_of(*above), re.MULTILINE)
        if not listed:
            return [above]
        names = re.findall(r"^  ([a-z]\S*)", listed[1], re.MULTILINE)
        return [leaf for name in names for leaf in self.leaves(*above, name)]

    def complete(self, *words):
        """What bash offers for the last of the words."""
        script = moved() / "share/bash-completion/completions/quoit"
        quoted = " ".join(f"'{word}'" for word in words)
        return outside.must("bash", "-c", f"""
            source '{script}'
            COMP_WORDS=({quoted})
            COMP_CWORD={len(words) - 1}
            _quoit
            printf '%s\\n' "${{COMPREPLY[@]}}" """).split()

    def test_IsInstalledAndSaysItsVersion(self):
        said = outside.must(moved() / "bin/quoit", "--version")
        self.assertEqual(said.strip(), f"quoit {settings.version}")

    def test_HasAManualPageWithEveryOptionOfEverySubcommand(self):
        page = (moved() / "share/man/man1/quoit.1").read_text(encoding="utf-8")
        leaves = self.leaves()
        self.assertIn(("packets", "serve"), leaves)
        sections = dict(re.findall(r"^\.SS quoit (.*)\n((?:(?!\.SS ).*\n)*)", page, re.MULTILINE))
        self.assertEqual(set(sections), {" ".join(leaf) for leaf in leaves})
        for leaf in leaves:
            options = re.findall(r"^  (?:-.,)?--([a-z-]+)", self.help_of(*leaf), re.MULTILINE)
            self.assertIn("help", options)
            for option in options:
                self.assertIn(r"\fB\-\-" + option.replace("-", r"\-") + r"\fR",
                              sections[" ".join(leaf)], leaf)

    def test_HasAManualPageThatTheFormatterTakesWithoutAWarning(self):
        if not shutil.which("groff"):
            self.skipTest("groff is not installed")
        page = moved() / "share/man/man1/quoit.1"
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", page],
                              capture_output=True, text=True, check=True)
        self.assertEqual(done.stderr, "")

    def test_IsCompletedByBash(self):
        program = str(moved() / "bin/quoit")
        self.assertIn("echo", self.complete(program, ""))
        self.assertEqual(self.complete(program, "lo"), ["load"])
        self.assertEqual(self.complete(program, "packets", "se"), ["serve", "send"])
        self.assertIn("--bind", self.complete(program, "echo", "--b"))
        self.assertNotIn("--target", self.complete(program, "echo", "--"))
        self.assertEqual(self.complete(program, "echo", "--bind", "x", "--off"), ["--offload"])


if __name__ == "__main__":
    outside.main(__doc__, "installed")
