// SPDX-License-Identifier: MIT
//
// What the acceptance cases of packets over TCP are written with, beside acceptance_fixture.hpp:
// opening, and looking at what a server hands out.
#pragma once

#include "integration/acceptance_fixture.hpp"
#include "integration/foreign_stream.hpp"

namespace quoit::test {

/// Throw when there can be none.
inline task<packet_server> serve_packets(packet_options options = {},
                                         address where = {"127.0.0.1", 0}) {
    auto opened = co_await start_packet_server(where, options);
    co_return or_throw(std::move(opened));
}
inline task<packet_client> connect_packets(address to, packet_options options = {}) {
    auto opened = co_await open_packet_connection(to, options);
    co_return or_throw(std::move(opened));
}

inline void expect_text(const result<packet>& outcome, std::string_view expected) {
    if (!outcome) {
        ADD_FAILURE() << "instead of \"" << expected << "\": " << outcome.error();
    } else if (outcome->text() != expected) {
        ADD_FAILURE() << outcome->size() << " bytes, \"" << outcome->text().substr(0, 60)
                      << "\", instead of " << expected.size() << ", \"" << expected.substr(0, 60)
                      << '"';
    }
}
/// The same of bodies that are too long to be printed.
inline void expect_body(std::string_view body, std::string_view expected) {
    EXPECT_EQ(body.size(), expected.size());
    EXPECT_TRUE(body == expected);
}

// --- of next() ---

inline void expect_connected(const result<packet_event>& event, const address& peer) {
    if (!event) {
        ADD_FAILURE() << "instead of a connection: " << event.error();
        return;
    }
    EXPECT_EQ(event->what, packet_event::kind::connected);
    EXPECT_EQ(event->peer.remote(), peer);
    EXPECT_TRUE(event->peer.is_connected());
}
inline void expect_received(const result<packet_event>& event, const address& peer,
                            std::string_view text) {
    if (!event) {
        ADD_FAILURE() << "instead of \"" << text << "\": " << event.error();
        return;
    }
    EXPECT_EQ(event->what, packet_event::kind::received);
    EXPECT_EQ(event->peer.remote(), peer);
    EXPECT_TRUE(event->received.has_value());
    if (event->received) {
        EXPECT_EQ(event->received->text(), text);
    }
}
/// `reason`: a std::error_code, errc or std::errc; std::error_code() for an orderly end.
template <class Reason>
void expect_disconnected(const result<packet_event>& event, const address& peer, Reason reason) {
    if (!event) {
        ADD_FAILURE() << "instead of a disconnection: " << event.error();
        return;
    }
    EXPECT_EQ(event->what, packet_event::kind::disconnected);
    EXPECT_EQ(event->peer.remote(), peer);
    EXPECT_FALSE(event->peer.is_connected());
    EXPECT_EQ(quoit::error(event->reason), reason) << event->reason.message();
}

/// The peer that connects next. REQUIRES: nothing else is read before it.
inline task<packet_peer> next_peer(packet_server& server) {
    const auto event = co_await server.next(patiently);
    if (!event) detail::throw_error(event.error());
    EXPECT_EQ(event->what, packet_event::kind::connected);
    co_return event->peer;
}

// --- of ledgers ---

/// Until `is_so(stats)`. REQUIRES: the server outlives the task.
template <class Condition>
task<> wait_until_stats(packet_server& server, Condition is_so, const char* what) {
    const give_up_time limit;
    while (!is_so(server.stats())) {
        limit.check(what);
        or_throw(co_await next_turn());
    }
}
/// Until the engine has nothing to send. REQUIRES: the client outlives the task.
inline task<> wait_until_flushed(packet_client& client) {
    const give_up_time limit;
    while (client.stats().sent.waiting > 0) {
        limit.check("packets to be sent");
        or_throw(co_await next_turn());
    }
}

}  // namespace quoit::test
