// From identities' numbers to slots or classes: one flat table, as it is asked for each packet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "fleetmesh/slot_set.hpp"

namespace fleetmesh::policy {

inline constexpr Slot kNoSlot = std::numeric_limits<Slot>::max();

class NumberMap {
 public:
  Slot find(std::uint32_t number) const {
    if (cells_.empty()) return kNoSlot;
    for (std::size_t at = home(number);; at = (at + 1) & mask()) {
      if (cells_[at].slot == kNoSlot) return kNoSlot;
      if (cells_[at].number == number) return cells_[at].slot;
    }
  }

  // Fetches what `set` of that number is going to need.
  void prefetch(std::uint32_t number) const {
    if (!cells_.empty()) __builtin_prefetch(&cells_[home(number)], 1);
  }

  void set(std::uint32_t number, Slot slot) {
    if ((size_ + 1) * 2 > cells_.size()) grow();
    std::size_t at = home(number);
    while (cells_[at].slot != kNoSlot && cells_[at].number != number) at = (at + 1) & mask();
    size_ += cells_[at].slot == kNoSlot;
    cells_[at] = {number, slot};
  }

  template <class Visit>
  void each(Visit visit) const {
    for (const Cell& cell : cells_)
      if (cell.slot != kNoSlot) visit(cell.number, cell.slot);
  }

  void clear() {
    cells_.clear();
    size_ = 0;
  }

  // What stands behind moves up, so that no look-up stops before it.
  void remove(std::uint32_t number) {
    if (find(number) == kNoSlot) return;
    std::size_t hole = home(number);
    while (cells_[hole].number != number) hole = (hole + 1) & mask();
    for (std::size_t at = (hole + 1) & mask(); cells_[at].slot != kNoSlot; at = (at + 1) & mask()) {
      const std::size_t wanted = home(cells_[at].number);
      if (((at - wanted) & mask()) < ((at - hole) & mask())) continue;
      cells_[hole] = cells_[at];
      hole = at;
    }
    cells_[hole] = {};
    --size_;
  }

 private:
  struct Cell {
    std::uint32_t number = 0;
    Slot slot = kNoSlot;
  };
  std::size_t mask() const { return cells_.size() - 1; }
  std::size_t home(std::uint32_t number) const {
    return static_cast<std::size_t>(number * 0x9e3779b97f4a7c15U >> 32U) & mask();
  }
  void grow() {
    std::vector<Cell> old(cells_.empty() ? 64 : cells_.size() * 2);
    old.swap(cells_);
    size_ = 0;
    for (const Cell& cell : old)
      if (cell.slot != kNoSlot) set(cell.number, cell.slot);
  }

  std::vector<Cell> cells_;  // a power of two
  std::size_t size_ = 0;
};

}  // namespace fleetmesh::policy
