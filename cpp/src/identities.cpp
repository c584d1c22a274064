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
  each_follower(matching, [&](RuleSet& set) { set.add(number, slot, matching); });
}

void Identities::remove(IdentityNumber number) {
  const Slot slot = slots_.find(number);
  if (slot == kNoSlot) return;
  slots_.remove(number);
  const auto matching = index_.remove(slot);
  each_follower(matching, [&](RuleSet& set) { set.remove(number); });
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
  for (const SelectorId id : selectors) followers_[id].push_back(&follower);
}

void Identities::unfollow(RuleSet& follower, const std::vector<SelectorId>& selectors, bool always) {
  if (always) std::erase(always_, &follower);
  for (const SelectorId id : selectors) {
    const auto at = followers_.find(id);
    std::erase(at->second, &follower);
    if (at->second.empty()) followers_.erase(at);
  }
}

template <class Visit>
void Identities::each_follower(const std::vector<SelectorId>& matching, Visit visit) {
  std::vector<RuleSet*> told(always_);
  for (const SelectorId id : matching)
    if (const auto at = followers_.find(id); at != followers_.end())
      told.insert(told.end(), at->second.begin(), at->second.end());
  std::ranges::sort(told);
  const auto twice = std::ranges::unique(told);
  told.erase(twice.begin(), twice.end());
  for (RuleSet* const each : told) visit(*each);
}

}  // namespace fleetmesh::policy
