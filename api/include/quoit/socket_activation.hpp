// SPDX-License-Identifier: MIT
//
// Sockets that an init system opened before it started this program: systemd's socket activation
// (sd_listen_fds(3)), without libsystemd.
//
//   quoit::task<> serve() {
//       auto socket = or_throw(quoit::take_inherited_socket("echo"));   // FileDescriptorName=echo
//       auto server = or_throw(
//           quoit::adopt_udp_server(socket.get(), quoit::ownership::duplicate));
//
// The socket stays the init system's, which will start the next instance with it: duplicate it.
// With ownership::take closing would empty it, as of a socket that nobody else has, and with that
// throw away what the next one should find.
//
// The protocol: LISTEN_PID is the process they are for, LISTEN_FDS how many there are, from
// descriptor 3 on, LISTEN_FDNAMES their names, with colons between. A name that is missing or empty
// is "unknown". Variables of another process are not looked at, and LISTEN_PIDFDID is not used.
//
// Ownership: each descriptor is handed out once, then it is the caller's. What nobody took stays
// open, close-on-exec; so does what is no socket (systemd may pass on files of its store), which is
// not handed out here.
// Threads: any; but nobody may change the environment (setenv(3), putenv(3)) meanwhile. The
// variables are read by the first call, which belongs before the program opens sockets of its own:
// a count that is too high would take in those. They are left in the environment: a child that
// is forked has another process number and does not mistake them for its own. A program that
// executes itself anew keeps its number: it unsets them before.
// Errors: errc::invalid_option for variables that are malformed, with words that name the variable;
// the kernel's (EBADF) for a descriptor that is not open. Then nothing is handed out.
// Source: sd_listen_fds(3), systemd.socket(5).
#pragma once

#include <quoit/error.hpp>
#include <quoit/file_descriptor.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quoit {

/// More are refused: whoever passes on that many means something else.
inline constexpr std::size_t inherited_sockets_max = 1024;

// No aggregate: see docs/coroutines.md.
class inherited_socket {
  public:
    inherited_socket(file_descriptor opened, std::string named) noexcept
        : descriptor(std::move(opened)), name(std::move(named)) {}
    file_descriptor descriptor;
    std::string name;
};

/// Those that have not been handed out yet, in their order. Empty when this program was started
/// without any, by hand for example.
[[nodiscard]] result<std::vector<inherited_socket>> inherited_sockets();

/// The first of that name that has not been handed out yet; the next call, the next one. Errors:
/// std::errc::no_such_file_or_directory when there is none, with the names that there are.
[[nodiscard]] result<file_descriptor> take_inherited_socket(std::string_view name);

}  // namespace quoit
