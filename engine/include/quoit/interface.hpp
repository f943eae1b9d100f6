// SPDX-License-Identifier: MIT
//
// interface: a network interface, named in one of the ways people name them. Nothing is looked up
// before it is used.
//
//   socket.join_group("228.0.0.5", {.interface = "lo"});                    // its name
//   socket.join_group("ff15::7", {.interface = quoit::interface::index(2)}) // its index
//   socket.set_multicast({.interface = quoit::ip("192.0.2.1")});            // an address it has
//   quoit::interface()                                                      // the kernel's choice
//
// Errors: none here. Whoever is given one answers errc::invalid_option for a name of more than 15
// characters (the kernel's IFNAMSIZ), and std::errc::no_such_device for what does not exist.
// Threads: values, trivially copyable, compared by how they name, not by what they name.
#pragma once

#include <quoit/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace quoit {

class interface {
  public:
    static constexpr std::size_t name_size_max = 15;

    /// The one that the route to the destination has.
    constexpr interface() noexcept = default;
    /// "eth0". One that is too long is cut here, and refused where it is used.
    constexpr interface(std::string_view name) noexcept
        : is_name_too_long_(name.size() > name_size_max) {
        for (std::size_t i = 0; i < name.size() && i < name_size_max; ++i)
            name_[i] = name[i];
    }
    constexpr interface(const char* name) noexcept : interface(std::string_view(name)) {}
    /// The one that has this address.
    constexpr interface(const ip& owner) noexcept : address_(owner) {}
    /// The one with this index, counted from 1.
    [[nodiscard]] static constexpr interface index(std::uint32_t number) noexcept {
        interface made;
        made.index_ = number;
        return made;
    }

    /// Empty when it is not named so.
    [[nodiscard]] constexpr std::string_view name() const noexcept { return name_.data(); }
    [[nodiscard]] constexpr bool is_name_too_long() const noexcept { return is_name_too_long_; }
    /// Unspecified when it is not named so.
    [[nodiscard]] constexpr const ip& address() const noexcept { return address_; }
    /// 0 when it is not named so.
    [[nodiscard]] constexpr std::uint32_t index() const noexcept { return index_; }
    [[nodiscard]] constexpr bool is_kernels_choice() const noexcept { return *this == interface(); }

    /// "eth0", "192.0.2.1", "2"; "any" for the kernel's choice.
    [[nodiscard]] std::string to_string() const;

    [[nodiscard]] friend constexpr bool operator==(const interface&,
                                                   const interface&) noexcept = default;

  private:
    std::array<char, name_size_max + 1> name_{};
    ip address_;
    std::uint32_t index_ = 0;
    bool is_name_too_long_ = false;
};
static_assert(std::is_trivially_copyable_v<interface>);

}  // namespace quoit
