// SPDX-License-Identifier: MIT
//
// Nothing: the precompiled headers of the tests need a target with a source (tests/CMakeLists.txt).
