#include "sides.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "fleetmesh/verdicts.hpp"

namespace fleetmesh::policy {
namespace {

constexpr IdentityNumber kHost = 1;
constexpr SpanLists::Id kNotRead = std::numeric_limits<SpanLists::Id>::max();

// Somebody of each kind of whom nothing is known but that.
IdentityNumber somebody(PeerKind kind, const Numbering& numbering) {
  constexpr IdentityNumber kAnyPod = 255;
  if (kind == kHostKind) return kHost;
  switch (kAggregates[kind]) {
    case kAggregateCluster:
      return numbering.cluster << numbering.shift | kAnyPod;
    case kAggregateClusterMesh:
      return (numbering.cluster ^ 1U) << numbering.shift | kAnyPod;
    case kAggregateWorld:
      return 1U << 24U;
    case kAggregateRemoteNode:
      return 2U << 24U;
    default:
      return 99;  // reserved, and nobody's
  }
}

Outcome outcome_of(const Answer& answer) {
  if (!answer.found || answer.entry.denies()) return Outcome::deny;
  return answer.entry.redirects() ? Outcome::redirect : Outcome::allow;
}

}  // namespace

PeerKind kind_of(IdentityNumber number, const Numbering& of) {
  if (number == kHost) return kHostKind;
  Options options;
  options.cluster = of.cluster;
  options.cluster_shift = of.shift;
  const auto* const at = std::ranges::find(kAggregates, aggregate_of(number, options));
  return static_cast<PeerKind>(at - kAggregates);
}

SpanLists::Id Side::of(IdentityNumber peer, PeerKind kind) const {
  const auto at = std::ranges::lower_bound(peers, peer, {}, &Said::peer);
  return at != peers.end() && at->peer == peer ? at->spans : others[kind];
}

Side refusing(SpanLists& lists) {
  Side side;
  side.others.fill(lists.everywhere(Outcome::deny));
  return side;
}

Sides::Id RuleSetReader::read(const std::shared_ptr<const Verdicts>& verdicts, const Numbering& numbering) {
  const auto [known, fresh] = known_.try_emplace(verdicts, 0);
  if (fresh) known->second = sides_.keep(side_of(verdicts.get(), numbering));
  return known->second;
}

Side RuleSetReader::side_of(const Verdicts* verdicts, const Numbering& numbering) {
  Side side;
  const bool enforced = verdicts && verdicts->enforced;
  if (!enforced || verdicts->classes.empty()) {
    side.others.fill(lists_.everywhere(enforced ? Outcome::deny : Outcome::allow));
    return side;
  }
  spans_.assign(verdicts->classes.size(), kNotRead);
  for (PeerKind kind = 0; kind < kPeerKinds; ++kind)
    side.others[kind] = spans_of(*verdicts, verdicts->fallback(somebody(kind, numbering)));
  peers_.clear();
  verdicts->class_of.each([&](IdentityNumber number, Verdicts::ClassId id) {
    const SpanLists::Id found = spans_of(*verdicts, id);
    if (found != side.others[kind_of(number, numbering)]) peers_.push_back({number, found});
  });
  std::ranges::sort(peers_, {}, &Said::peer);
  side.peers.assign(peers_.begin(), peers_.end());
  return side;
}

SpanLists::Id RuleSetReader::spans_of(const Verdicts& verdicts, Verdicts::ClassId id) {
  if (spans_[id] == kNotRead) {
    draft_.clear();
    const Verdicts::Class& of = verdicts.classes[id];
    for (std::uint32_t at = of.first; at < of.first + of.count; ++at)
      draft_.add(verdicts.starts[at], outcome_of(verdicts.answers[at]));
    spans_[id] = lists_.of(draft_);
  }
  return spans_[id];
}

Sides::Id Sides::keep(Side side) {
  std::size_t hash = side.peers.size();
  const auto add = [&](std::size_t value) { hash = (hash ^ value) * 0x9e3779b97f4a7c15U; };
  for (const SpanLists::Id id : side.others) add(id);
  for (const Said& said : side.peers) add(std::size_t{said.peer} << 32U | said.spans);
  const auto [first, last] = known_.equal_range(hash);
  for (auto at = first; at != last; ++at)
    if (sides_[at->second] == side) return at->second;
  sides_.push_back(std::move(side));
  return known_.emplace(hash, static_cast<Id>(sides_.size() - 1))->second;
}

}  // namespace fleetmesh::policy
