#include "fleetmesh/maglev_turns.hpp"

#include <algorithm>
#include <bit>

namespace fleetmesh::maglev {
namespace {

constexpr std::uint32_t kBits = 64;
constexpr std::uint32_t kFewWords = 2;
constexpr std::uint32_t kNobody = 0xffffffff;

}  // namespace

// Backend i is ready in turn n (from 0) if (n + 1) * w >= w / l + k * W, having had k turns: from turn
// ceil((w / l + k * W) / w) on, counted from 1. `slack` is by how much that turn times w exceeds the right
// side.
void Turns::start(std::uint32_t size, std::span<const std::uint16_t> weights) {
  size_ = size;
  count_ = static_cast<std::uint32_t>(weights.size());
  words_ = (count_ + kBits - 1) / kBits;
  turn_ = 0;
  from_ = 0;
  std::uint64_t sum = 0;
  for (const auto weight : weights) sum += weight;
  backends_.assign(count_, {});
  for (std::uint32_t i = 0; i < count_; ++i) {
    auto& b = backends_[i];
    const std::uint32_t w = weights[i];
    b.weight = w;
    if (w == 0) continue;
    b.whole = static_cast<std::uint32_t>(sum / w);
    b.part = static_cast<std::uint32_t>(sum % w);
    b.ready = w / count_ > 0 ? 1 : 0;
    b.slack = w / count_ > 0 ? w - w / count_ : 0;
  }
  // Everyone has a first turn.
  ready_.assign(words_, 0);
  nonempty_.assign((words_ + kBits - 1) / kBits, 0);
  for (std::uint32_t i = 0; i < count_; ++i) set(i);
  if (words_ <= kFewWords)
    due_.assign(std::size_t{size + 1} * words_, 0);
  else
    calendar_.assign(size + 1, kNobody);
}

void Turns::set(std::uint32_t i) {
  ready_[i / kBits] |= std::uint64_t{1} << i % kBits;
  nonempty_[i / kBits / kBits] |= std::uint64_t{1} << i / kBits % kBits;
}

void Turns::clear(std::uint32_t i) {
  if ((ready_[i / kBits] &= ~(std::uint64_t{1} << i % kBits)) == 0)
    nonempty_[i / kBits / kBits] &= ~(std::uint64_t{1} << i / kBits % kBits);
}

// The turn (from 0) in which it is ready again, `size_` for never.
inline std::uint32_t Turns::take(std::uint32_t i) {
  auto& b = backends_[i];
  const std::uint32_t more = b.part > b.slack;
  b.slack += (b.weight & (0 - more)) - b.part;
  const std::uint64_t ready = std::uint64_t{b.ready} + b.whole + more;
  b.ready = b.weight == 0 || ready > size_ ? size_ + 1 : static_cast<std::uint32_t>(ready);
  return std::max(b.ready - 1, turn_ + 1);
}

void Turns::next(std::uint32_t* backends, std::uint32_t count) {
  if (words_ == 1)
    next_few<1>(backends, count);
  else if (words_ == 2)
    next_few<2>(backends, count);
  else
    next_many(backends, count);
}

// The bits of each turn lie side by side: no branch depends on how many become ready.
template <std::uint32_t kWords>
void Turns::next_few(std::uint32_t* backends, std::uint32_t count) {
  std::uint64_t ready[kWords];
  for (std::uint32_t w = 0; w < kWords; ++w) ready[w] = ready_[w];
  for (std::uint32_t t = 0; t < count; ++t) {
    std::uint32_t i = 0;
    const std::uint64_t above = ~std::uint64_t{0} << from_ % kBits;
    if constexpr (kWords == 1) {
      const std::uint64_t later = ready[0] & above;
      i = static_cast<std::uint32_t>(std::countr_zero(later != 0 ? later : ready[0]));
    } else {
      const std::uint32_t home = from_ / kBits;
      const std::uint64_t later = ready[home] & above;
      const std::uint64_t other = ready[home ^ 1];
      const std::uint64_t chosen = later != 0 ? later : other != 0 ? other : ready[home];
      const std::uint32_t word = later != 0 || other == 0 ? home : home ^ 1;
      i = word * kBits + static_cast<std::uint32_t>(std::countr_zero(chosen));
    }
    backends[t] = i;
    const std::uint64_t bit = std::uint64_t{1} << i % kBits;
    ready[i / kBits] &= ~bit;
    due_[std::size_t{std::min(take(i), size_)} * kWords + i / kBits] |= bit;
    ++turn_;
    for (std::uint32_t w = 0; w < kWords; ++w) ready[w] |= due_[std::size_t{turn_} * kWords + w];
    if (++from_ == count_) from_ = 0;
  }
  for (std::uint32_t w = 0; w < kWords; ++w) ready_[w] = ready[w];
}

std::uint32_t Turns::first_ready(std::uint32_t from) const {
  const std::uint32_t home = from / kBits;
  if (const auto later = ready_[home] >> from % kBits; later != 0)
    return from + static_cast<std::uint32_t>(std::countr_zero(later));
  const auto words = static_cast<std::uint32_t>(nonempty_.size());
  // The words after `home`, then all from the first: `home` itself comes last.
  std::uint32_t word = (home + 1) / kBits;
  std::uint64_t found = word < words ? nonempty_[word] & ~std::uint64_t{0} << (home + 1) % kBits : 0;
  while (found == 0) {
    word = word + 1 < words ? word + 1 : 0;
    found = nonempty_[word];
  }
  word = word * kBits + static_cast<std::uint32_t>(std::countr_zero(found));
  return word * kBits + static_cast<std::uint32_t>(std::countr_zero(ready_[word]));
}

void Turns::next_many(std::uint32_t* backends, std::uint32_t count) {
  for (std::uint32_t t = 0; t < count; ++t) {
    const std::uint32_t i = first_ready(from_);
    backends[t] = i;
    const std::uint32_t again = take(i);
    ++turn_;
    if (again != turn_) {
      clear(i);
      if (again < size_) {
        backends_[i].after = calendar_[again];
        calendar_[again] = i;
      }
    }
    for (std::uint32_t next = calendar_[turn_]; next != kNobody; next = backends_[next].after) set(next);
    if (++from_ == count_) from_ = 0;
  }
}

}  // namespace fleetmesh::maglev
