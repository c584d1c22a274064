// A hash table of bounded size for what packets leave behind: connections, affinity.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "fleetmesh/huge_pages.hpp"

namespace fleetmesh {

// Full, it makes room by second chance: of the oldest entries first, one whose time is over, or that
// was not used since it was last passed over. That depends on the calls alone and not on where the
// hash puts an entry, so the hash may be keyed with a secret.
//
// Hash: its low bits say where an entry stands, all of it which it is; at most 2^28 places are told apart.
// Key: compared byte by byte. Value: `expires(value)`, found by its type, is when it ceases to count.
// Pointers hold until the next `put`.
//
// Entries whose hashes differ in the upper four bits only are kin. Each has a stamp, which is 0 once it is
// gone and which changes with every `put` or `restamp` of it or of its kin: who has seen the stamps of some
// entries may rely on what the table has under their hashes as long as the stamps are the same, and so are
// `laps`.
template <class Key, class Value>
class BoundedTable {
 public:
  explicit BoundedTable(std::uint32_t capacity, std::uint32_t first_stamp = 1)
      : capacity_(capacity), next_stamp_(first_stamp) {
    if (!capacity || capacity > kMostEntries)
      throw std::invalid_argument("a table of connections holds 1 to 2^27 entries");
    index_.resize(kFewestSlots);
    mask_ = kFewestSlots - 1;
    entries_.emplace_back();  // number 0
  }

  std::uint32_t capacity() const { return capacity_; }
  std::uint32_t size() const { return size_; }
  std::uint64_t evicted() const { return evicted_; }
  // How often the stamps began anew.
  std::uint64_t laps() const { return laps_; }
  // Begins stamps anew unless so many are left.
  void have_stamps(std::uint32_t count) {
    if (~std::uint32_t{0} - next_stamp_ < count) begin_stamps();
  }

  void prefetch_slot(std::uint32_t hash) const { __builtin_prefetch(&index_[hash & mask_]); }
  // Reads the slot that was fetched before, and fetches its entry.
  void prefetch_entry(std::uint32_t hash) const {
    const Slot slot = index_[hash & mask_];
    if (slot.entry) __builtin_prefetch(&entries_[slot.entry]);
  }

  // Null where there is none or its time is over.
  Value* find(const Key& key, std::uint32_t hash, std::uint64_t time) {
    Entry* entry = locate(key, hash);
    if (!entry || expires(entry->value) <= time) return nullptr;
    entry->used = 1;
    return &entry->value;
  }
  // An entry's number, from 1, and its stamp. Whoever changes what others rely on, without `put`, calls
  // `restamp`.
  std::uint32_t number_of(const Value* value) const {
    return static_cast<std::uint32_t>(entry_of(value) - entries_.data());
  }
  std::uint32_t stamp(std::uint32_t number) const { return entries_[number].stamp; }
  void restamp(std::uint32_t number) { stamp_kin(entries_[number].hash); }
  // Of any number that was given; what has number 0 is never intact. Counts as used only after `use`.
  Value* numbered(std::uint32_t number) { return &entries_[number].value; }
  static bool intact(const Value* value, std::uint32_t stamp, std::uint64_t time) {
    return entry_of(value)->stamp == stamp && expires(*value) > time;
  }
  static void use(Value* value) { entry_of(value)->used = 1; }
  void prefetch_number(std::uint32_t number) const { __builtin_prefetch(&entries_[number]); }

  // What stands where an entry of that hash most likely stands; only good for guessing.
  const Value* likely(std::uint32_t hash) const {
    const Slot slot = index_[hash & mask_];
    return slot.entry ? &entries_[slot.entry].value : nullptr;
  }

  void put(const Key& key, std::uint32_t hash, const Value& value, std::uint64_t time) {
    if (Entry* known = locate(key, hash)) {
      known->value = value;
      known->used = 1;
      stamp_kin(hash);
      return;
    }
    if (size_ == capacity_) make_room(time);
    if ((size_ + 1) * std::uint64_t{2} > index_.size()) grow();
    const std::uint32_t at = take_free();
    Entry& entry = entries_[at];
    entry.key = key;
    entry.value = value;
    entry.hash = hash;
    entry.used = 0;
    link(at);
    place({hash, at});
    ++size_;
    stamp_kin(hash);
  }

  void remove(const Key& key, std::uint32_t hash) {
    if (const Entry* known = locate(key, hash)) drop(static_cast<std::uint32_t>(known - entries_.data()));
  }

  // Calls `visit(key, value)` for all whose time is not over, the oldest first.
  template <class Visit>
  void each(std::uint64_t time, Visit visit) const {
    for (std::uint32_t at = oldest_; at != kNone; at = entries_[at].newer)
      if (expires(entries_[at].value) > time) visit(entries_[at].key, entries_[at].value);
  }

