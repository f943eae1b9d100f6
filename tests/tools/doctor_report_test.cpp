// SPDX-License-Identifier: MIT
#include "doctor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <string>
#include <system_error>

namespace quoit::program {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

finding warned(std::string id, std::optional<sysctl_setting> setting = std::nullopt) {
    return {.group = "a group",
            .id = id,
            .name = std::move(id),
            .verdict = verdict::warn,
            .current = "too little",
            .wanted = "more",
            .why =
                "A sentence that is long enough to be wrapped, since it goes on and on about "
                "what would happen if nobody did anything, which is what people do.",
            .remedy = "do something",
            .setting = std::move(setting)};
}

doctor_result with(std::vector<finding> findings) {
    doctor_result result;
    result.findings = std::move(findings);
    return result;
}

finding at_peace() {
    return {.group = "a group", .id = "peace", .name = "peace", .current = "everywhere"};
}

TEST(doctor_text, WhatIsToBeMendedComesFirstAndTheWorstBeforeTheRest) {
    auto worse = warned("worse");
    worse.verdict = verdict::fail;
    const std::string text = to_text(with({at_peace(), warned("bad"), worse}));
    EXPECT_THAT(text, HasSubstr("1 FAIL, 1 WARN, 1 OK, 0 unknown\n"));
    EXPECT_LT(text.find("FAIL  worse"), text.find("WARN  bad"));
    EXPECT_LT(text.find("WARN  bad"), text.find("OK    peace"));
    EXPECT_THAT(text, HasSubstr("      wanted  more\n"));
    EXPECT_THAT(text, HasSubstr("      mend    do something\n"));
}

TEST(doctor_text, NoLineIsLongerThanAScreenOfEightyColumns) {
    std::istringstream text(to_text(with({warned("bad"), at_peace()})) +
                            to_sysctl_file(with({warned("bad", sysctl_setting{"a.b", "1"})})));
    for (std::string line; std::getline(text, line);)
        EXPECT_LE(line.size(), 80U) << line;
}

TEST(doctor_text, TheFileIsOfferedOnlyIfItWouldHoldSomething) {
    EXPECT_THAT(to_text(with({warned("bad")})), Not(HasSubstr("--fix")));
    EXPECT_THAT(to_text(with({warned("bad", sysctl_setting{"a.b", "1"})})), HasSubstr("--fix"));
}

// What sysctl(8) would read: no comment, not empty.
std::vector<std::string> settings_in(const std::string& file) {
    std::vector<std::string> found;
    std::istringstream text(file);
    for (std::string line; std::getline(text, line);) {
        if (!line.empty() && line.front() != '#') found.push_back(line);
    }
    return found;
}

TEST(doctor_sysctl_file, HoldsEachSysctlOnceAndTheLargerValue) {
    const std::string file = to_sysctl_file(with({warned("one", sysctl_setting{"a.b", "1000"}),
                                                  warned("two", sysctl_setting{"c.d", "1 2 3"}),
                                                  warned("three", sysctl_setting{"a.b", "2000"})}));
    EXPECT_EQ(settings_in(file), (std::vector<std::string>{"c.d = 1 2 3", "a.b = 2000"}));
    const std::string falling = to_sysctl_file(with({warned("one", sysctl_setting{"a.b", "1000"}),
                                                     warned("two", sysctl_setting{"a.b", "200"})}));
    EXPECT_EQ(settings_in(falling), (std::vector<std::string>{"a.b = 1000"}));
}

TEST(doctor_sysctl_file, SaysAboveASettingWhatElseItDoes) {
    finding one = warned("bad", sysctl_setting{"a.b", "1"});
    one.caution = "It opens a door.";
    EXPECT_THAT(to_sysctl_file(with({one})), HasSubstr("\n# It opens a door.\na.b = 1\n"));
}

TEST(doctor_sysctl_file, WithNothingToMendSaysSoInAComment) {
    const std::string file = to_sysctl_file(with({at_peace()}));
    EXPECT_TRUE(settings_in(file).empty());
    EXPECT_THAT(file, HasSubstr("# Nothing to mend"));
}

TEST(doctor_sysctl_file, WhatCouldNotBeReadIsNamedAndNotCalledWell) {
    finding unread = at_peace();
    unread.id = unread.name = "net.core.rmem_max";
    unread.verdict = verdict::unknown;
    finding other = at_peace();
    other.verdict = verdict::unknown;  // no sysctl
    const std::string file = to_sysctl_file(with({unread, other}));
    EXPECT_TRUE(settings_in(file).empty());
    EXPECT_THAT(file, HasSubstr("# - net.core.rmem_max\n"));
    EXPECT_THAT(file, Not(HasSubstr("Nothing to mend")));
    EXPECT_THAT(file, Not(HasSubstr("peace")));
    EXPECT_THAT(to_sysctl_file(with({other})), HasSubstr("Nothing to mend"));
}

TEST(doctor_sysctl_file, NamesInCommentsWhatIsNoSysctl) {
    const std::string file = to_sysctl_file(with({warned("bad")}));
    EXPECT_TRUE(settings_in(file).empty());
    EXPECT_THAT(file, HasSubstr("# - bad: too little; do something\n"));
}

TEST(doctor_json, HasTheFindingsAndWhatIsNotKnownIsNull) {
    const auto object = nlohmann::json::parse(
        to_json(with({warned("bad", sysctl_setting{"a.b", "1"}), at_peace()})));
    EXPECT_EQ(object["program"], "quoit doctor");
    EXPECT_EQ(object["counts"]["WARN"], 1);
    ASSERT_EQ(object["findings"].size(), 2U);
    EXPECT_EQ(object["findings"][0]["status"], "WARN");
    EXPECT_EQ(object["findings"][0]["sysctl"]["name"], "a.b");
    EXPECT_EQ(object["findings"][1]["wanted"], nullptr);
    for (const char* const name : {"kernel", "net.core.rmem_max", "net.ipv4.udp_mem", "memlock",
                                   "cpus_allowed", "cpu_quota", "backend"}) {
        ASSERT_TRUE(object["facts"].contains(name)) << name;
        EXPECT_EQ(object["facts"][name], nullptr) << name;
    }
    EXPECT_EQ(object["facts"]["before"]["udp"], nullptr);
}

TEST(doctor_json, NumbersAreNumbersAndUnlimitedIsAWord) {
    doctor_result result;
    result.facts.memlock = unlimited;
    result.facts.nofile = 1024;
    result.facts.udp_mem = udp_memory{.min = 1, .pressure = 2, .max = 3};
    result.facts.after.softnet = {{.processed = 1, .dropped = 2, .squeezed = 3}};
    const auto facts = nlohmann::json::parse(to_json(result))["facts"];
    EXPECT_EQ(facts["memlock"], "unlimited");
    EXPECT_EQ(facts["nofile"], 1024);
    EXPECT_EQ(facts["net.ipv4.udp_mem"], (nlohmann::json{1, 2, 3}));
    EXPECT_EQ(facts["after"]["softnet"][0]["dropped"], 2);
}

TEST(doctor_json, AnErrnoIsTheSystemsAndNotACodeOfQuoits) {
    doctor_result result;
    result.facts.io_uring.features = {
        {.id = "a", .name = "a", .since = "1", .code = {EPERM, std::system_category()}},
        {.id = "b", .name = "b", .since = "1", .code = make_error_code(errc::timed_out)},
        {.id = "c", .name = "c", .since = "1"}};
    const auto features = nlohmann::json::parse(to_json(result))["facts"]["io_uring"];
    EXPECT_EQ(features[0]["errno"], EPERM);
    EXPECT_EQ(features[1]["errno"], nullptr);
    EXPECT_EQ(features[2]["errno"], nullptr);
}

TEST(doctor_json, ATextThatIsNoUtf8IsReplacedAndNotThrown) {
    doctor_result result;
    result.facts.kernel_release = "6.1\xff";
    EXPECT_THAT(to_json(result), HasSubstr("6.1\xef\xbf\xbd"));
}

}  // namespace
}  // namespace quoit::program
