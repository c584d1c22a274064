// A set of small numbers, as bits where it has many of them, as a sorted list where it has few.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace fleetmesh::policy {

using Slot = std::uint32_t;

// 16 bytes, and none besides for up to two numbers: most labels are those of few identities.
class SlotSet {
 public:
  SlotSet() = default;
  ~SlotSet() { clear(); }
  SlotSet(SlotSet&& other) noexcept { swap(other); }
  SlotSet& operator=(SlotSet&& other) noexcept {
    swap(other);
    return *this;
  }
  SlotSet(const SlotSet&) = delete;
  SlotSet& operator=(const SlotSet&) = delete;

  // Of bits, of which there are `count` words.
  static SlotSet of(const std::uint64_t* bits, std::size_t count) {
    SlotSet found;
    std::uint32_t size = 0;
    for (std::size_t word = 0; word < count; ++word)
      size += static_cast<std::uint32_t>(__builtin_popcountll(bits[word]));
    const bool dense = size >= kFewest && std::uint64_t{size} * 32 > count * 64;
    if (dense) {
      found.more_words(static_cast<std::uint32_t>(count));
      std::memcpy(found.words(), bits, count * sizeof(std::uint64_t));
      found.size_ = size;
      return found;
    }
    if (size > kInside) {
      found.list_ = new Slot[size];
      found.room_ = size;
    }
    for (std::size_t word = 0; word < count; ++word)
      for (std::uint64_t rest = bits[word]; rest; rest &= rest - 1)
        found.few()[found.size_++] = static_cast<Slot>(word * 64) + static_cast<Slot>(__builtin_ctzll(rest));
    return found;
  }

  std::uint32_t size() const { return size_; }
  // Bytes besides its own.
  std::size_t memory() const {
    return is_dense() ? room_words() * sizeof(std::uint64_t) : room_ * sizeof(Slot);
  }
  bool empty() const { return size_ == 0; }

  bool contains(Slot slot) const {
    if (is_dense()) return slot / 64 < room_words() && (words()[slot / 64] >> slot % 64 & 1U);
    const Slot* const end = few() + size_;
    return std::binary_search(few(), end, slot);
  }

  // `universe`: all slots are below it, now.
  void add(Slot slot, Slot universe) {
    if (!is_dense() && size_ >= kFewest && std::uint64_t{size_} * 32 > universe) make_dense(universe);
    if (is_dense()) return add_bit(slot);
    Slot* const at = std::lower_bound(few(), few() + size_, slot);
    if (at != few() + size_ && *at == slot) return;
    const auto place = static_cast<std::size_t>(at - few());
    if (size_ == room()) grow();
    std::memmove(few() + place + 1, few() + place, (size_ - place) * sizeof(Slot));
    few()[place] = slot;
    ++size_;
  }

  void remove(Slot slot) {
    if (!contains(slot)) return;
    --size_;
    if (is_dense()) {
      words()[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
      return;
    }
    Slot* const at = std::lower_bound(few(), few() + size_ + 1, slot);
    std::memmove(at, at + 1, static_cast<std::size_t>(few() + size_ - at) * sizeof(Slot));
  }

  // In ascending order.
  template <class Visit>
  void each(Visit visit) const {
    if (!is_dense()) {
      // The room bounds it for clang's analyzer, which takes the list inside for longer than it is.
      for (std::uint32_t at = 0; at < std::min(size_, room()); ++at) visit(few()[at]);
      return;
    }
    for (std::uint32_t word = 0; word < room_words(); ++word)
      for (std::uint64_t bits = words()[word]; bits; bits &= bits - 1)
        visit(word * 64 + static_cast<Slot>(__builtin_ctzll(bits)));
  }

  // ORs itself into bits of which there are `count` words.
  void or_into(std::uint64_t* bits, std::size_t count) const {
    if (is_dense()) {
      for (std::size_t word = 0; word < std::min<std::size_t>(count, room_words()); ++word)
        bits[word] |= words()[word];
      return;
    }
    for (std::uint32_t at = 0; at < size_; ++at)
      if (few()[at] / 64 < count) bits[few()[at] / 64] |= std::uint64_t{1} << few()[at] % 64;
  }

 private:
  static constexpr std::uint32_t kInside = 2;
  static constexpr std::uint32_t kFewest = 64;  // fewer stay a list
  static constexpr std::uint32_t kDense = 1U << 31U;

  bool is_dense() const { return room_ & kDense; }
  std::uint32_t room_words() const { return room_ & ~kDense; }
  std::uint32_t room() const { return room_ ? room_ : kInside; }
  const Slot* few() const { return room_ ? list_ : inside_; }
  Slot* few() { return room_ ? list_ : inside_; }
  std::uint64_t* words() const { return words_; }

  void grow() {
    const std::uint32_t more = size_ < 8 ? 8 : size_ + size_ / 2;
    auto* const list = new Slot[more];
    std::memcpy(list, few(), size_ * sizeof(Slot));
    if (room_) delete[] list_;
    list_ = list;
    room_ = more;
  }

  void make_dense(Slot universe) {
    SlotSet other;
    other.more_words((universe + 63) / 64);
    each([&](Slot slot) { other.add_bit(slot); });
    swap(other);
  }

  void more_words(std::uint32_t count) {
    auto* const all = new std::uint64_t[count]();
    if (is_dense()) {
      std::memcpy(all, words_, room_words() * sizeof(std::uint64_t));
      delete[] words_;
    }
    words_ = all;
    room_ = kDense | count;
  }

  void add_bit(Slot slot) {
    if (slot / 64 >= room_words()) more_words(std::max(slot / 64 + 1, room_words() + room_words() / 4));
    const std::uint64_t bit = std::uint64_t{1} << slot % 64;
    size_ += !(words()[slot / 64] & bit);
    words()[slot / 64] |= bit;
  }

  void clear() {
    if (is_dense())
      delete[] words_;
    else if (room_)
      delete[] list_;
  }

  void swap(SlotSet& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(room_, other.room_);
    std::swap(words_, other.words_);
  }

  std::uint32_t size_ = 0;
  std::uint32_t room_ = 0;  // 0: inside; else of the list, or of the words, which kDense says
  union {
    std::uint64_t* words_ = nullptr;
    Slot* list_;
    Slot inside_[kInside];
  };
};

}  // namespace fleetmesh::policy
