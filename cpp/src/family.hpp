// What differs between IPv4 and IPv6 in a data path.
#pragma once

#include <array>
#include <cstring>

#include "datapath/abi.h"
#include "fleetmesh/address.hpp"

namespace fleetmesh {

inline std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

inline constexpr std::uint64_t kOdd1 = 0x9e3779b97f4a7c15;
inline constexpr std::uint64_t kOdd2 = 0xd6e8feb86659fd93;

struct V4 {
  static constexpr Family family = Family::v4;
  using Column = std::uint32_t;
  using Stored = std::uint32_t;
  using ServiceKey = fm_service4_key;
  using Backend = fm_backend4;
  using ConnectionKey = fm_ct4_key;
  using Connection = fm_ct4_value;
  using AffinityKey = fm_affinity4_key;

  static void read(const Column* column, std::size_t at, Stored& out) { out = __builtin_bswap32(column[at]); }
  static void write(const Stored& stored, Column* column, std::size_t at) {
    column[at] = __builtin_bswap32(stored);
  }
  static void store(const Address& address, Stored& out) {
    out = __builtin_bswap32(static_cast<std::uint32_t>(address.low));
  }
  static Address address(const Stored& stored) { return Address::v4(__builtin_bswap32(stored)); }
  static std::uint64_t folded(const Stored& stored, std::uint64_t) { return stored; }
  static bool before(const Stored& a, const Stored& b) { return a < b; }
};

struct V6 {
  static constexpr Family family = Family::v6;
  using Column = std::uint8_t;
  using Stored = std::uint32_t[4];
  using ServiceKey = fm_service6_key;
  using Backend = fm_backend6;
  using ConnectionKey = fm_ct6_key;
  using Connection = fm_ct6_value;
  using AffinityKey = fm_affinity6_key;

  static void read(const Column* column, std::size_t at, Stored& out) {
    std::memcpy(out, column + at * 16, 16);
  }
  static void write(const Stored& stored, Column* column, std::size_t at) {
    std::memcpy(column + at * 16, stored, 16);
  }
  static void store(const Address& address, Stored& out) {
    const std::array<std::uint64_t, 2> words{__builtin_bswap64(address.high), __builtin_bswap64(address.low)};
    std::memcpy(out, words.data(), 16);
  }
  static Address address(const Stored& stored) {
    return Address::v6(reinterpret_cast<const std::uint8_t*>(stored));
  }
  static std::uint64_t folded(const Stored& stored, std::uint64_t secret) {
    std::array<std::uint64_t, 2> words;
    std::memcpy(words.data(), stored, 16);
    return mixed(words[0] ^ secret ^ kOdd1, words[1] ^ kOdd2);
  }
  // In an order of their own.
  static bool before(const Stored& a, const Stored& b) {
    std::array<std::uint64_t, 2> first;
    std::array<std::uint64_t, 2> second;
    std::memcpy(first.data(), a, 16);
    std::memcpy(second.data(), b, 16);
    return first < second;
  }
};

// Set in the protocol of what the client sees, which is a packet to a service and not to its backend.
inline constexpr std::uint8_t kServiceSide = 0x40;

// Where all entries of one connection stand: the same for a packet and its answer. The upper four bits are
// free for what tells those entries apart.
template <class F>
std::uint32_t connection_hash(const typename F::Stored& source, const typename F::Stored& destination,
                              std::uint16_t source_port, std::uint16_t destination_port,
                              std::uint8_t protocol, std::uint64_t secret) {
  const std::uint64_t a = F::folded(source, secret) ^ std::uint64_t{source_port} << 40U;
  const std::uint64_t b = F::folded(destination, secret) ^ std::uint64_t{destination_port} << 40U;
  const std::uint64_t low = a < b ? a : b;
  const std::uint64_t high = a < b ? b : a;
  const std::uint64_t ends = mixed(low ^ secret ^ kOdd1, high ^ std::uint64_t{protocol} << 56U ^ kOdd2);
  return static_cast<std::uint32_t>(mixed(ends ^ secret, kOdd1)) >> 4U;
}

template <class F>
std::uint32_t entry_mark(const typename F::ConnectionKey& key) {
  const bool up = F::before(key.source, key.destination);
  return (std::uint32_t{key.direction} << 1U | std::uint32_t{up}) << 28U;
}

template <class F>
std::uint32_t affinity_hash(const typename F::AffinityKey& key, std::uint64_t secret) {
  return static_cast<std::uint32_t>(
      mixed(F::folded(key.client, secret) ^ secret ^ kOdd1, (std::uint64_t{key.service} << 32U) ^ kOdd2));
}

// Numbers start from these, so they are the same everywhere and keyed with nothing.
template <class Key>
std::uint32_t number_hash(const Key& key) {
  std::array<std::uint64_t, (sizeof(Key) + 7) / 8> words{};
  std::memcpy(words.data(), &key, sizeof key);
  std::uint64_t hash = kOdd1;
  for (const auto word : words) hash = mixed(hash ^ word, kOdd2);
  return static_cast<std::uint32_t>(hash);
}

}  // namespace fleetmesh
