#include "fleetmesh/identities.hpp"

#include <algorithm>
#include <utility>

#include "rule_set.hpp"

namespace fleetmesh::policy {

void Identities::set(IdentityNumber number, Identity identity) {
  remove(number);
  const auto [slot, matching] = index_.add(std::move(identity));
  slots_.set(number, slot);
  if (slot >= numbers_.size()) numbers_.resize(slot + 1U);
  numbers_[slot] = number;
  each_follower(matching,
                [&](RuleSet& set, std::span<const std::uint32_t> places) { set.add(number, slot, places); });
}

void Identities::remove(IdentityNumber number) {
  const Slot slot = slots_.find(number);
  if (slot == kNoSlot) return;
  slots_.remove(number);
  const auto matching = index_.remove(slot);
  each_follower(matching, [&](RuleSet& set, std::span<const std::uint32_t>) { set.remove(number); });
}

std::map<std::uint32_t, std::uint32_t> Identities::spread(const Selector& selector,
                                                          std::uint32_t cluster_shift) {
  constexpr std::uint32_t kLocalScope = 24;
  std::map<std::uint32_t, std::uint32_t> found;
  const SelectorId id = index_.acquire(selector);
  index_.selected(id).each([&](Slot slot) {
    const IdentityNumber number = number_of(slot);
    ++found[number >> kLocalScope ? 0 : number >> cluster_shift];
  });
  index_.release(id);
  return found;
}

void Identities::follow(RuleSet& follower, const std::vector<SelectorId>& selectors, bool always) {
  if (always) always_.push_back(&follower);
  for (std::uint32_t place = 0; place < selectors.size(); ++place) {
    const SelectorId id = selectors[place];
    if (id >= followers_.size()) followers_.resize(id + 1U);
    followers_[id].push_back({&follower, place});
  }
}

void Identities::unfollow(RuleSet& follower, const std::vector<SelectorId>& selectors, bool always) {
  if (always) std::erase(always_, &follower);
  for (const SelectorId id : selectors)
    std::erase_if(followers_[id], [&](const Follower& each) { return each.set == &follower; });
}

// With the places of the selectors that it asks for, ascending.
template <class Visit>
void Identities::each_follower(std::span<const SelectorId> matching, Visit visit) {
  constexpr std::uint32_t kNone = kNoSlot;
  told_.clear();
  for (RuleSet* const each : always_) told_.push_back({each, kNone});
  for (const SelectorId id : matching)
    if (id < followers_.size()) told_.insert(told_.end(), followers_[id].begin(), followers_[id].end());
  std::ranges::sort(told_);
  for (std::size_t at = 0; at < told_.size();) {
    RuleSet* const set = told_[at].set;
    places_.clear();
    for (; at < told_.size() && told_[at].set == set; ++at)
      if (told_[at].place != kNone) places_.push_back(told_[at].place);
    visit(*set, std::span<const std::uint32_t>(places_));
  }
}

}  // namespace fleetmesh::policy
