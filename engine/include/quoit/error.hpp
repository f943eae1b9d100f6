// SPDX-License-Identifier: MIT
//
// Errors: result<T> is a value, or the error that says why there is none and where it happened;
// status is the outcome of a call whose outcome may be ignored.
//
//   auto server = co_await quoit::start_udp_server({"127.0.0.1", 9999});
//   if (!server) std::cerr << server.error() << '\n';
//   // listen 127.0.0.1:9999: Address already in use
//
// An error is a std::error_code and, on cold paths only, words: what was being done and, where
// several addresses were tried, one cause for each. The words are shared, so copying an error never
// allocates and never throws.
//
// Kernel errnos keep std::system_category(); conditions of ours are in errc. An errc that has a
// POSIX meaning is the same question as that meaning, whoever answers it: `e == errc::timed_out`
// and `e == std::errc::timed_out` are both true for our own timeout and for the kernel's ETIMEDOUT.
// To tell the two apart, look at e.code().category(): std::error_code's own == is exact.
//
// Thread safety: values; copies of one error may be used on different threads.
// Errors: constructing an error with words allocates, and may throw std::bad_alloc.
#pragma once

#include <quoit/detail/archive_version.hpp>

#include <expected>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace quoit {

enum class errc : int {
    closed = 1,         ///< the endpoint was closed, by this program
    canceled,           ///< == std::errc::operation_canceled
    timed_out,          ///< == std::errc::timed_out
    would_block,        ///< == std::errc::operation_would_block
    message_too_long,   ///< == std::errc::message_size
    already_connected,  ///< == std::errc::already_connected
    not_connected,      ///< no destination is known: == std::errc::destination_address_required
    wrong_family,       ///< == std::errc::address_family_not_supported
    invalid_option,     ///< == std::errc::invalid_argument
    not_supported,      ///< by this kernel or backend: == std::errc::not_supported
    forked,             ///< used in the child of a fork() of the process that opened it
    already_running,    ///< a loop or service was started twice
    already_fired,      ///< a timer that is too late to cancel or move
    invalid_address,    ///< text that is no address; the context says what was expected
    bad_datagram,       ///< bytes that are no packet of a codec, or a packet it has no bytes for
    codec_failed,       ///< a codec threw, which is a bug in it; the cause says what
    host_not_found,     ///< the resolver knows no address of that name
    end_of_stream,      ///< the peer of a TCP connection has finished
    framing,            ///< what a peer sent over TCP is no packet, or a longer one than allowed
    slow_peer,          ///< a peer that does not read was closed (quoit::slow_peer::close)
};

/// The category of errc, named "quoit". Usable until the process is gone, static destructors and
/// detached threads included.
[[nodiscard]] const std::error_category& category() noexcept;

[[nodiscard]] std::error_code make_error_code(errc code) noexcept;

}  // namespace quoit

template <>
struct std::is_error_code_enum<quoit::errc> : std::true_type {};

namespace quoit {

namespace detail {

template <class Enum>
concept error_enum = std::is_error_code_enum_v<Enum> || std::is_error_condition_enum_v<Enum>;

// The same question as errc::`asked`, see the top of the file.
[[nodiscard]] bool is_same_condition(const std::error_code& code, errc asked) noexcept;

}  // namespace detail

class error {
  public:
    error(std::error_code code) noexcept : code_(code) {}

    template <class Enum>
        requires std::is_error_code_enum_v<Enum>
    error(Enum code) noexcept : code_(make_error_code(code)) {}

    /// `context` is what was being done, without the reason: "listen 127.0.0.1:9999".
    error(std::error_code code, std::string context);

    /// One cause for each thing that was tried, each with a context of its own. A cause whose code
    /// is 0 is words only, those of an exception for example.
    error(std::error_code code, std::string context, std::vector<error> causes);

    [[nodiscard]] const std::error_code& code() const noexcept { return code_; }

    /// "listen 127.0.0.1:9999: Address already in use"; causes follow in parentheses:
    /// "listen localhost:9999: Address already in use (127.0.0.1:9999: ...; [::1]:9999: ...)".
    /// A code of 0 adds no words to a context.
    [[nodiscard]] std::string message() const;

    /// Empty when the error is a code only. Valid as long as any copy of this error lives.
    [[nodiscard]] std::string_view context() const noexcept;

    /// In the order in which they were tried; empty when there was nothing to tell apart.
    [[nodiscard]] std::span<const error> causes() const noexcept;

