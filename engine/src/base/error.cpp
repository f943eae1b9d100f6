// SPDX-License-Identifier: MIT
#include <quoit/error.hpp>

#include <ostream>

namespace quoit {

namespace {

class engine_category final : public std::error_category {
  public:
    [[nodiscard]] const char* name() const noexcept override { return "quoit"; }

    [[nodiscard]] std::string message(int code) const override {
        switch (static_cast<errc>(code)) {
            case errc::closed: return "Closed";
            case errc::canceled: return "Canceled";
            case errc::timed_out: return "Timed out";
            case errc::would_block: return "Would block";
            case errc::message_too_long: return "Message too long";
            case errc::already_connected: return "Already connected";
            case errc::not_connected: return "Not connected, and no destination was given";
            case errc::wrong_family: return "Address family not usable here";
            case errc::invalid_option: return "Invalid option";
            case errc::not_supported: return "Not supported";
            case errc::forked: return "Not usable in a forked child";
            case errc::already_running: return "Already running";
            case errc::already_fired: return "Already fired";
            case errc::invalid_address: return "Invalid address";
            case errc::bad_datagram: return "Bad datagram";
            case errc::codec_failed: return "The codec failed";
            case errc::host_not_found: return "Host not found";
            case errc::end_of_stream: return "The peer has finished";
            case errc::framing: return "Not a packet";
            case errc::slow_peer: return "The peer was too slow";
        }
        return "Unknown quoit error " + std::to_string(code);
    }

    [[nodiscard]] std::error_condition default_error_condition(int code) const noexcept override {
        switch (static_cast<errc>(code)) {
            case errc::canceled: return std::errc::operation_canceled;
            case errc::timed_out: return std::errc::timed_out;
            case errc::would_block: return std::errc::operation_would_block;
            case errc::message_too_long: return std::errc::message_size;
            case errc::already_connected: return std::errc::already_connected;
            case errc::not_connected: return std::errc::destination_address_required;
            case errc::wrong_family: return std::errc::address_family_not_supported;
            case errc::invalid_option: return std::errc::invalid_argument;
            case errc::not_supported: return std::errc::not_supported;
            // invalid_address stays apart from EINVAL: it is what a user typed, not a bad option.
            case errc::closed:
            case errc::forked:
            case errc::already_running:
            case errc::already_fired:
            case errc::invalid_address:
            case errc::bad_datagram:
            case errc::codec_failed:
            case errc::host_not_found:
            case errc::end_of_stream:
            case errc::framing:
            case errc::slow_peer: break;
        }
        return {code, *this};
    }
};

// Never destroyed: an error code points to its category, and may outlive static destruction.
union immortal_category {
    constexpr immortal_category() noexcept : value() {}
    immortal_category(const immortal_category&) = delete;
    immortal_category& operator=(const immortal_category&) = delete;
    ~immortal_category() {}  // NOLINT(modernize-use-equals-default): that would be a deleted one

    engine_category value;
};

constinit immortal_category the_category;

class thrown_error final : public std::system_error {
  public:
    explicit thrown_error(const error& e)
        : std::system_error(e.code()), message_(std::make_shared<const std::string>(e.message())) {}

    [[nodiscard]] const char* what() const noexcept override { return message_->c_str(); }

  private:
    std::shared_ptr<const std::string> message_;  // shared: copying an exception must not throw
};

}  // namespace

const std::error_category& category() noexcept { return the_category.value; }

std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), category()}; }

bool detail::is_same_condition(const std::error_code& code, errc asked) noexcept {
    // An errc without a POSIX meaning is its own condition, which only its own code equals.
    return code == make_error_code(asked).default_error_condition();
}

struct error::words {
    std::string context;
    std::vector<error> causes;
};

error::error(std::error_code code, std::string context)
    : error(code, std::move(context), std::vector<error>()) {}

error::error(std::error_code code, std::string context, std::vector<error> causes) : code_(code) {
    if (context.empty() && causes.empty()) return;
    words_ = std::make_shared<const words>(
        words{.context = std::move(context), .causes = std::move(causes)});
}

std::string error::message() const {
    std::string text(context());
    if (text.empty() || code_) {
        if (!text.empty()) text += ": ";
        text += code_.message();
    }
    const char* separator = " (";
    for (const error& cause : causes()) {
        text += separator;
        text += cause.message();
        separator = "; ";
    }
    if (!causes().empty()) text += ')';
    return text;
}

std::string_view error::context() const noexcept {
    return words_ ? std::string_view(words_->context) : std::string_view();
}

std::span<const error> error::causes() const noexcept {
    return words_ ? std::span<const error>(words_->causes) : std::span<const error>();
}

std::ostream& operator<<(std::ostream& out, const error& e) { return out << e.message(); }

void detail::throw_error(const error& e) { throw thrown_error(e); }

}  // namespace quoit
