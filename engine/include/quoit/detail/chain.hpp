// SPDX-License-Identifier: MIT
//
// A doubly linked list of what waits. The links are inside the elements, so nothing is allocated,
// and an element that is destroyed leaves by itself: that is what makes destroying a suspended
// coroutine safe, whatever it waits for.
//
// Invariants:
//   1. A link is in one chain of its tag or in none; both pointers are null or neither is.
//   2. A chain owns nothing; its destructor unlinks what is still in it.
//   3. Links and chains do not move: neighbours hold their addresses.
//
// Thread safety: none.
#pragma once

namespace quoit::detail {

template <class T, class Tag>
class chain;

template <class Tag = void>
class chain_link {
  public:
    chain_link() noexcept = default;
    chain_link(const chain_link&) = delete;
    chain_link& operator=(const chain_link&) = delete;
    ~chain_link() { unlink(); }

    /// Leaves the chain it is in, if any.
    void unlink() noexcept {
        if (next_ == nullptr) return;
        previous_->next_ = next_;
        next_->previous_ = previous_;
        previous_ = nullptr;
        next_ = nullptr;
    }
    [[nodiscard]] bool is_linked() const noexcept { return next_ != nullptr; }

  private:
    template <class T, class ChainTag>
    friend class chain;

    chain_link* previous_ = nullptr;
    chain_link* next_ = nullptr;
};

template <class T, class Tag = void>
class chain {
    using link = chain_link<Tag>;

  public:
    chain() noexcept { clear(); }
    chain(const chain&) = delete;
    chain& operator=(const chain&) = delete;
    ~chain() {
        while (!is_empty())
            end_.next_->unlink();
        // So that the sentinel's own destructor finds it in no chain.
        end_.previous_ = nullptr;
        end_.next_ = nullptr;
    }

    /// Takes it out of the chain it is in, if any.
    void push_back(T& element) noexcept {
        link& added = element;
        added.unlink();
        added.previous_ = end_.previous_;
        added.next_ = &end_;
        end_.previous_->next_ = &added;
        end_.previous_ = &added;
    }
    /// Appends everything that is in `other`, in order.
    void push_all_of(chain& other) noexcept {
        if (other.is_empty()) return;
        link* const first = other.end_.next_;
        link* const last = other.end_.previous_;
        other.clear();
        first->previous_ = end_.previous_;
        end_.previous_->next_ = first;
        last->next_ = &end_;
        end_.previous_ = last;
    }
    /// Still linked; null if there is none.
    [[nodiscard]] T* front() const noexcept {
        return is_empty() ? nullptr : static_cast<T*>(end_.next_);
    }
    /// Unlinked; null if there is none.
    [[nodiscard]] T* pop_front() noexcept {
        T* const first = front();
        if (first != nullptr) static_cast<link*>(first)->unlink();
        return first;
    }
    [[nodiscard]] bool is_empty() const noexcept { return end_.next_ == &end_; }

    /// REQUIRES: `visit` neither links, unlinks nor destroys an element.
    template <class Visit>
    void for_each(Visit visit) const {
        for (link* at = end_.next_; at != &end_; at = at->next_)
            visit(*static_cast<T*>(at));
    }

  private:
    void clear() noexcept {
        end_.previous_ = &end_;
        end_.next_ = &end_;
    }
    link end_;
};

}  // namespace quoit::detail
