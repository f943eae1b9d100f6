// SPDX-License-Identifier: MIT
#include <quoit/unix_address.hpp>

#include "net/unix_name.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <type_traits>
#include <unordered_set>

namespace quoit {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

static_assert(std::is_trivially_copyable_v<unix_address>);
static_assert(unix_address().is_unnamed() && unix_address().is_valid());
static_assert(unix_address("a/path").is_path() && unix_address("a/path").name() == "a/path");
static_assert(unix_address::abstract("x").is_abstract() &&
              unix_address::abstract("x").name() == "x");

std::string round_trip(const unix_address& of) {
    const auto parsed = unix_address::parse(of.to_string());
    EXPECT_TRUE(parsed.has_value()) << of.to_string();
    EXPECT_EQ(parsed.value_or(unix_address("?")), of) << of.to_string();
    return of.to_string();
}

unix_address through_the_kernels_form(const unix_address& of) {
    const detail::unix_name name(of);
    const auto* const bytes = reinterpret_cast<const std::byte*>(name.get());
    return detail::from_unix_name({bytes, name.size()}).value_or(unix_address("?"));
}

TEST(unix_address, IsPrintedAsItIsWritten) {
    EXPECT_EQ(round_trip("/run/app.sock"), "/run/app.sock");
    EXPECT_EQ(round_trip("relative"s), "relative");
    EXPECT_EQ(round_trip(unix_address::abstract("app")), "@app");
    EXPECT_EQ(round_trip({}), "unnamed");
}

TEST(unix_address, WhatWouldBeTakenForSomethingElseIsEscaped) {
    EXPECT_EQ(round_trip("@app"), R"(\@app)");
    EXPECT_EQ(round_trip("unnamed"), R"(\x75nnamed)");
    EXPECT_EQ(round_trip(R"(a\b)"), R"(a\\b)");
    EXPECT_EQ(round_trip("two\nlines"), R"(two\x0alines)");
    EXPECT_EQ(round_trip(unix_address::abstract("a\0b"sv)), R"(@a\x00b)");
    EXPECT_EQ(round_trip(unix_address::abstract("")), "@");
    EXPECT_EQ(round_trip("/tmp/\xc3\xa4"), "/tmp/\xc3\xa4");
}

TEST(unix_address, AnyNameSurvivesPrintingAndTheKernelsForm) {
    rc::check([](const std::string& any) {
        const std::string bytes = any.substr(0, 107);
        const auto name = unix_address::abstract(bytes);
        round_trip(name);
        RC_ASSERT(through_the_kernels_form(name) == name);
        if (bytes.empty() || bytes.find('\0') != bytes.npos) return;
        round_trip(unix_address(bytes));
        RC_ASSERT(through_the_kernels_form(bytes) == unix_address(bytes));
    });
}

TEST(unix_address, APathMayHave108BytesAndAnAbstractName107) {
    const std::string longest(108, 'x');
    EXPECT_TRUE(unix_address(longest).is_valid());
    EXPECT_EQ(through_the_kernels_form(longest), unix_address(longest));
    EXPECT_EQ(detail::unix_name(unix_address(longest)).size(), sizeof(sockaddr_un));
    EXPECT_FALSE(unix_address(longest + "x").is_valid());
    EXPECT_FALSE(unix_address(std::string(100'000, 'x')).is_valid());
    EXPECT_NE(unix_address(longest), unix_address(longest + "x"));
    EXPECT_TRUE(unix_address::abstract(longest.substr(1)).is_valid());
    EXPECT_FALSE(unix_address::abstract(longest).is_valid());
    EXPECT_EQ(unix_address::parse(longest + "x").error(), errc::invalid_address);
    EXPECT_EQ(unix_address::parse("@" + longest).error(), errc::invalid_address);
}

TEST(unix_address, APathWithNulIsNotValidAndTextThatBeginsWithNulIsAbstract) {
    EXPECT_FALSE(unix_address("a\0b"s).is_valid());
    EXPECT_EQ(unix_address("\0app"s), unix_address::abstract("app"));
    EXPECT_EQ(unix_address::parse(R"(a\x00b)").error(), errc::invalid_address);
}

TEST(unix_address, TextThatIsNoneIsRefusedWithWhatWasExpected) {
    for (const auto text : {""sv, R"(a\)"sv, R"(a\n)"sv, R"(a\x1)"sv, R"(a\x1G)"sv, R"(\xAB)"sv}) {
        const auto refused = unix_address::parse(text);
        ASSERT_FALSE(refused.has_value()) << text;
        EXPECT_EQ(refused.error(), errc::invalid_address);
        EXPECT_NE(refused.error().message().find("expected"), std::string::npos);
    }
}

TEST(unix_address, EqualOnesHashAlikeAndAPathIsNotAnAbstractName) {
    const std::unordered_set<unix_address> all{"a", "b", "a", unix_address::abstract("a"), {}};
    EXPECT_EQ(all.size(), 4U);
    EXPECT_TRUE(all.contains("b"s));
    EXPECT_NE(unix_address("a"), unix_address::abstract("a"));
}

TEST(unix_name, WhatTheKernelReturnsWithoutANameIsUnnamed) {
    EXPECT_EQ(detail::from_unix_name({}), unix_address());
    sockaddr_un none{};
    none.sun_family = AF_UNIX;
    const auto* const bytes = reinterpret_cast<const std::byte*>(&none);
    EXPECT_EQ(detail::from_unix_name({bytes, sizeof none.sun_family}), unix_address());
    EXPECT_TRUE(detail::is_unnamed({bytes, sizeof none.sun_family}));
    EXPECT_FALSE(detail::is_unnamed({bytes, sizeof none.sun_family + 1}));
    EXPECT_EQ(detail::from_unix_name({bytes, sizeof none.sun_family + 1}),
              unix_address::abstract(""));
}

TEST(unix_name, AnotherFamilyIsNone) {
    sockaddr_un other{};
    other.sun_family = AF_INET;
    const auto* const bytes = reinterpret_cast<const std::byte*>(&other);
    EXPECT_FALSE(detail::from_unix_name({bytes, sizeof other}).has_value());
    EXPECT_FALSE(detail::from_unix_name({bytes, 1}).has_value());
}

}  // namespace
}  // namespace quoit
