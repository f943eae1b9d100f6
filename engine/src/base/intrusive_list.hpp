// SPDX-License-Identifier: MIT
//
// A doubly linked list whose links are inside its elements: nothing is allocated, and an element
// that is destroyed leaves the list by itself. For what waits (awaiters, timers, starved sockets),
// where the waiting object may die at any moment.
//
//   struct waiter : list_node<> { ... };
//   intrusive_list<waiter> waiting;
//
// One object can be in several lists at once, with a tag for each:
//
//   struct waiter : list_node<by_socket>, list_node<by_deadline> { ... };
//   intrusive_list<waiter, by_socket> waiting;
//
//            +----------------------------------------------------+
//            |    +--------+      +--------+      +--------+      |
//            +--->|  end_  |<---->| front  |<---->|  back  |<-----+      end_ is part of the list,
//                 +--------+      +--------+      +--------+             not an element
//
// Invariants:
//   1. A node is linked into one list (of its tag) or into none; both links are null or neither is.
//   2. The list owns nothing. Its destructor unlinks what is still in it.
//   3. Nodes and lists do not move or copy: neighbours hold their addresses.
//
// Every operation is O(1), but for the list's destructor. There is no iteration on purpose: running
// an element's code may destroy any other element, so one pops until the list is empty.
//
// Thread safety: none; the list and all of its elements belong to one thread.
#pragma once

#include "base/assert.hpp"

#include <type_traits>

namespace quoit::detail {

template <class T, class Tag>
class intrusive_list;

template <class Tag = void>
class list_node {
  public:
    list_node() noexcept = default;
    list_node(const list_node&) = delete;
    list_node& operator=(const list_node&) = delete;
    ~list_node() { unlink(); }

    // Leaves the list it is in, if any.
    void unlink() noexcept {
        if (!is_linked()) return;
        previous_->next_ = next_;
        next_->previous_ = previous_;
        previous_ = nullptr;
        next_ = nullptr;
    }

    [[nodiscard]] bool is_linked() const noexcept { return next_ != nullptr; }

  private:
    template <class T, class ListTag>
    friend class intrusive_list;

    void link_before(list_node& next) noexcept {
        QUOIT_DEBUG_ASSERT(!is_linked(), "an element was put into a second list of the same tag");
        previous_ = next.previous_;
        next_ = &next;
        previous_->next_ = this;
        next.previous_ = this;
    }

    list_node* previous_ = nullptr;
    list_node* next_ = nullptr;
};

template <class T, class Tag = void>
class intrusive_list {
    using node = list_node<Tag>;

  public:
    intrusive_list() noexcept {
        end_.previous_ = &end_;
        end_.next_ = &end_;
    }
    intrusive_list(const intrusive_list&) = delete;
    intrusive_list& operator=(const intrusive_list&) = delete;

    // O(n): unlinks every element; they live on.
    ~intrusive_list() {
        while (!is_empty())
            end_.next_->unlink();
    }

    // REQUIRES: `element` is in no list of this tag.
    void push_back(T& element) noexcept { as_node(element).link_before(end_); }
    void push_front(T& element) noexcept { as_node(element).link_before(*end_.next_); }

    // Unlinks the first element and returns it; null if there is none.
    [[nodiscard]] T* pop_front() noexcept {
        T* const first = front();
        if (first != nullptr) as_node(*first).unlink();
        return first;
    }

    // The first element, still linked; null if there is none.
    [[nodiscard]] T* front() const noexcept {
        return is_empty() ? nullptr : static_cast<T*>(end_.next_);
    }

    [[nodiscard]] bool is_empty() const noexcept { return end_.next_ == &end_; }

  private:
    static node& as_node(T& element) noexcept {
        static_assert(std::is_base_of_v<node, T>, "derive the element from list_node<Tag>");
        return element;
    }

    node end_;
};

}  // namespace quoit::detail
