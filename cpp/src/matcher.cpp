#include "fleetmesh/matcher.hpp"

#include <algorithm>
#include <array>

namespace fleetmesh::policy {
namespace {

std::uint64_t bit(Term term) { return std::uint64_t{1} << term % 64; }

}  // namespace

void Matcher::add(SelectorId id, const Selector& selector, const Requirement* guard) {
  for (const Requirement& each : selector) {
    const std::size_t words = each.any_of.empty() ? 0 : each.any_of.back() / 64 + 1U;
    if (words > bits_.size()) bits_.resize(words + bits_.size() / 4);
  }
  if (!guard) return unguarded_.add(id, selector, nullptr);
  for (const Term term : guard->any_of) {
    guarded_by(term).add(id, selector, guard);
    bits_[term / 64].guards |= bit(term);
  }
}

void Matcher::remove(SelectorId id, const Requirement* guard) {
  if (!guard) return unguarded_.remove(id);
  for (const Term term : guard->any_of) {
    Candidates& rest = guarded_by(term);
    rest.remove(id);
    if (rest.empty()) bits_[term / 64].guards &= ~bit(term);
  }
}

void Matcher::match(const std::vector<Term>& terms, std::vector<SelectorId>& into) {
  const auto is_here = [&](Term term) { return (bits_[term / 64].here & bit(term)) != 0; };
  into.clear();
  for (const Term term : terms)
    if (term / 64 < bits_.size()) bits_[term / 64].here |= bit(term);
  unguarded_.select(is_here, into);
  // What is asked next is fetched before it is needed, since mostly it is in no cache.
  constexpr std::size_t kAhead = 16;
  std::array<const Candidates*, kAhead> found{};
  for (std::size_t at = 0; at < terms.size();) {
    std::size_t count = 0;
    for (; at < terms.size() && count < kAhead; ++at) {
      const Term term = terms[at];
      if (term / 64 >= bits_.size() || !(bits_[term / 64].guards & bit(term))) continue;
      found[count] = &guarded_[places_.find(term)];
      __builtin_prefetch(found[count++]);
    }
    for (std::size_t each = 0; each < count; ++each) __builtin_prefetch(found[each]->words());
    for (std::size_t each = 0; each < count; ++each) found[each]->select(is_here, into);
  }
  for (const Term term : terms)
    if (term / 64 < bits_.size()) bits_[term / 64].here = 0;
  std::ranges::sort(into);
  const auto twice = std::ranges::unique(into);
  into.erase(twice.begin(), twice.end());
}

Candidates& Matcher::guarded_by(Term term) {
  Slot place = places_.find(term);
  if (place == kNoSlot) {
    place = static_cast<Slot>(guarded_.size());
    guarded_.emplace_back();
    places_.set(term, place);
  }
  return guarded_[place];
}

}  // namespace fleetmesh::policy
