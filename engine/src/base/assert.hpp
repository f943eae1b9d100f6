// SPDX-License-Identifier: MIT
//
// Assertions: what must hold unless quoit itself, or the program that calls it, has a bug.
//
//   QUOIT_ASSERT(condition, "words")        always compiled in
//   QUOIT_DEBUG_ASSERT(condition, "words")  compiled in when QUOIT_DEBUG_ASSERTIONS is 1; for paths
//                                           that run once per datagram
//
// A failure prints one line to standard error and aborts:
//
//   quoit: assertion failed: count <= capacity, ring.cpp:42: more buffers came back than were lent
//
// The words say what is broken, for somebody who does not have the source at hand. Never assert
// what comes from outside (the wire, the kernel, a user's options): that is an error or a count.
//
// The condition is evaluated exactly once where the assertion is compiled in and never where it is
// not, so it must have no side effects. It is compiled either way, and cannot rot.
//
// Thread safety: any thread may fail.
#pragma once

namespace quoit::detail {

// Out of line and cold, so that an assertion costs its caller one compare and one branch not taken.
[[noreturn, gnu::cold, gnu::noinline]] void assertion_failed(const char* expression,
                                                             const char* file, int line,
                                                             const char* words) noexcept;

}  // namespace quoit::detail

#define QUOIT_ASSERT(condition, words) \
    (static_cast<bool>(condition)      \
         ? static_cast<void>(0)        \
         : ::quoit::detail::assertion_failed(#condition, __FILE__, __LINE__, words))

#if defined(QUOIT_DEBUG_ASSERTIONS) && QUOIT_DEBUG_ASSERTIONS
#define QUOIT_DEBUG_ASSERT(condition, words) QUOIT_ASSERT(condition, words)
#else
#define QUOIT_DEBUG_ASSERT(condition, words) \
    static_cast<void>(false && static_cast<bool>(condition))
#endif
