// SPDX-License-Identifier: MIT
//
// quoit doctor: looks at this machine and this process, and says what keeps quoit from running well
// and what mends it. It changes nothing.
//
//   facts (doctor_facts.hpp) --> findings (doctor_checks.hpp) --> text, JSON, a sysctl.d file
#pragma once

#include "doctor_checks.hpp"

#include <quoit/options.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace quoit::program {

struct doctor_settings {
    quoit::backend backend = quoit::backend::automatic;
    /// Between the two looks at the counters of drops.
    std::chrono::nanoseconds wait = std::chrono::seconds(1);
};

struct doctor_result {
    machine_facts facts;
    std::vector<finding> findings;
};

[[nodiscard]] doctor_result run_doctor(const doctor_settings& settings);

/// What is to be mended first, then everything; wrapped at 80 columns. Ends with a newline.
[[nodiscard]] std::string to_text(const doctor_result& result);

/// An object: program, version, counts, findings, facts. What is not known is null.
[[nodiscard]] std::string to_json(const doctor_result& result);

/// A file for /etc/sysctl.d with what sysctls mend, and comments on the rest. Ends with a newline.
[[nodiscard]] std::string to_sysctl_file(const doctor_result& result);

}  // namespace quoit::program
