// What rule sets say, in the form in which they can be compared: equal ones are one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "fleetmesh/policy.hpp"
#include "fleetmesh/verdict_spans.hpp"

namespace fleetmesh::policy {

struct Verdicts;

// Of whom a rule set says the same, unless a peer of its rules is: those of each aggregate, and the host.
using PeerKind = std::uint8_t;
inline constexpr PeerKind kHostKind = std::size(kAggregates);
inline constexpr std::size_t kPeerKinds = std::size(kAggregates) + 1;

// How a cluster numbers identities.
struct Numbering {
  std::uint32_t cluster = 0;
  std::uint32_t shift = 16;
};
PeerKind kind_of(IdentityNumber number, const Numbering& of);

struct Said {
  IdentityNumber peer = 0;
  SpanLists::Id spans = 0;
  friend bool operator==(const Said&, const Said&) = default;
};

// What is said of everybody: of the peers what stands there, of all others what is said of their kind.
struct Side {
  std::array<SpanLists::Id, kPeerKinds> others = {};
  std::vector<Said> peers;  // in order of numbers, without those who are like the others of their kind
  SpanLists::Id of(IdentityNumber peer, PeerKind kind) const;
  friend bool operator==(const Side&, const Side&) = default;
};

class Sides {
 public:
  using Id = std::uint32_t;

  Id keep(Side side);
  const Side& operator[](Id id) const { return sides_[id]; }
  std::size_t size() const { return sides_.size(); }

 private:
  std::vector<Side> sides_;
  std::unordered_multimap<std::size_t, Id> known_;  // by hash
};

Side refusing(SpanLists& lists);

// Reads what rule sets say, each once.
class RuleSetReader {
 public:
  RuleSetReader(Sides& sides, SpanLists& lists) : sides_(sides), lists_(lists) {}
  // No verdicts: everything is allowed.
  Sides::Id read(const std::shared_ptr<const Verdicts>& verdicts, const Numbering& numbering);
  Sides::Id refusing() { return sides_.keep(policy::refusing(lists_)); }

 private:
  Side side_of(const Verdicts* verdicts, const Numbering& numbering);
  SpanLists::Id spans_of(const Verdicts& verdicts, std::uint32_t id);

  Sides& sides_;
  SpanLists& lists_;
  std::unordered_map<std::shared_ptr<const Verdicts>, Sides::Id> known_;
  // Of the rule set that is being read; kept for their room.
  std::vector<SpanLists::Id> spans_;  // by class
  std::vector<Said> peers_;
  SpanLists::Draft draft_{lists_.window()};
};

}  // namespace fleetmesh::policy
