// SPDX-License-Identifier: MIT
#include "doctor.hpp"

namespace quoit::program {

doctor_result run_doctor(const doctor_settings& settings) {
    doctor_result result{.facts = gather_facts(settings.backend, settings.wait), .findings = {}};
    result.findings = check(result.facts);
    return result;
}

}  // namespace quoit::program
