#include "fleetmesh/verdict_spans.hpp"

#include <algorithm>

namespace fleetmesh::policy {

void SpanLists::Draft::add(PortKey start, Outcome outcome) {
  if (start > window_.last) return;
  start = std::max(start, window_.first);
  if (!spans_.empty() && spans_.back().start == start) spans_.pop_back();
  if (spans_.empty() || spans_.back().outcome != outcome) spans_.push_back({start, outcome});
}

SpanLists::Id SpanLists::of(const Draft& draft) {
  std::size_t hash = draft.spans_.size();
  for (const Span& span : draft.spans_)
    hash = (hash ^ (std::size_t{span.start} << 2U | static_cast<std::size_t>(span.outcome))) *
           0x9e3779b97f4a7c15U;
  const auto [first, last] = known_.equal_range(hash);
  for (auto at = first; at != last; ++at)
    if (lists_[at->second] == draft.spans_) return at->second;
  lists_.push_back(draft.spans_);
  return known_.emplace(hash, static_cast<Id>(lists_.size() - 1))->second;
}

SpanLists::Id SpanLists::everywhere(Outcome outcome) {
  Draft draft(window_);
  draft.add(0, outcome);
  return of(draft);
}

SpanLists::Id SpanLists::both(Id one, Id other) {
  if (one == other) return one;
  const auto [first, second] = std::minmax(one, other);
  const auto [known, fresh] = both_.try_emplace(std::uint64_t{first} << 32U | second, 0);
  if (!fresh) return known->second;
  Draft draft(window_);
  const std::vector<Span>& mine = lists_[one];
  const std::vector<Span>& theirs = lists_[other];
  for (std::size_t at = 0, beside = 0; at < mine.size() && beside < theirs.size();) {
    draft.add(std::max(mine[at].start, theirs[beside].start),
              std::min(mine[at].outcome, theirs[beside].outcome));
    const bool mine_ends = at + 1 < mine.size();
    const bool theirs_ends = beside + 1 < theirs.size();
    if (!mine_ends && !theirs_ends) break;
    const bool on = !theirs_ends || (mine_ends && mine[at + 1].start <= theirs[beside + 1].start);
    const bool both_on = mine_ends && theirs_ends && mine[at + 1].start == theirs[beside + 1].start;
    at += on;
    beside += !on || both_on;
  }
  const Id found = of(draft);
  both_[std::uint64_t{first} << 32U | second] = found;
  return found;
}

Outcome SpanLists::at(Id id, PortKey key) const {
  const auto& spans = lists_[id];
  const auto after = std::ranges::upper_bound(spans, key, {}, &Span::start);
  return std::prev(after)->outcome;
}

std::vector<Outcome> SpanLists::at(PortKey key) const {
  std::vector<Outcome> found;
  found.reserve(lists_.size());
  for (Id id = 0; id < lists_.size(); ++id) found.push_back(at(id, key));
  return found;
}

}  // namespace fleetmesh::policy
