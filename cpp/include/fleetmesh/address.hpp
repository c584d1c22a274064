// IP addresses as numbers.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fleetmesh {

enum class Family : std::uint8_t { v4 = 4, v6 = 6 };

struct Address {
  Family family = Family::v4;
  std::uint64_t high = 0;  // the first 8 bytes of an IPv6 address; 0 for IPv4
  std::uint64_t low = 0;

  auto operator<=>(const Address&) const = default;

  // Reads what Go's net/netip reads, but for zones: those are refused.
  static std::optional<Address> parse(std::string_view text);
  static Address v4(std::uint32_t number) { return {Family::v4, 0, number}; }
  static Address v6(const std::uint8_t* bytes);

  // As Go's netip.Addr.String (RFC 5952).
  std::string text() const;
};

}  // namespace fleetmesh
