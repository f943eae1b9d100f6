// SPDX-License-Identifier: MIT
#include <quoit/error.hpp>

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <sstream>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using quoit::errc;
using quoit::failure;
using quoit::result;

std::error_code kernel(int code) { return {code, std::system_category()}; }

constexpr errc every_errc[] = {
    errc::closed,           errc::canceled,          errc::timed_out,     errc::would_block,
    errc::message_too_long, errc::already_connected, errc::not_connected, errc::wrong_family,
    errc::invalid_option,   errc::not_supported,     errc::forked,        errc::already_running,
    errc::already_fired,    errc::invalid_address,   errc::bad_datagram,  errc::codec_failed,
    errc::host_not_found,   errc::end_of_stream,     errc::framing,       errc::slow_peer};

TEST(error, SaysWhatWasBeingDoneAndThenTheReason) {
    const quoit::error e(kernel(EADDRINUSE), "listen 127.0.0.1:9999");
    EXPECT_EQ(e.message(), "listen 127.0.0.1:9999: Address already in use");
    EXPECT_EQ(e.context(), "listen 127.0.0.1:9999");
}

TEST(error, SaysOnlyTheReasonWithoutContext) {
    EXPECT_EQ(quoit::error(kernel(EADDRINUSE)).message(), "Address already in use");
    EXPECT_EQ(quoit::error(kernel(EADDRINUSE), "").message(), "Address already in use");
    EXPECT_EQ(quoit::error(errc::closed).context(), "");
    EXPECT_TRUE(quoit::error(errc::closed).causes().empty());
}

TEST(error, NamesEveryAddressThatFailedAfterTheReason) {
    const quoit::error e(kernel(EADDRINUSE), "listen localhost:9999",
                         {quoit::error(kernel(EADDRINUSE), "127.0.0.1:9999"),
                          quoit::error(kernel(EACCES), "[::1]:9999")});
    EXPECT_EQ(e.message(),
              "listen localhost:9999: Address already in use "
              "(127.0.0.1:9999: Address already in use; [::1]:9999: Permission denied)");
    ASSERT_EQ(e.causes().size(), 2U);
    EXPECT_EQ(e.causes()[1].code(), kernel(EACCES));
}

TEST(error, KeepsCausesWithoutContext) {
    const quoit::error e(errc::closed, "", {quoit::error(errc::forked)});
    EXPECT_EQ(e.message(), "Closed (Not usable in a forked child)");
}

TEST(error, ACauseMayBeWordsOnly) {
    const quoit::error e(errc::codec_failed, "decode", {quoit::error(std::error_code(), "stoi")});
    EXPECT_EQ(e.message(), "decode: The codec failed (stoi)");
}

TEST(error, CopiesShareTheirWordsAndNeverThrow) {
    static_assert(std::is_nothrow_copy_constructible_v<quoit::error>);
    static_assert(std::is_nothrow_copy_assignable_v<quoit::error>);
    auto first = std::make_unique<quoit::error>(errc::closed, "read 127.0.0.1:9999");
    const quoit::error copy = *first;
    EXPECT_EQ(copy.context().data(), first->context().data());
    first.reset();
    EXPECT_EQ(copy.message(), "read 127.0.0.1:9999: Closed");
}

TEST(error, IsPrintedAsItsMessage) {
    std::ostringstream out;
    out << quoit::error(errc::closed, "read");
    EXPECT_EQ(out.str(), "read: Closed");
}

TEST(error, AnswersTheSamePosixQuestionInBothSpellings) {
    const std::pair<errc, std::errc> pairs[] = {
        {errc::canceled, std::errc::operation_canceled},
        {errc::timed_out, std::errc::timed_out},
        {errc::would_block, std::errc::operation_would_block},
        {errc::message_too_long, std::errc::message_size},
        {errc::already_connected, std::errc::already_connected},
        {errc::not_connected, std::errc::destination_address_required},
        {errc::wrong_family, std::errc::address_family_not_supported},
        {errc::invalid_option, std::errc::invalid_argument},
        {errc::not_supported, std::errc::not_supported},
    };
    for (const auto& [ours, posix] : pairs) {
        const quoit::error from_us(ours);
        const quoit::error from_kernel(kernel(static_cast<int>(posix)));
        EXPECT_TRUE(from_us == ours && from_us == posix) << from_us;
        EXPECT_TRUE(from_kernel == ours && from_kernel == posix) << from_kernel;
        EXPECT_FALSE(from_kernel == make_error_code(ours)) << "the origin can still be told";
    }
}

TEST(error, ConditionsOfOursNeverEqualEachOther) {
    for (const errc a : every_errc) {
        for (const errc b : every_errc) {
            EXPECT_EQ(quoit::error(a) == b, a == b) << quoit::error(a) << ", " << quoit::error(b);
        }
    }
}

