// What the stretches of all addresses are: which cluster's, and which identity outside of it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "datapath/abi.h"
#include "fleetmesh/address.hpp"
#include "fleetmesh/member_set.hpp"

namespace fleetmesh {

// Addresses with one prefix, and what they are: a cluster id or an identity.
struct Prefix {
  Address address;
  std::uint8_t length = 0;
  std::uint32_t value = 0;
};

// Prefixes laid flat: where each stretch of addresses begins, and what it is. Of clusters and of identities
// the longest prefix that holds an address counts, each by itself.
class Ranges {
 public:
  Ranges() : Ranges(std::span<const Prefix>()) {}
  // Of two equal prefixes the first counts.
  explicit Ranges(std::span<const Prefix> clusters, std::span<const Prefix> identities = {});

  // In network order, as packets have them. Null: in no prefix.
  const fm_identity_value* find(std::uint32_t address) const {
    const std::uint32_t number = __builtin_bswap32(address);
    const std::uint32_t first = blocks_[number >> 16U];
    return value_of(first & kWhole ? first & ~kWhole : stretch(number, first));
  }
  const fm_identity_value* find(const std::uint32_t* address) const;

 private:
  static constexpr std::uint32_t kWhole = 0x80000000;  // the block is of one value, whose place this is

  const fm_identity_value* value_of(std::uint32_t place) const { return place ? &values_[place] : nullptr; }
  std::uint32_t stretch(std::uint32_t number, std::size_t first) const;

  std::vector<std::uint32_t> starts4_;
  std::vector<std::uint32_t> places4_;  // in values_
  // Of each /16: the stretch that its first address is in, or kWhole and a place.
  std::vector<std::uint32_t> blocks_;
  std::vector<std::array<std::uint64_t, 2>> starts6_;
  std::vector<std::uint32_t> places6_;
  std::vector<fm_identity_value> values_;  // the first is of nobody
};

}  // namespace fleetmesh
