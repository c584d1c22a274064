#include "fleetmesh/ranges.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace fleetmesh {
namespace {

using Number = std::array<std::uint64_t, 2>;

Number number_of(const Address& address) { return {address.high, address.low}; }

unsigned bits_of(Family family) { return family == Family::v4 ? 32 : 128; }

Number last_of(const Prefix& prefix) {
  const unsigned free_bits = bits_of(prefix.address.family) - prefix.length;
  Number last = number_of(prefix.address);
  if (free_bits >= 64)
    last[0] |= free_bits == 128 ? ~std::uint64_t{0} : (std::uint64_t{1} << (free_bits - 64)) - 1;
  last[1] |= free_bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << free_bits) - 1;
  return last;
}

struct Stretch {
  Number start;
  ClusterId cluster;
};

// Walks the prefixes in order of address, the wider before those in it, with a stack of open ones.
std::vector<Stretch> flatten(std::span<const Prefix> prefixes, Family family) {
  std::vector<Prefix> sorted;
  for (const Prefix& prefix : prefixes)
    if (prefix.address.family == family) {
      if (prefix.length > bits_of(family) || prefix.cluster > 511)
        throw std::invalid_argument("a prefix is longer than its address, or a cluster id above 511");
      sorted.push_back(prefix);
    }
  std::stable_sort(sorted.begin(), sorted.end(), [](const Prefix& a, const Prefix& b) {
    return std::pair(number_of(a.address), a.length) < std::pair(number_of(b.address), b.length);
  });
  std::vector<Stretch> stretches{{Number{0, 0}, 0}};
  struct Open {
    Number last;
    ClusterId cluster;
  };
  std::vector<Open> open;
  const auto begin = [&](const Number& start, ClusterId cluster) {
    if (stretches.back().start == start)
      stretches.back().cluster = cluster;
    else
      stretches.push_back({start, cluster});
  };
  const auto close = [&] {
    Number next = open.back().last;
    open.pop_back();
    if (++next[1] == 0) ++next[0];
    const bool past_the_end = next == Number{0, 0};
    if (!past_the_end) begin(next, open.empty() ? ClusterId{0} : open.back().cluster);
  };
  const Prefix* before = nullptr;
  for (const Prefix& prefix : sorted) {
    if (before && before->address == prefix.address && before->length == prefix.length) continue;
    while (!open.empty() && open.back().last < number_of(prefix.address)) close();
    begin(number_of(prefix.address), prefix.cluster);
    open.push_back({last_of(prefix), prefix.cluster});
    before = &prefix;
  }
  while (!open.empty()) close();
  return stretches;
}

}  // namespace

Ranges::Ranges(std::span<const Prefix> prefixes) : blocks_(std::size_t{1} << 16U) {
  for (std::size_t cluster = 0; cluster < values_.size(); ++cluster)
    values_[cluster].cluster = static_cast<std::uint16_t>(cluster);
  for (const Stretch& stretch : flatten(prefixes, Family::v4)) {
    if (stretch.start[1] > 0xffffffff) break;  // what follows 255.255.255.255
    starts4_.push_back(static_cast<std::uint32_t>(stretch.start[1]));
    clusters4_.push_back(stretch.cluster);
  }
  if (starts4_.size() >= kWhole) throw std::invalid_argument("more than 32,767 stretches of IPv4 addresses");
  for (const Stretch& stretch : flatten(prefixes, Family::v6)) {
    starts6_.push_back(stretch.start);
    clusters6_.push_back(stretch.cluster);
  }
  const auto first_block = [&](std::uint64_t number) {
    return blocks_.begin() + static_cast<std::ptrdiff_t>((number + 0xffff) >> 16U);
  };
  for (std::size_t at = 0; at < starts4_.size(); ++at) {
    const std::uint64_t end = at + 1 < starts4_.size() ? starts4_[at + 1] : std::uint64_t{1} << 32U;
    const auto begin = first_block(starts4_[at]);
    const auto whole = blocks_.begin() + static_cast<std::ptrdiff_t>(end >> 16U);
    if (begin < whole) std::fill(begin, whole, static_cast<std::uint16_t>(kWhole | clusters4_[at]));
    // A block that begins in this stretch and ends in a later one.
    if (begin <= whole && whole < first_block(end)) *whole = static_cast<std::uint16_t>(at);
  }
}

std::uint32_t Ranges::stretch(std::uint32_t number, std::size_t first) const {
  const auto from = starts4_.begin() + static_cast<std::ptrdiff_t>(first);
  const auto after = std::upper_bound(from, starts4_.end(), number);
  return clusters4_[static_cast<std::size_t>(after - starts4_.begin()) - 1];
}

const fm_identity_value* Ranges::find(const std::uint32_t* address) const {
  Number number;
  std::memcpy(number.data(), address, sizeof number);
  number = {__builtin_bswap64(number[0]), __builtin_bswap64(number[1])};
  const auto after = std::upper_bound(starts6_.begin(), starts6_.end(), number);
  return value_of(clusters6_[static_cast<std::size_t>(after - starts6_.begin()) - 1]);
}

}  // namespace fleetmesh
