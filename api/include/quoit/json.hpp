// SPDX-License-Identifier: MIT
//
// json_codec: packets that are JSON, as nlohmann::json.
//
//   #include <quoit/json.hpp>                                  // besides quoit.hpp
//   quoit::message_channel client(std::move(connection), quoit::json_codec{});
//   client.send(nlohmann::json{{"command", "status"}});
//
// The only header of quoit that needs a third party: it includes <nlohmann/json.hpp>, quoit.hpp
// does not include it, and who uses it links nlohmann_json::nlohmann_json (Debian:
// nlohmann-json3-dev) as well. Written against 3.11.
//
// decode(): errc::bad_datagram for what is not exactly one JSON text in UTF-8, and for one that is
// nested deeper than depth_max. The bound is needed: writing and copying a json recurse once for
// each level, and 65 507 brackets from a peer would be the end of the stack.
// encode(): compact, on one line; errc::bad_datagram for strings that are no UTF-8, with the
// library's words. A number that is not finite is written as null.
// Thread safety: a value. Both directions allocate, as nlohmann::json does.
#pragma once

#include <quoit/codec.hpp>
#include <quoit/error.hpp>
#include <quoit/payload_buffer.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace quoit {

namespace detail {

/// How deep arrays and objects are nested. Of text that is no JSON it may be anything.
[[nodiscard]] constexpr std::size_t json_depth(std::string_view text) noexcept {
    std::size_t depth = 0;
    std::size_t deepest = 0;
    bool is_in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (is_in_string) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                is_in_string = false;
        } else if (c == '"') {
            is_in_string = true;
        } else if (c == '[' || c == '{') {
            deepest = std::max(deepest, ++depth);
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        }
    }
    return deepest;
}

}  // namespace detail

struct json_codec {
    /// Levels of arrays and objects inside each other.
    std::size_t depth_max = 256;

    [[nodiscard]] result<nlohmann::json> decode(std::span<const std::byte> bytes) const {
        const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        if (detail::json_depth(text) > depth_max) {
            return failure(errc::bad_datagram,
                           "JSON nested deeper than " + std::to_string(depth_max) + " levels");
        }
        auto parsed = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
        if (parsed.is_discarded()) return failure(errc::bad_datagram, "invalid JSON");
        return parsed;
    }

    status encode(const nlohmann::json& packet, payload_buffer& out) const {
        try {
            out.append(packet.dump());
        } catch (const nlohmann::json::type_error& e) {
            return failure(errc::bad_datagram, e.what());
        }
        return {};
    }
};

}  // namespace quoit
