// What became of the packets of a flow, so that the next one needs no look-up.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "family.hpp"
#include "fleetmesh/huge_pages.hpp"

namespace fleetmesh {

// The packet as its columns have it: plain numbers.
template <class F>
struct FlowKey {
  using Words = std::array<std::uint64_t, F::family == Family::v4 ? 2 : 5>;
  Words words;

  // `round` is below 2^24.
  FlowKey(const F::Column* source, const F::Column* destination, std::uint16_t source_port,
          std::uint16_t destination_port, std::uint8_t protocol, std::uint32_t round) {
    const std::uint64_t rest = std::uint64_t{source_port} | std::uint64_t{destination_port} << 16U |
                               std::uint64_t{protocol} << 32U | std::uint64_t{round} << 40U;
    if constexpr (F::family == Family::v4) {
      words = {std::uint64_t{*source} | std::uint64_t{*destination} << 32U, rest};
    } else {
      std::memcpy(words.data(), source, 16);
      std::memcpy(words.data() + 2, destination, 16);
      words[4] = rest;
    }
  }
  FlowKey() : words{} {}

  std::uint8_t protocol() const { return static_cast<std::uint8_t>(words.back() >> 32U); }
  std::uint32_t hash(std::uint64_t secret) const {
    std::uint64_t first = words[0];
    if constexpr (F::family == Family::v6)
      first = mixed(words[0] ^ secret ^ kOdd2, words[1] ^ kOdd1) ^
              mixed(words[2] ^ secret ^ kOdd1, words[3] ^ kOdd2);
    return static_cast<std::uint32_t>(mixed(first ^ secret ^ kOdd1, words.back() ^ kOdd2));
  }
  friend bool operator==(const FlowKey& a, const FlowKey& b) {
    std::uint64_t difference = 0;  // in a loop that is unrolled, unlike a call of memcmp
    for (std::size_t i = 0; i < a.words.size(); ++i) difference |= a.words[i] ^ b.words[i];
    return !difference;
  }
};

// All packets of a flow fare alike as long as its connection's entries, which `BoundedTable` stamps, and the
// tables, whose changes begin a new round, are the same, and they neither open nor close. What is decided
// on it is decided by decision.h alone, of which this only keeps the outcome; what is denied is not kept.
template <class F>
struct alignas(64) Flow {
  // An entry that each packet extends: 0 for none.
  using Number = std::uint32_t;

  FlowKey<F> key;
  std::array<typename F::Column, F::family == Family::v4 ? 1 : 16> address{};  // that one end gets
  std::uint16_t port = 0;
  std::uint16_t proxy_port = 0;
  std::uint32_t backend = 0;
  std::uint32_t service = 0;
  std::uint32_t source_identity = 0;
  std::uint32_t destination_identity = 0;
  std::uint32_t counter = kNotCounted;  // its number
  Number service_entry : 28 = 0;
  std::uint32_t to_source : 1 = 0;  // whether it is the source that gets address and port
  std::uint32_t verdict : 3 = 0;    // fm_verdict, as both below
  Number out_entry : 28 = 0;
  std::uint32_t state : 2 = 0;  // fm_ct_state
  std::uint32_t egress : 2 = 0;
  Number in_entry : 28 = 0;
  std::uint32_t ingress : 4 = 0;
  std::uint32_t service_stamp = 0;
  std::uint32_t stamp = 0;  // of both others, which are kin

  static constexpr std::uint32_t kNotCounted = ~0U;
};
// What there is room for.
static_assert(FM_VERDICT_REDIRECT < 4 && FM_CT_RELATED < 4, "as the narrowest of these fields has it");
static_assert(sizeof(Flow<V4>) == 64);
static_assert(sizeof(Flow<V6>) == 128);

// Each flow has two places; of those that want the same, the two newest have them.
template <class F>
class FlowCache {
 public:
  FlowCache() : flows_(kFewest) {}

  // Makes place for the flows of so many connections' entries.
  void fit(std::size_t entries) {
    if (entries <= flows_.size()) return;
    std::size_t size = flows_.size();
    while (size < entries) size *= 2;
    flows_ = {};
    flows_ = Flows(size);
    mask_ = size - 2;
  }
  void forget() {
    if (++round_ < kRounds) return;
    round_ = 1;
    std::fill(flows_.begin(), flows_.end(), Flow<F>());
  }
  std::uint32_t round() const { return round_; }

  void prefetch(std::uint32_t hash) const { __builtin_prefetch(&flows_[first(hash)]); }
  const Flow<F>* find(const FlowKey<F>& key, std::uint32_t hash) const {
    const Flow<F>* pair = &flows_[first(hash)];
    if (pair[0].key == key) return &pair[0];
    return pair[1].key == key ? &pair[1] : nullptr;
  }
  void put(const Flow<F>& flow, std::uint32_t hash) {
    Flow<F>* pair = &flows_[first(hash)];
    if (!(pair[0].key == flow.key)) pair[1] = pair[0];
    pair[0] = flow;
  }

 private:
  using Flows = std::vector<Flow<F>, HugePages<Flow<F>>>;
  static constexpr std::size_t kFewest = 64;
  static constexpr std::uint32_t kRounds = 1U << 24U;

  std::size_t first(std::uint32_t hash) const { return hash & mask_; }

  Flows flows_;
  std::size_t mask_ = kFewest - 2;
  std::uint32_t round_ = 1;  // a flow of round 0 is none
};

}  // namespace fleetmesh