 private:
  static constexpr std::uint32_t kNone = 0;
  static constexpr std::uint32_t kMostEntries = 1U << 27U;
  static constexpr std::size_t kFewestSlots = 64;
  static constexpr std::size_t kGoNext = 16;

  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t entry = 0;  // its number; 0: the place is free
  };
  using Index = std::vector<Slot, HugePages<Slot>>;
  // Those of a cache line or more begin with one.
  static constexpr std::size_t kAlignment = sizeof(Key) + sizeof(Value) >= 48 ? 64 : alignof(Value);
  struct alignas(kAlignment) Entry {
    Value value;  // first, so that it stands for the entry
    Key key;
    std::uint32_t older : 31;
    std::uint32_t used : 1;
    std::uint32_t newer;  // of a free one: the next free one
    std::uint32_t hash;
    std::uint32_t stamp;
  };

  static const Entry* entry_of(const Value* value) { return reinterpret_cast<const Entry*>(value); }
  static Entry* entry_of(Value* value) { return reinterpret_cast<Entry*>(value); }

  void stamp_kin(std::uint32_t hash) {
    for (std::size_t at = hash & mask_; index_[at].entry; at = (at + 1) & mask_)
      if (!((index_[at].hash ^ hash) << 4U)) entries_[index_[at].entry].stamp = next_stamp_;
    if (!++next_stamp_) begin_stamps();
  }

  void begin_stamps() {
    next_stamp_ = 1;
    ++laps_;
  }

  Entry* locate(const Key& key, std::uint32_t hash) {
    const Slot* index = index_.data();
    for (std::size_t at = hash & mask_;; at = (at + 1) & mask_) {
      const Slot slot = index[at];
      if (!slot.entry) return nullptr;
      if (slot.hash != hash) continue;
      Entry& entry = entries_[slot.entry];
      if (std::memcmp(&entry.key, &key, sizeof key) == 0) return &entry;
    }
  }

  void place(Slot slot) {
    std::size_t at = slot.hash & mask_;
    while (index_[at].entry) at = (at + 1) & mask_;
    index_[at] = slot;
  }

  void grow() {
    const Index old = std::move(index_);
    index_ = Index(old.size() * 2);
    mask_ = index_.size() - 1;
    for (const Slot slot : old)
      if (slot.entry) place(slot);
  }

  std::uint32_t take_free() {
    if (free_ != kNone) {
      const std::uint32_t at = free_;
      free_ = entries_[at].newer;
      return at;
    }
    entries_.emplace_back();
    return static_cast<std::uint32_t>(entries_.size() - 1);
  }

  void link(std::uint32_t at) {
    entries_[at].older = newest_ & 0x7fffffff;
    entries_[at].newer = kNone;
    (newest_ == kNone ? oldest_ : entries_[newest_].newer) = at;
    newest_ = at;
  }

  void unlink(std::uint32_t at) {
    const Entry& entry = entries_[at];
    (entry.older == kNone ? oldest_ : entries_[entry.older].newer) = entry.newer;
    if (entry.newer == kNone)
      newest_ = entry.older;
    else
      entries_[entry.newer].older = entry.older;
  }

  void make_room(std::uint64_t time) {
    for (;;) {
      const std::uint32_t at = oldest_;
      Entry& entry = entries_[at];
      if (expires(entry.value) <= time || !entry.used) {
        if (expires(entry.value) > time) ++evicted_;
        drop(at);
        // Likely one of the next to go: those that came together mostly lie together.
        if (at + kGoNext < entries_.size()) prefetch_slot(entries_[at + kGoNext].hash);
        return;
      }
      entry.used = 0;
      unlink(at);
      link(at);
    }
  }

  void drop(std::uint32_t at) {
    unlink(at);
    std::size_t hole = entries_[at].hash & mask_;
    while (index_[hole].entry != at) hole = (hole + 1) & mask_;
    // What was pushed past the hole moves back into it, so that no look-up stops short.
    for (std::size_t next = (hole + 1) & mask_; index_[next].entry; next = (next + 1) & mask_) {
      const std::size_t home = index_[next].hash & mask_;
      if (((next - home) & mask_) < ((next - hole) & mask_)) continue;
      index_[hole] = index_[next];
      hole = next;
    }
    index_[hole] = {};
    entries_[at].stamp = 0;
    entries_[at].newer = free_;
    free_ = at;
    --size_;
  }

  std::uint32_t capacity_;
  std::uint32_t size_ = 0;
  std::uint32_t oldest_ = kNone;
  std::uint32_t newest_ = kNone;
  std::uint32_t free_ = kNone;
  std::uint64_t evicted_ = 0;
  std::uint32_t next_stamp_;
  std::uint64_t laps_ = 0;
  std::size_t mask_ = 0;  // of places in the index
  Index index_;
  std::vector<Entry, HugePages<Entry>> entries_;
};

}  // namespace fleetmesh