TEST(error, ConditionsWithoutPosixMeaningEqualNoErrno) {
    const errc without[] = {errc::closed,        errc::forked,          errc::already_running,
                            errc::already_fired, errc::invalid_address, errc::bad_datagram,
                            errc::codec_failed,  errc::host_not_found,  errc::end_of_stream,
                            errc::framing,       errc::slow_peer};
    for (const errc ours : without) {
        for (int code = 1; code < 134; ++code) {
            EXPECT_FALSE(quoit::error(kernel(code)) == ours) << code;
            EXPECT_FALSE(quoit::error(ours) == static_cast<std::errc>(code)) << code;
        }
    }
}

TEST(error, EveryConditionHasWordsOfItsOwn) {
    std::vector<std::string> seen;
    for (const errc code : every_errc) {
        const std::string words = make_error_code(code).message();
        EXPECT_EQ(words.find("Unknown"), std::string::npos) << words;
        for (const std::string& other : seen)
            EXPECT_NE(words, other);
        seen.push_back(words);
    }
    EXPECT_EQ(quoit::category().message(999), "Unknown quoit error 999");
    EXPECT_STREQ(quoit::category().name(), "quoit");
}

result<int> half(int value) {
    if (value % 2 != 0) return failure(errc::invalid_option, "half of " + std::to_string(value));
    return value / 2;
}

TEST(result, HoldsAValueOrTheReasonThereIsNone) {
    EXPECT_EQ(half(4).value(), 2);
    ASSERT_FALSE(half(3));
    EXPECT_TRUE(half(3).error() == errc::invalid_option);
    EXPECT_EQ(half(3).error().message(), "half of 3: Invalid option");
}

TEST(result, CarriesWhatCanOnlyBeMoved) {
    result<std::unique_ptr<int>> r = std::make_unique<int>(7);
    EXPECT_EQ(*or_throw(std::move(r)), 7);
}

TEST(result, ValueOfAFailureThrowsWithTheMessage) {
    try {
        static_cast<void>(half(3).value());
        FAIL() << "did not throw";
    } catch (const std::bad_expected_access<quoit::error>& e) {
        EXPECT_STREQ(e.what(), "half of 3: Invalid option");
        EXPECT_TRUE(e.error() == errc::invalid_option);
    }
    static_assert(std::is_nothrow_copy_constructible_v<std::bad_expected_access<quoit::error>>);
}

TEST(or_throw, PassesTheValueThrough) {
    EXPECT_EQ(or_throw(half(4)), 2);
    EXPECT_NO_THROW(or_throw(result<void>()));
    EXPECT_NO_THROW(or_throw(quoit::status()));
}

TEST(or_throw, ThrowsASystemErrorWithTheSameWordsAndCode) {
    const auto message_of = [](const auto& call) -> std::string {
        try {
            call();
        } catch (const std::system_error& e) {
            EXPECT_EQ(e.code(), kernel(EADDRINUSE));
            return e.what();
        }
        return "did not throw";
    };
    const quoit::error in_use(kernel(EADDRINUSE), "listen *:1",
                              {quoit::error(errc::wrong_family, "[::]:1")});
    const std::string words =
        "listen *:1: Address already in use ([::]:1: Address family not usable here)";
    EXPECT_EQ(message_of([&] { or_throw(result<int>(std::unexpected(in_use))); }), words);
    EXPECT_EQ(message_of([&] { or_throw(result<void>(std::unexpected(in_use))); }), words);
    EXPECT_EQ(message_of([&] { or_throw(quoit::status(in_use)); }), words);
}

TEST(status, IsTrueWhenItWorked) {
    EXPECT_TRUE(quoit::status());
    EXPECT_TRUE(quoit::status(std::error_code()));
    EXPECT_TRUE(quoit::status(result<void>()));
    EXPECT_FALSE(quoit::status(errc::closed));
    EXPECT_FALSE(quoit::status(kernel(EPERM)));
    EXPECT_EQ(quoit::status().code(), std::error_code());
}

TEST(status, IsComparedLikeAnError) {
    const quoit::status full = errc::would_block;
    EXPECT_TRUE(full == errc::would_block);
    EXPECT_TRUE(full == std::errc::operation_would_block);
    EXPECT_TRUE(full == make_error_code(errc::would_block));
    EXPECT_TRUE(errc::would_block == full);
    EXPECT_TRUE(quoit::status(kernel(EAGAIN)) == errc::would_block);
    EXPECT_TRUE(full != errc::closed);
    EXPECT_TRUE(full != quoit::status());
    EXPECT_FALSE(quoit::status() == errc::would_block);
}

TEST(status, ForwardsAResultAndAFailureWithTheirWords) {
    const auto forward = [](result<void> r) -> quoit::status { return r; };
    const auto fail = []() -> quoit::status { return failure(errc::closed, "sendto [::1]:9"); };
    EXPECT_TRUE(forward({}));
    EXPECT_EQ(forward(failure(errc::closed, "sendto [::1]:9")).error().message(),
              "sendto [::1]:9: Closed");
    EXPECT_EQ(fail().error().message(), "sendto [::1]:9: Closed");
    EXPECT_TRUE(fail() == quoit::status(errc::closed)) << "words are not compared";
}

TEST(status, MayBeIgnored) {
    // Would not compile with -Werror if status were [[nodiscard]].
    const auto send = [] { return quoit::status(errc::closed); };
    send();
}

}  // namespace
