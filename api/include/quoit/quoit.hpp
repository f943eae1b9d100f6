// SPDX-License-Identifier: MIT
//
// All of quoit but json.hpp, which needs nlohmann-json. Each header also stands alone.
#pragma once

#include <quoit/acceptor.hpp>
#include <quoit/address.hpp>
#include <quoit/background_service.hpp>
#include <quoit/capabilities.hpp>
#include <quoit/codec.hpp>
#include <quoit/conversation.hpp>
#include <quoit/datagram.hpp>
#include <quoit/error.hpp>
#include <quoit/file_descriptor.hpp>
#include <quoit/future.hpp>
#include <quoit/lazy_client.hpp>
#include <quoit/loop.hpp>
#include <quoit/message_channel.hpp>
#include <quoit/options.hpp>
#include <quoit/payload.hpp>
#include <quoit/payload_buffer.hpp>
#include <quoit/peers.hpp>
#include <quoit/port.hpp>
#include <quoit/protocol.hpp>
#include <quoit/request_server.hpp>
#include <quoit/resolve.hpp>
#include <quoit/service.hpp>
#include <quoit/signal.hpp>
#include <quoit/spawn.hpp>
#include <quoit/stats.hpp>
#include <quoit/sync.hpp>
#include <quoit/task.hpp>
#include <quoit/task_group.hpp>
#include <quoit/time.hpp>
#include <quoit/timer.hpp>
#include <quoit/udp.hpp>
#include <quoit/unix.hpp>
#include <quoit/unix_address.hpp>
#include <quoit/unix_datagram.hpp>
#include <quoit/unix_options.hpp>
#include <quoit/version.hpp>
#include <quoit/wire.hpp>
