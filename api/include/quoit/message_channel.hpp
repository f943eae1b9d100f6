// SPDX-License-Identifier: MIT
//
// message_channel: a client that speaks messages instead of bytes.
//
//   quoit::message_channel client(std::move(connection), quoit::line_codec{});
//   or_throw(client.send("status"));
//   auto reply = co_await client.read({.timeout = 3s});        // result<std::string>
//
// A datagram that is no message is an error of that read alone (errc::bad_datagram, or
// errc::codec_failed if the codec threw, see codec.hpp): it is consumed, and the next read gets the
// next datagram. Everything else is as udp_client has it; endpoint() is that client.
//
// Ownership: owns client and codec. Its destruction closes the client, and reads that wait answer
// errc::closed; they keep the codec as long as they need it.
// Thread safety: none; the loop's thread.
// What is encoded goes into one buffer that is kept, so that sending allocates nothing once warm,
// beyond what the codec does.
#pragma once

#include <quoit/codec.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/endpoint.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/payload_buffer.hpp>
#include <quoit/task.hpp>
#include <quoit/udp.hpp>

#include <coroutine>
#include <cstdint>
#include <utility>

namespace quoit {

namespace detail {

/// A codec that reads outlive their channel with.
template <codec Codec>
class shared_codec {
  public:
    explicit shared_codec(Codec made) : codec(std::move(made)) {}

    void retain() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) delete this;
    }

    Codec codec;

  private:
    ~shared_codec() = default;

    std::uint32_t references_ = 0;
};

template <codec Codec>
class [[nodiscard("co_await it")]] read_message_operation final {
  public:
    read_message_operation(udp_client& client, counted_ptr<shared_codec<Codec>> codec,
                           wait_options options) noexcept
        : read_(client.read(options)), codec_(std::move(codec)) {}

    [[nodiscard]] bool await_ready() const noexcept { return read_.await_ready(); }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        return read_.await_suspend(frame);
    }
    result<decoded_t<Codec>> await_resume() {
        const result<datagram> received = read_.await_resume();
        if (!received) return std::unexpected(received.error());
        return decode_with(codec_->codec, received->payload());
    }

  private:
    read_operation read_;
    counted_ptr<shared_codec<Codec>> codec_;
};

}  // namespace detail

template <codec Codec>
class message_channel {
  public:
    using message = decoded_t<Codec>;

    /// May throw std::bad_alloc.
    explicit message_channel(udp_client client, Codec codec = {})
        : client_(std::move(client)), codec_(new detail::shared_codec<Codec>(std::move(codec))) {}

    /// As udp_client::send(), and before it errc::bad_datagram, errc::codec_failed,
    /// errc::message_too_long, with words. REQUIRES: not moved from.
    template <class Message>
        requires encodes<Codec, Message>
    status send(const Message& packet) {
        if (status encoded = detail::encode_with(codec_->codec, packet, out_); !encoded) {
            return encoded;
        }
        return client_.send(out_);
    }

    /// The next message. Errors: as udp_reader::read(); errc::bad_datagram, errc::codec_failed.
    [[nodiscard("co_await it")]] detail::read_message_operation<Codec> read(
        wait_options options = {}) noexcept {
        return detail::read_message_operation<Codec>(client_, codec_, options);
    }
    /// What is queued, as udp_reader::try_read(). REQUIRES: not moved from.
    [[nodiscard]] result<message> try_read() {
        const result<datagram> received = client_.try_read();
        if (!received) return std::unexpected(received.error());
        return detail::decode_with(codec_->codec, received->payload());
    }

    [[nodiscard]] udp_client& endpoint() noexcept { return client_; }
    [[nodiscard]] const udp_client& endpoint() const noexcept { return client_; }
    /// REQUIRES: not moved from.
    [[nodiscard]] Codec& codec() noexcept { return codec_->codec; }

    /// As udp_client's.
    void close() noexcept { client_.close(); }
    void abort() noexcept { client_.abort(); }
    [[nodiscard]] bool is_closing() const noexcept { return client_.is_closing(); }
    [[nodiscard("co_await it")]] detail::closed_operation wait_closed() noexcept {
        return client_.wait_closed();
    }

  private:
    udp_client client_;
    detail::counted_ptr<detail::shared_codec<Codec>> codec_;
    payload_buffer out_;
};

}  // namespace quoit