    /// Compares with the code alone; two errors are not compared with each other.
    friend bool operator==(const error& e, const std::error_code& code) noexcept {
        return e.code_ == code;
    }
    friend bool operator==(const error& e, const std::error_condition& condition) noexcept {
        return e.code_ == condition;
    }
    friend bool operator==(const error& e, errc asked) noexcept {
        return detail::is_same_condition(e.code_, asked);
    }
    template <detail::error_enum Enum>
    friend bool operator==(const error& e, Enum asked) noexcept {
        return e.code_ == asked;
    }

    friend std::ostream& operator<<(std::ostream& out, const error& e);

  private:
    struct words;

    std::error_code code_;
    std::shared_ptr<const words> words_;
};

/// A std::expected, derived from only for the attribute, which an alias cannot carry.
template <class T>
class [[nodiscard("a result says whether it worked")]] result : public std::expected<T, error> {
  public:
    using std::expected<T, error>::expected;
};

/// Reads as `return failure(errc::invalid_option, "queue_size_max of 0")`, from a function that
/// returns a result or a status.
[[nodiscard]] inline std::unexpected<error> failure(std::error_code code,
                                                    std::string context = {}) {
    return std::unexpected<error>(error(code, std::move(context)));
}
[[nodiscard]] inline std::unexpected<error> failure(errc code, std::string context = {}) {
    return failure(make_error_code(code), std::move(context));
}

/// The outcome of a send, or of a wait: true when it worked. It may be ignored, because what was
/// sent has been counted either way; that is why it is no result<void>, which is [[nodiscard]].
class status {
  public:
    status() noexcept = default;
    status(std::error_code code) noexcept : error_(code) {}
    status(errc code) noexcept : error_(code) {}
    status(quoit::error why) noexcept : error_(std::move(why)) {}
    status(std::unexpected<quoit::error> why) noexcept : error_(std::move(why).error()) {}
    status(const result<void>& outcome) noexcept {
        if (!outcome) error_ = outcome.error();
    }

    [[nodiscard]] explicit operator bool() const noexcept { return !error_.code(); }

    /// With its words. A code of 0 when it worked.
    [[nodiscard]] quoit::error error() const noexcept { return error_; }

    [[nodiscard]] const std::error_code& code() const noexcept { return error_.code(); }

    /// Two statuses are equal when their codes are, whatever their words say.
    friend bool operator==(const status& a, const status& b) noexcept {
        return a.code() == b.code();
    }
    friend bool operator==(const status& s, const std::error_code& code) noexcept {
        return s.code() == code;
    }
    friend bool operator==(const status& s, const std::error_condition& condition) noexcept {
        return s.code() == condition;
    }
    friend bool operator==(const status& s, errc asked) noexcept {
        return detail::is_same_condition(s.code(), asked);
    }
    template <detail::error_enum Enum>
    friend bool operator==(const status& s, Enum asked) noexcept {
        return s.code() == asked;
    }

  private:
    quoit::error error_{std::error_code()};
};

namespace detail {

// A std::system_error with the error's code, whose what() is the error's message().
[[noreturn]] void throw_error(const error& e);

}  // namespace detail

/// For those who prefer exceptions: `auto d = or_throw(co_await server.read())`. Throws
/// std::system_error. Returns by value, so that its result is safe in a range-for and in `auto&&`,
/// where .value() would dangle.
template <class T>
T or_throw(result<T> r) {
    if (!r) detail::throw_error(r.error());
    if constexpr (!std::is_void_v<T>) return *std::move(r);
}
inline void or_throw(const status& s) {
    if (!s) detail::throw_error(s.error());
}

}  // namespace quoit

/// .value() on an error must not end in "bad access to std::expected": what() is the message.
/// [namespace.std] allows it: the specialisation depends on a type of ours and keeps the
/// template's requirements. Copying it never throws, as exceptions should not.
template <>
class std::bad_expected_access<quoit::error> : public std::bad_expected_access<void> {
  public:
    explicit bad_expected_access(quoit::error e)
        : error_(std::move(e)), message_(std::make_shared<const std::string>(error_.message())) {}

    [[nodiscard]] const char* what() const noexcept override { return message_->c_str(); }
    [[nodiscard]] const quoit::error& error() const& noexcept { return error_; }
    [[nodiscard]] quoit::error& error() & noexcept { return error_; }
    [[nodiscard]] quoit::error&& error() && noexcept { return std::move(error_); }
    [[nodiscard]] const quoit::error&& error() const&& noexcept { return std::move(error_); }

  private:
    quoit::error error_;
    std::shared_ptr<const std::string> message_;
};
