// SPDX-License-Identifier: MIT
#include "doctor.hpp"

#include <quoit/version.hpp>

#include <algorithm>
#include <optional>
#include <system_error>

#include <nlohmann/json.hpp>

namespace quoit::program {

namespace {

using json = nlohmann::ordered_json;

constexpr int json_indent = 2;

template <class T>
json or_null(const std::optional<T>& value) {
    return value ? json(*value) : json(nullptr);
}
json or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

// "unlimited" is no number.
json limit(const std::optional<std::uint64_t>& value) {
    return value == unlimited ? json("unlimited") : or_null(value);
}

// A code of quoit's own is no errno.
json errno_of(const std::error_code& code) {
    return code && code.category() == std::system_category() ? json(code.value()) : json(nullptr);
}

json json_of(const feature& one) {
    return {{"id", one.id},
            {"name", one.name},
            {"since", one.since},
            {"required", one.is_required},
            {"state", to_string(one.state)},
            {"errno", errno_of(one.code)},
            {"cause", or_null(one.cause)},
            {"remedy", or_null(one.remedy)}};
}

json json_of(const std::optional<udp_counters>& counters) {
    if (!counters) return nullptr;
    return {{"InDatagrams", counters->received},
            {"NoPorts", counters->no_ports},
            {"InErrors", counters->receive_errors},
            {"RcvbufErrors", counters->receive_buffer_errors},
            {"SndbufErrors", counters->send_buffer_errors},
            {"InCsumErrors", counters->checksum_errors},
            {"MemErrors", counters->memory_errors}};
}

json json_of(const std::optional<std::vector<softnet_counters>>& cpus) {
    if (!cpus) return nullptr;
    json all = json::array();
    for (const softnet_counters& one : *cpus) {
        all.push_back({{"cpu", or_null(one.cpu)},
                       {"processed", one.processed},
                       {"dropped", one.dropped},
                       {"squeezed", one.squeezed}});
    }
    return all;
}

json json_of(const network_sample& sample) {
    return {{"udp", json_of(sample.ipv4)},
            {"udp6", json_of(sample.ipv6)},
            {"softnet", json_of(sample.softnet)}};
}

json features_of(const machine_facts& facts) {
    json all = json::array();
    for (const feature& one : facts.io_uring.features)
        all.push_back(json_of(one));
    return all;
}

json json_of(const machine_facts& facts) {
    json udp_mem = nullptr;
    if (facts.udp_mem) {
        udp_mem = {facts.udp_mem->min, facts.udp_mem->pressure, facts.udp_mem->max};
    }
    json quota = nullptr;
    if (facts.quota) quota = facts.quota->cpus ? json(*facts.quota->cpus) : json("unlimited");
    return {
        {"kernel", or_null(facts.kernel_release)},
        {"backend_asked", to_string(facts.asked)},
        {"backend", facts.chosen ? json(to_string(facts.chosen->backend)) : json(nullptr)},
        {"reason", facts.chosen ? or_null(facts.chosen->reason) : or_null(facts.refusal)},
        {"built_with_io_uring", !facts.io_uring.features.empty()},
        {"io_uring", features_of(facts)},
        {"offload",
         {{"segmentation", json_of(facts.offload.segmentation)},
          {"segments_max", facts.offload.segments_max},
          {"coalescing", json_of(facts.offload.coalescing)},
          {"loopback_is_down", facts.offload.is_loopback_down}}},
        {"kernel.io_uring_disabled", or_null(facts.io_uring_disabled)},
        {"kernel.io_uring_group", or_null(facts.io_uring_group)},
        {"net.core.rmem_max", or_null(facts.rmem_max)},
        {"net.core.wmem_max", or_null(facts.wmem_max)},
        {"net.core.netdev_max_backlog", or_null(facts.netdev_max_backlog)},
        {"net.core.netdev_budget", or_null(facts.netdev_budget)},
        {"net.ipv4.udp_mem", udp_mem},
        {"udp_pages", or_null(facts.udp_pages)},
        {"page_size", facts.page_size},
        {"memlock", limit(facts.memlock)},
        {"nofile", limit(facts.nofile)},
        {"seccomp_mode", or_null(facts.status.seccomp_mode)},
        {"capabilities", or_null(facts.status.capabilities)},
        {"cpus_online", or_null(facts.cpus_online)},
        {"cpus_allowed", or_null(facts.cpus_allowed)},
        {"cpu_quota", quota},
        {"seconds", std::chrono::duration<double>(facts.between).count()},
        {"before", json_of(facts.before)},
        {"after", json_of(facts.after)},
    };
}

json json_of(const finding& one) {
    json made{{"id", one.id},
              {"group", one.group},
              {"name", one.name},
              {"status", to_string(one.verdict)},
              {"current", or_null(one.current)},
              {"wanted", or_null(one.wanted)},
              {"why", or_null(one.why)},
              {"remedy", or_null(one.remedy)},
              {"sysctl", nullptr}};
    if (one.setting) made["sysctl"] = {{"name", one.setting->name}, {"value", one.setting->value}};
    return made;
}

}  // namespace

std::string to_json(const doctor_result& result) {
    json findings = json::array();
    for (const finding& one : result.findings)
        findings.push_back(json_of(one));
    json counts = json::object();
    for (const verdict of : {verdict::ok, verdict::warn, verdict::fail, verdict::unknown}) {
        counts[std::string(to_string(of))] =
            std::ranges::count(result.findings, of, &finding::verdict);
    }
    const json object{{"program", "quoit doctor"},
                      {"version", version_string},
                      {"counts", counts},
                      {"findings", findings},
                      {"facts", json_of(result.facts)}};
    // The kernel's texts are not ours: what is no UTF-8 is replaced.
    return object.dump(json_indent, ' ', false, json::error_handler_t::replace);
}

}  // namespace quoit::program
