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
    b.whole = size + 1;
    if (w == 0) continue;
    // The sum of weights may pass 32 bits; turns beyond the last are all the same.
    b.whole = static_cast<std::uint32_t>(std::min<std::uint64_t>(sum / w, size + 1));
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
  auto& word = ready_[i / kBits];
  word &= ~(std::uint64_t{1} << i % kBits);
  if (word == 0) nonempty_[i / kBits / kBits] &= ~(std::uint64_t{1} << i / kBits % kBits);
}

// The turn (from 0) in which it is ready again, at the earliest `next`; `size` or more for never.
inline std::uint32_t Turns::take(Backend& b, std::uint32_t size, std::uint32_t next) {
  const std::uint32_t more = b.part > b.slack;
  b.slack += (b.weight & (0 - more)) - b.part;
  b.ready = std::min(b.ready + b.whole + more, size + 1);
  return std::max(b.ready - 1, next);
}

void Turns::next(std::uint32_t* backends, std::uint32_t count) {
  if (words_ == 1)
    next_few<1>(backends, count);
  else if (words_ == 2)
    next_few<2>(backends, count);
  else
    next_many(backends, count);
}

// The bits of each turn lie side by side: no branch depends on which are set. What changes is local, for what
// is written here might otherwise stand for it.
template <std::uint32_t kWords>
void Turns::next_few(std::uint32_t* backends, std::uint32_t count) {
  std::uint64_t low = ready_[0];
  std::uint64_t high = kWords == 2 ? ready_[1] : 0;
  Backend* const all = backends_.data();
  std::uint64_t* due = due_.data() + std::size_t{turn_} * kWords;
  const std::uint32_t size = size_;
  const std::uint32_t last = count_ - 1;
  std::uint32_t turn = turn_;
  std::uint32_t from = from_;
  for (std::uint32_t t = 0; t < count; ++t) {
    due += kWords;
    // Read before this turn's own is written: that would have to wait for it.
    const std::uint64_t due_low = due[0];
    const std::uint64_t due_high = kWords == 2 ? due[kWords - 1] : 0;
    const std::uint64_t is_high = kWords == 2 ? 0 - std::uint64_t{from / kBits} : 0;
    const std::uint64_t home = low ^ ((low ^ high) & is_high);
    const std::uint64_t later = home & ~std::uint64_t{0} << from % kBits;
    const std::uint64_t none = 0 - static_cast<std::uint64_t>(later == 0);
    std::uint64_t found = later | (home & none);
    std::uint64_t in_high = is_high;
    if constexpr (kWords == 2) {
      // The other word comes before what is left of this one.
      const std::uint64_t other = low ^ high ^ home;
      const std::uint64_t use = none & (0 - static_cast<std::uint64_t>(other != 0));
      found ^= (found ^ other) & use;
      in_high ^= use;
    }
    const std::uint64_t bit = found & (0 - found);
    const auto word = static_cast<std::uint32_t>(in_high & 1);
    const std::uint32_t i = word * kBits + static_cast<std::uint32_t>(std::countr_zero(found));
    backends[t] = i;
    ++turn;
    const std::uint32_t again = std::min(take(all[i], size, turn), size);
    due[std::size_t{again - turn} * kWords + word] |= bit;
    const std::uint64_t gone = bit & (0 - static_cast<std::uint64_t>(again != turn));
    low = (low & ~(gone & ~in_high)) | due_low;
    if constexpr (kWords == 2) high = (high & ~(gone & in_high)) | due_high;
    from = from == last ? 0 : from + 1;
  }
  ready_[0] = low;
  if constexpr (kWords == 2) ready_[1] = high;
  turn_ = turn;
  from_ = from;
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
    const std::uint32_t again = take(backends_[i], size_, turn_ + 1);
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
