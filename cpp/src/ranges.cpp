#include "fleetmesh/ranges.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <utility>

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
  std::uint32_t value;
};

// Walks the prefixes in order of address, the wider before those in it, with a stack of open ones.
std::vector<Stretch> flatten(std::span<const Prefix> prefixes, Family family) {
  std::vector<Prefix> sorted;
  for (const Prefix& prefix : prefixes)
    if (prefix.address.family == family) {
      if (prefix.length > bits_of(family)) throw std::invalid_argument("a prefix is longer than its address");
      sorted.push_back(prefix);
    }
  std::stable_sort(sorted.begin(), sorted.end(), [](const Prefix& a, const Prefix& b) {
    return std::pair(number_of(a.address), a.length) < std::pair(number_of(b.address), b.length);
  });
  std::vector<Stretch> stretches{{Number{0, 0}, 0}};
  struct Open {
    Number last;
    std::uint32_t value;
  };
  std::vector<Open> open;
  const auto begin = [&](const Number& start, std::uint32_t value) {
    if (stretches.back().start == start)
      stretches.back().value = value;
    else
      stretches.push_back({start, value});
  };
  const auto close = [&] {
    Number next = open.back().last;
    open.pop_back();
    if (++next[1] == 0) ++next[0];
    const bool past_the_end = next == Number{0, 0};
    if (!past_the_end) begin(next, open.empty() ? 0 : open.back().value);
  };
  const Prefix* before = nullptr;
  for (const Prefix& prefix : sorted) {
    if (before && before->address == prefix.address && before->length == prefix.length) continue;
    while (!open.empty() && open.back().last < number_of(prefix.address)) close();
    begin(number_of(prefix.address), prefix.value);
    open.push_back({last_of(prefix), prefix.value});
    before = &prefix;
  }
  while (!open.empty()) close();
  return stretches;
}

// Calls visit(start, cluster, identity) for each stretch, in order.
template <class Visit>
void together(const std::vector<Stretch>& clusters, const std::vector<Stretch>& identities, Visit visit) {
  for (std::size_t c = 0, i = 0;;) {
    visit(std::max(clusters[c].start, identities[i].start), clusters[c].value, identities[i].value);
    const Stretch* const cluster = c + 1 < clusters.size() ? &clusters[c + 1] : nullptr;
    const Stretch* const identity = i + 1 < identities.size() ? &identities[i + 1] : nullptr;
    if (!cluster && !identity) return;
    const bool cluster_first = cluster && (!identity || cluster->start <= identity->start);
    const bool identity_first = identity && (!cluster || identity->start <= cluster->start);
    c += cluster_first;
    i += identity_first;
  }
}

}  // namespace

Ranges::Ranges(std::span<const Prefix> clusters, std::span<const Prefix> identities)
    : blocks_(std::size_t{1} << 16U), values_(1) {
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> known{{{0, 0}, 0}};
  const auto place_of = [&](std::uint32_t cluster, std::uint32_t identity) {
    const auto [at, fresh] =
        known.try_emplace({cluster, identity}, static_cast<std::uint32_t>(values_.size()));
    if (fresh) values_.push_back({identity, static_cast<std::uint16_t>(cluster), 0});
    return at->second;
  };
  if (std::ranges::any_of(clusters, [](const Prefix& prefix) { return prefix.value > 511; }))
    throw std::invalid_argument("a prefix has a cluster id above 511");
  together(flatten(clusters, Family::v4), flatten(identities, Family::v4),
           [&](const Number& start, std::uint32_t cluster, std::uint32_t identity) {
             if (start[1] > 0xffffffff) return;  // what follows 255.255.255.255
             starts4_.push_back(static_cast<std::uint32_t>(start[1]));
             places4_.push_back(place_of(cluster, identity));
           });
  together(flatten(clusters, Family::v6), flatten(identities, Family::v6),
           [&](const Number& start, std::uint32_t cluster, std::uint32_t identity) {
             starts6_.push_back(start);
             places6_.push_back(place_of(cluster, identity));
           });
  const auto first_block = [&](std::uint64_t number) {
    return blocks_.begin() + static_cast<std::ptrdiff_t>((number + 0xffff) >> 16U);
  };
  for (std::size_t at = 0; at < starts4_.size(); ++at) {
    const std::uint64_t end = at + 1 < starts4_.size() ? starts4_[at + 1] : std::uint64_t{1} << 32U;
    const auto begin = first_block(starts4_[at]);
    const auto whole = blocks_.begin() + static_cast<std::ptrdiff_t>(end >> 16U);
    if (begin < whole) std::fill(begin, whole, kWhole | places4_[at]);
    // A block that begins in this stretch and ends in a later one.
    if (begin <= whole && whole < first_block(end)) *whole = static_cast<std::uint32_t>(at);
  }
}

std::uint32_t Ranges::stretch(std::uint32_t number, std::size_t first) const {
  const auto from = starts4_.begin() + static_cast<std::ptrdiff_t>(first);
  const auto after = std::upper_bound(from, starts4_.end(), number);
  return places4_[static_cast<std::size_t>(after - starts4_.begin()) - 1];
}

const fm_identity_value* Ranges::find(const std::uint32_t* address) const {
  Number number;
  std::memcpy(number.data(), address, sizeof number);
  number = {__builtin_bswap64(number[0]), __builtin_bswap64(number[1])};
  const auto after = std::upper_bound(starts6_.begin(), starts6_.end(), number);
  return value_of(places6_[static_cast<std::size_t>(after - starts6_.begin()) - 1]);
}

}  // namespace fleetmesh
