// Numbers for things that data paths refer to: backends, frontends.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace fleetmesh {

// Gives each key the first number from its hash that no other key has, so that the same keys have the
// same numbers wherever they are counted. A number that was given up stays its key's until `forget`.
//
// Record: default-made, with `Key key`, `bool lives() const` and `static std::uint32_t hash(Key)`.
template <class Record>
class Numbered {
 public:
  using Key = decltype(Record::key);

  Numbered() { refill({}, kFewest); }

  std::size_t size() const { return size_; }

  const Record* find(std::uint32_t number) const {
    const Slot* slots = slots_.data();
    for (std::size_t at = number & mask_;; at = (at + 1) & mask_) {
      if (slots[at].number == number) return &slots[at].record;
      if (!slots[at].number) return nullptr;
    }
  }
  Record* find(std::uint32_t number) {
    return const_cast<Record*>(static_cast<const Numbered*>(this)->find(number));
  }
  void prefetch(std::uint32_t number) const { __builtin_prefetch(&slots_[number & mask_]); }

  // The record of a key, null if it never had a number or that was forgotten.
  const Record* at(const Key& key) const {
    for (std::uint32_t number = Record::hash(key);; ++number) {
      const Record* known = find(number);
      if (!known) {
        if (number) return nullptr;
        continue;
      }
      if (known->key == key) return known;
    }
  }

  // The number of a key, a new one if it has none. References into the table end here.
  std::uint32_t number(const Key& key) {
    std::uint32_t number = Record::hash(key);
    for (;; ++number) {
      if (!number) continue;
      const Record* known = find(number);
      if (!known) break;
      if (known->key == key) return number;
    }
    if ((size_ + 1) * 2 > slots_.size()) {
      const std::vector<Slot> old = std::move(slots_);
      refill(old, old.size() * 2);
    }
    Record record;
    record.key = key;
    place({number, record});
    ++size_;
    return number;
  }

  // Forgets those that don't live and that nobody holds.
  template <class Held>
  void forget(Held held) {
    std::vector<Slot> kept;
    for (const Slot& slot : slots_) {
      if (!slot.number) continue;
      // The next number may have been given because this one was taken.
      if (slot.record.lives() || held(slot.number) || find(slot.number + 1)) kept.push_back(slot);
    }
    size_ = kept.size();
    std::size_t slots = kFewest;
    while (slots < size_ * 4) slots *= 2;
    refill(kept, slots);
  }

  template <class Visit>
  void each(Visit visit) const {
    for (const Slot& slot : slots_)
      if (slot.number) visit(slot.number, slot.record);
  }

 private:
  static constexpr std::size_t kFewest = 16;

  struct Slot {
    std::uint32_t number = 0;
    Record record;
  };

  void place(const Slot& slot) {
    std::size_t at = slot.number & mask_;
    while (slots_[at].number) at = (at + 1) & mask_;
    slots_[at] = slot;
  }

  void refill(const std::vector<Slot>& from, std::size_t slots) {
    slots_ = std::vector<Slot>(slots);
    mask_ = slots - 1;
    for (const Slot& slot : from)
      if (slot.number) place(slot);
  }

  std::size_t size_ = 0;
  std::size_t mask_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace fleetmesh
