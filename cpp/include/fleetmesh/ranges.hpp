// Which cluster an address belongs to: the longest prefix that holds it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "datapath/abi.h"
#include "fleetmesh/address.hpp"
#include "fleetmesh/member_set.hpp"

namespace fleetmesh {

struct Prefix {
  Address address;
  std::uint8_t length = 0;
  ClusterId cluster = 0;
};

// Prefixes laid flat: where each stretch of addresses begins, and what it is.
class Ranges {
 public:
  Ranges() : Ranges(std::span<const Prefix>()) {}
  // Of two equal prefixes the first counts.
  explicit Ranges(std::span<const Prefix> prefixes);

  // In network order, as packets have them. Null: in no prefix.
  const fm_identity_value* find(std::uint32_t address) const {
    const std::uint32_t number = __builtin_bswap32(address);
    const std::uint16_t first = blocks_[number >> 16U];
    return value_of(first & kWhole ? first & ~kWhole : stretch(number, first));
  }
  const fm_identity_value* find(const std::uint32_t* address) const;

 private:
  static constexpr std::uint16_t kWhole = 0x8000;  // the block is of one cluster, whose id this is

  const fm_identity_value* value_of(std::uint32_t cluster) const {
    return cluster ? &values_[cluster] : nullptr;
  }
  std::uint32_t stretch(std::uint32_t number, std::size_t first) const;

  std::vector<std::uint32_t> starts4_;
  std::vector<ClusterId> clusters4_;
  std::vector<std::uint16_t>
      blocks_;  // of each /16: the stretch that its first address is in, or kWhole and a cluster
  std::vector<std::array<std::uint64_t, 2>> starts6_;
  std::vector<ClusterId> clusters6_;
  std::array<fm_identity_value, 512> values_{};
};

}  // namespace fleetmesh
