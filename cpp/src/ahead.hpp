// Fetches what packets will ask for, before they do.
#pragma once

#include <array>

#include "shard.hpp"

namespace fleetmesh {

template <class F>
struct StateOf;
template <>
struct StateOf<V4> {
  using Type = fm_state4;
};
template <>
struct StateOf<V6> {
  using Type = fm_state6;
};
template <class F>
using Packet = StateOf<F>::Type;

inline constexpr std::uint8_t kOpensOrCloses = FM_TCP_FIN | FM_TCP_SYN | FM_TCP_RST;

inline bool opens_or_closes(std::uint8_t protocol, std::uint8_t tcp_flags) {
  return protocol == FM_PROTOCOL_TCP && (tcp_flags & kOpensOrCloses);
}

// Sequential in effect: what is fetched ahead is only looked at, never changed.
template <class F>
class Ahead {
 public:
  static constexpr std::size_t kPackets = 32;
  // Entries; with fewer, tables stay in the cache by themselves.
  static constexpr std::size_t kWorthIt = 8192;

  Ahead(const SharedTables& shared, OwnTables<F>& own, const FamilyTables<F>& family,
        const Lookups<F>& tables)
      : secret_(shared.secret), own_(own), family_(family), tables_(tables) {}

  void fetch(const Packet<F>* states, std::size_t count) {
    std::array<std::uint32_t, kPackets> hashes;
    for (std::size_t i = 0; i < count; ++i) {
      const Packet<F>& s = states[i];
      hashes[i] = hash(s, s.destination, s.destination_port, kServiceSide);
      own_.connections(s.protocol).prefetch_slot(hashes[i]);
    }
    for (std::size_t i = 0; i < count; ++i) own_.connections(states[i].protocol).prefetch_entry(hashes[i]);
    std::array<std::uint32_t, kPackets> backends{};
    for (std::size_t i = 0; i < count; ++i) {
      const auto* likely = own_.connections(states[i].protocol).likely(hashes[i]);
      backends[i] = likely ? likely->backend : choice(states[i]);
      if (backends[i]) family_.backends.prefetch(backends[i]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const Packet<F>& s = states[i];
      const auto* backend = backends[i] ? family_.backends.find(backends[i]) : nullptr;
      hashes[i] = backend ? hash(s, backend->value.address, backend->value.port, 0)
                          : hash(s, s.destination, s.destination_port, 0);
      own_.connections(s.protocol).prefetch_slot(hashes[i]);
    }
    for (std::size_t i = 0; i < count; ++i) own_.connections(states[i].protocol).prefetch_entry(hashes[i]);
  }

 private:
  std::uint32_t hash(const Packet<F>& s, const F::Stored& destination, std::uint16_t port,
                     std::uint8_t side) const {
    return connection_hash<F>(s.source, destination, s.source_port, port,
                              static_cast<std::uint8_t>(s.protocol ^ side), secret_);
  }

  // The backend that a new connection will most likely get.
  std::uint32_t choice(Packet<F> s) const {
    if constexpr (F::family == Family::v4) {
      fm_stage_service4(&s, tables_);
      return s.service ? fm_choose4(&s, tables_) : 0;
    } else {
      fm_stage_service6(&s, tables_);
      return s.service ? fm_choose6(&s, tables_) : 0;
    }
  }

  std::uint64_t secret_;
  OwnTables<F>& own_;
  const FamilyTables<F>& family_;
  const Lookups<F>& tables_;
};

}  // namespace fleetmesh
