// SPDX-License-Identifier: MIT
#include <quoit/datagram.hpp>
#include <quoit/detail/kept_request.hpp>

#include "net/control_message.hpp"

#include <cstring>

namespace quoit {

namespace {

// Room for control data and payload in one block, for a datagram of its own.
struct copy {
    std::byte* block;
    detail::datagram_fields fields;
};

copy copy_of(const detail::datagram_fields& from) {
    copy made{.block = new std::byte[from.control_size + std::size_t{from.size}], .fields = from};
    if (from.control_size > 0) std::memcpy(made.block, from.control, from.control_size);
    if (from.size > 0) std::memcpy(made.block + from.control_size, from.data, from.size);
    made.fields.control = made.block;
    made.fields.data = made.block + from.control_size;
    return made;
}

// One vector per thread, so that batch after batch uses the same memory. A batch with static
// storage may outlive it.
thread_local bool has_spare_batch = false;
struct spare {
    spare() noexcept { has_spare_batch = true; }
    spare(const spare&) = delete;
    spare& operator=(const spare&) = delete;
    ~spare() { has_spare_batch = false; }
    std::vector<train> trains;
};
thread_local spare spare_batch;

detail::control_data control_of(const detail::datagram_fields& fields) noexcept {
    return detail::parse_control({fields.control, fields.control_size});
}

}  // namespace

std::optional<address> datagram_view::local() const noexcept {
    const auto host = control_of(fields_).local;
    if (!host) return std::nullopt;
    return address(*host, fields_.local_port);
}

std::optional<std::chrono::sys_time<std::chrono::nanoseconds>> datagram_view::received_at()
    const noexcept {
    return control_of(fields_).received_at;
}

std::optional<std::uint8_t> datagram_view::tos() const noexcept { return control_of(fields_).tos; }
std::optional<std::uint8_t> datagram_view::ttl() const noexcept { return control_of(fields_).ttl; }

datagram::datagram(byte_view payload, const address& peer) {
    detail::datagram_fields fields;
    fields.data = payload.data();
    fields.size = fields.original_size = static_cast<std::uint32_t>(payload.size());
    fields.peer = peer;
    const copy made = copy_of(fields);
    owned_ = made.block;
    view_ = datagram_view(made.fields);
}

datagram datagram::to_owned() const {
    const copy made = copy_of(view_.fields());
    datagram owned;
    owned.owned_ = made.block;
    owned.view_ = datagram_view(made.fields);
    return owned;
}

void datagram_batch::append(train&& next) {
    if (trains_.capacity() == 0) std::swap(trains_, spare_batch.trains);
    size_ += next.size();
    trains_.push_back(std::move(next));
}

datagram_batch::~datagram_batch() {
    trains_.clear();
    if (!has_spare_batch || trains_.capacity() <= spare_batch.trains.capacity()) return;
    std::swap(trains_, spare_batch.trains);
}

detail::kept_request::kept_request(const datagram_view& of) noexcept {
    datagram_fields fields = of.fields();
    const std::size_t size = copy_destination({fields.control, fields.control_size}, control_);
    fields.control = control_.data();
    fields.control_size = static_cast<std::uint16_t>(size);
    fields.data = nullptr;
    fields.size = fields.original_size = 0;
    view_ = datagram_view(fields);
}

}  // namespace quoit
