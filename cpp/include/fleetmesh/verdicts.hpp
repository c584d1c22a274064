// What is decided in one direction for all endpoints about which the same rules speak.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <iterator>
#include <span>
#include <vector>

#include "fleetmesh/policy.hpp"

namespace fleetmesh::policy {

// Identities that the same peers of the rules select are one class, and a class has what is decided for each
// port: what Cilium's map would say for them, and in the place of its two probes one answer.
//
// Any thread may read it; it changes only as long as nobody but its rule set has it.
struct Verdicts {
  using ClassId = std::uint32_t;
  static constexpr ClassId kNoClass = kNoSlot;  // as a map of numbers has it
  static constexpr IdentityNumber kHost = 1;
  static constexpr std::size_t kHostFallback = 2 * std::size(kAggregates);
  // Where nothing is enforced.
  static constexpr Answer kOpen{{FM_POLICY_RANK_ALLOW, 0, false, 0, kByDefault}, true};

  // Its part of the answers and of the entries.
  struct Class {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::uint32_t first_entry = 0;
    std::uint32_t entries = 0;
  };
  struct Placed {
    std::uint8_t length = 0;
    std::uint8_t protocol = 0;
    std::uint16_t port = 0;
    Entry entry;
  };
  // Whom a class is of.
  struct Who {
    bool is_host = false;
    bool is_aggregate = false;
    std::uint8_t aggregate = 0;  // place in kAggregates: itself, or what is asked besides
  };

  Verdicts(Direction of, const Options& options, bool is_enforced, const std::bitset<256>& about)
      : direction(of),
        cluster(options.cluster),
        cluster_shift(options.cluster_shift),
        enforced(is_enforced),
        protocols(about) {
    fallbacks.fill(kNoClass);
  }

  Direction direction;
  std::uint32_t cluster;
  std::uint32_t cluster_shift;
  bool enforced;
  std::bitset<256> protocols;         // about which any rule says anything
  std::vector<Class> classes;         // none: whatever is asked is refused
  std::vector<std::uint32_t> starts;  // protocol and port from which on an answer holds
  std::vector<Answer> answers;        // likewise
  std::vector<Placed> entries;
  // Of those of whom no peer is: aggregates, who is of them, and the host.
  std::array<ClassId, kHostFallback + 1> fallbacks{};
  NumberMap class_of;  // of those whom a peer is

  Who who(IdentityNumber number) const {
    const IdentityNumber aggregate = fm_aggregate_of(number, cluster, cluster_shift);
    const auto place = static_cast<std::uint8_t>(aggregate ? 1 + aggregate - kAggregateCluster : 0);
    return {number == kHost, number == aggregate, place};
  }

  ClassId fallback(IdentityNumber number) const {
    const Who about = who(number);
    if (about.is_host) return fallbacks[kHostFallback];
    return fallbacks[about.is_aggregate ? about.aggregate : std::size(kAggregates) + about.aggregate];
  }

  Answer lookup(IdentityNumber peer, std::uint8_t protocol, std::uint16_t port) const {
    if (!enforced) return kOpen;
    if (classes.empty() || (!protocols[protocol] && peer != kHost)) return {};
    ClassId id = class_of.find(peer);
    if (id == kNoClass) id = fallback(peer);
    const Class& found = classes[id];
    const std::uint32_t wanted = std::uint32_t{protocol} << 16U | port;
    const std::uint32_t* start = starts.data() + found.first;
    std::size_t count = found.count;
    while (count > 1) {  // without branches that can't be foreseen
      const std::size_t half = count / 2;
      start += start[half] <= wanted ? half : 0;
      count -= half;
    }
    return answers[static_cast<std::size_t>(start - starts.data())];
  }

  // Calls visit(const Key&, const Entry&) for everything that Cilium's policy map would hold.
  template <class Visit>
  void each_entry(Visit visit) const {
    if (classes.empty()) return;
    const auto each = [&](IdentityNumber number, ClassId id) {
      const Class& of = classes[id];
      for (const Placed& placed : std::span(entries).subspan(of.first_entry, of.entries))
        visit(Key{number, placed.port, direction, placed.protocol, placed.length}, placed.entry);
    };
    for (const IdentityNumber number : kAggregates) each(number, fallback(number));
    if (class_of.find(kHost) == kNoClass) each(kHost, fallback(kHost));
    class_of.each(each);
  }
};

}  // namespace fleetmesh::policy
