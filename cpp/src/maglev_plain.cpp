#include <algorithm>
#include <vector>

#include "fleetmesh/maglev_fill.hpp"

namespace fleetmesh::maglev {
namespace {

// pkg/maglev/maglev.go, computeLookupTable. Cilium counts in double: floor(w / l) + k * W is its whole part,
// and no table is so large that the fraction matters.
template <class Rank>
void fill_by_turns(std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
                   Rank* table) {
  constexpr auto kFree = static_cast<Rank>(-1);
  const std::size_t count = walks.size();
  if (count == 0) return;
  std::vector<std::uint32_t> next(count);
  for (std::size_t i = 0; i < count; ++i) next[i] = walks[i].offset;
  std::vector<std::uint64_t> due(weights.begin(), weights.end());
  std::uint64_t sum = 0;
  for (auto& each : due) {
    sum += each;
    each /= count;
  }
  std::fill_n(table, size, kFree);
  std::size_t start = 0;
  for (std::uint32_t turn = 0; turn < size; ++turn) {
    std::size_t i = start;
    if (!weights.empty()) {
      while (std::uint64_t{turn + 1} * weights[i] < due[i])
        if (++i == count) i = 0;
      due[i] += sum;
    }
    const std::uint32_t skip = walks[i].skip;
    std::uint32_t entry = next[i];
    while (table[entry] != kFree) {
      entry += skip;
      if (entry >= size) entry -= size;
    }
    table[entry] = static_cast<Rank>(i);
    entry += skip;
    next[i] = entry >= size ? entry - size : entry;
    if (++start == count) start = 0;
  }
}

}  // namespace

bool weights_count(std::span<const std::uint16_t> weights) {
  std::uint64_t sum = 0;
  bool equal = true;
  for (const auto weight : weights) {
    sum += weight;
    equal &= weight == weights.front();
  }
  return sum / weights.size() > 1 && !equal;
}

void fill_plain(std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
                std::uint16_t* table) {
  fill_by_turns(size, walks, weights, table);
}

void fill_plain(std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
                std::uint32_t* table) {
  fill_by_turns(size, walks, weights, table);
}

}  // namespace fleetmesh::maglev
