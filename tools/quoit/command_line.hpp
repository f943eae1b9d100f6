// SPDX-License-Identifier: MIT
//
// What was asked on the command line, checked in full before anything begins.
//
// Errors: usage_error, which names the value and what is expected.
#pragma once

#include "doctor.hpp"
#include "echo.hpp"
#include "load.hpp"
#include "packets_send.hpp"
#include "packets_serve.hpp"

#include <string>
#include <variant>

namespace quoit::program {

/// Print this on standard output and end well (--help, --version).
struct print_command {
    std::string text;
};
struct echo_command {
    echo_settings settings;
    std::string json;  // a file, "-", or "" for none
};
struct load_command {
    load_settings settings;
    std::string json;
};
struct packets_serve_command {
    packets_serve_settings settings;
    std::string json;
};
struct packets_send_command {
    packets_send_settings settings;
    std::string json;
};
struct doctor_command {
    doctor_settings settings;
    std::string json;
    bool wants_fix = false;  // the sysctl.d file, and nothing else
};
using command = std::variant<print_command, echo_command, load_command, packets_serve_command,
                             packets_send_command, doctor_command>;

[[nodiscard]] command parse_command_line(int argument_count, const char* const* arguments);

}  // namespace quoit::program
