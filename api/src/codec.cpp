// SPDX-License-Identifier: MIT
#include <quoit/codec.hpp>
#include <quoit/wire.hpp>

#include <exception>
#include <string>
#include <system_error>
#include <vector>

namespace quoit {

namespace detail {

namespace {

// The exception's words, without those that its code will add again.
error as_cause(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const std::system_error& e) {
        std::string words = e.what();
        const std::string reason = e.code().message();
        if (words.ends_with(reason)) words.resize(words.size() - reason.size());
        if (words.ends_with(": ")) words.resize(words.size() - 2);
        return {e.code(), std::move(words)};
    } catch (const std::exception& e) {
        return {std::error_code(), e.what()};
    } catch (...) {
        return {std::error_code(), "an exception that is no std::exception"};
    }
}

}  // namespace

error codec_failure(std::string_view doing, const std::exception_ptr& thrown) {
    std::vector<error> causes;
    causes.push_back(as_cause(thrown));
    return {errc::codec_failed, std::string(doing), std::move(causes)};
}

error encoded_too_long() {
    return {errc::message_too_long,
            "encode: more than " + std::to_string(payload_buffer::size_max) + " bytes"};
}

error wrong_struct_size(std::size_t expected, std::size_t got) {
    return {errc::bad_datagram, "a struct of " + std::to_string(expected) + " bytes, got " +
                                    std::to_string(got) + " bytes"};
}

}  // namespace detail

result<std::string> line_codec::decode(std::span<const std::byte> bytes) const {
    std::string_view line(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (line.ends_with('\n')) {
        line.remove_suffix(1);
        if (line.ends_with('\r')) line.remove_suffix(1);
    }
    if (line.find('\n') != line.npos) {
        return failure(errc::bad_datagram, "several lines instead of one");
    }
    if (line.ends_with('\r')) {
        return failure(errc::bad_datagram, "a line that ends in a carriage return alone");
    }
    return std::string(line);
}

status line_codec::encode(std::string_view line, payload_buffer& out) const {
    if (line.find('\n') != line.npos) {
        return failure(errc::bad_datagram, "a line with a line break inside");
    }
    if (line.ends_with('\r')) {
        return failure(errc::bad_datagram, "a line that ends in a carriage return");
    }
    out.append(line);
    switch (end) {
        case line_end::lf: out.append("\n"); break;
        case line_end::crlf: out.append("\r\n"); break;
    }
    return {};
}

}  // namespace quoit
