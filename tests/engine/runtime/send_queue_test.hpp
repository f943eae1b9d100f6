// SPDX-License-Identifier: MIT
//
// What the tests of the send queue share. Their kernel is a function: it takes what the test says
// it takes.
#pragma once

#include "runtime/send_queue.hpp"

#include "backend/buffer_pool.hpp"
#include "support/messages.hpp"
#include "support/port_fixture.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quoit::detail {

using outcome = send_queue::outcome;
using strings = std::vector<std::string>;

inline const address somebody("127.0.0.1", 9);

// Each datagram by itself; send_queue_trains_test.cpp has what is coalesced.
class plain_queue : public send_queue {
  public:
    plain_queue() { turn_segmentation_off(); }
};

class send_queue_test : public ::testing::Test {
  protected:
    void SetUp() override {
        auto made = buffer_pool::create({.count = 64, .stride = 2112, .socket_count = 1});
        ASSERT_TRUE(made) << made.error();
        pool_ = *std::move(made);
    }

    // What the kernel says to one call: takes `sent` messages, then refuses with `error`.
    struct answer {
        std::uint32_t sent = 0;
        int error = 0;
    };
    static constexpr std::uint32_t all = ~std::uint32_t{0};

    outcome flush(send_queue& queue) {
        return queue.flush(
            ledger_, [this](std::span<const outgoing> messages) { return kernel(messages); },
            [this](int error) { refusals_.push_back(error); });
    }
    void push(send_queue& queue, byte_view payload, const address* to = &somebody) {
        queue.push(std::span(&payload, 1), to);
    }
    void push_numbers(send_queue& queue, std::size_t count, std::size_t first = 0) {
        for (std::size_t i = first; i < first + count; ++i)
            push(queue, std::to_string(i));
    }
    // A datagram that lies in a buffer of the pool.
    datagram lease(std::string_view payload) {
        const std::uint32_t buffer = next_buffer_++;
        pool_->unpoison(buffer);
        std::memcpy(pool_->data(buffer), payload.data(), payload.size());
        pool_->adopt(buffer, 0);
        datagram_fields fields;
        fields.data = pool_->data(buffer);
        fields.size = fields.original_size = static_cast<std::uint32_t>(payload.size());
        fields.peer = somebody;
        return {*pool_, buffer, fields};
    }
    // The datagrams of a train, all in one buffer.
    std::vector<datagram> train_lease(const strings& payloads) {
        const std::uint32_t buffer = next_buffer_++;
        pool_->unpoison(buffer);
        pool_->adopt(buffer, 0);
        std::vector<datagram> made;
        datagram_fields fields;
        fields.data = pool_->data(buffer);
        fields.peer = somebody;
        for (const std::string& payload : payloads) {
            std::memcpy(pool_->data(buffer) + (fields.data - pool_->data(buffer)), payload.data(),
                        payload.size());
            fields.size = fields.original_size = static_cast<std::uint32_t>(payload.size());
            if (!made.empty()) pool_->retain(buffer);
            made.emplace_back(*pool_, buffer, fields);
            fields.data += payload.size();
        }
        return made;
    }
    // What was sent, as it arrives: trains are cut.
    [[nodiscard]] strings arrived() const {
        strings cut;
        for (std::size_t i = 0; i < sent_.size(); ++i) {
            const std::size_t segment = trains_[i].segment;
            if (segment == 0) {
                cut.push_back(sent_[i]);
                continue;
            }
            for (std::size_t at = 0; at < sent_[i].size(); at += segment)
                cut.push_back(sent_[i].substr(at, segment));
        }
        return cut;
    }
    // What the kernel will say, call by call; when it has nothing more to say it takes everything.
    std::deque<answer> answers_;
    strings sent_;
    std::vector<std::optional<address>> destinations_;
    std::vector<ip> sources_;
    // Of each message that was sent.
    struct train {
        std::uint16_t segment = 0;
        std::uint16_t count = 0;
        [[nodiscard]] bool operator==(const train&) const = default;
    };
    std::vector<train> trains_;
    std::vector<int> refusals_;
    std::size_t calls_ = 0;
    send_stats ledger_;
    buffer_pool& pool() { return *pool_; }

  private:
    send_result kernel(std::span<const outgoing> messages) {
        ++calls_;
        answer said{.sent = all};
        if (!answers_.empty()) {
            said = answers_.front();
            answers_.pop_front();
        }
        send_result result;
        result.sent = std::min(said.sent, static_cast<std::uint32_t>(messages.size()));
        result.error = said.error;
        for (const outgoing& one : messages.first(result.sent)) {
            sent_.push_back(test::text_of(one));
            sources_.push_back(one.from == nullptr ? ip() : *one.from);
            destinations_.push_back(one.to == nullptr ? std::nullopt : std::optional(*one.to));
            trains_.push_back({.segment = one.segment, .count = one.count});
        }
        return result;
    }

    buffer_pool::owner pool_;
    std::uint32_t next_buffer_ = 0;
};

}  // namespace quoit::detail
