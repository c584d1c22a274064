#include "fleetmesh/identity_index.hpp"

#include <algorithm>
#include <random>
#include <utility>

namespace fleetmesh::policy {

namespace {

constexpr std::size_t kMostUnsettled = 64;

// Steele, Lea and Flood: Fast splittable pseudorandom number generators, 2014.
std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ value >> 30U) * 0xbf58476d1ce4e5b9U;
  value = (value ^ value >> 27U) * 0x94d049bb133111ebU;
  return value ^ value >> 31U;
}

std::uint64_t random_word() {
  std::random_device source;
  return std::uint64_t{source()} << 32U | source();
}

}  // namespace

IdentityIndex::IdentityIndex() : secret_{random_word(), random_word()} {}

Signature IdentityIndex::signature(std::uint64_t of) const {
  return {mixed(mixed(of + secret_.high) ^ secret_.low), mixed(mixed(of ^ secret_.low) + secret_.high)};
}

IdentityIndex::Added IdentityIndex::add(Identity identity) {
  identity.terms.shrink_to_fit();
  Slot slot = 0;
  if (free_.empty()) {
    slot = slots();
    rows_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  const Slot universe = slots();
  live_.add(slot, universe);
  if (!identity.named_ports.empty()) named_ports_[slot] = std::move(identity.named_ports);
  rows_[slot] = std::move(identity.terms);
  unsettled_.push_back(slot);
  if (unsettled_.size() >= kMostUnsettled) settle();
  kept_.match(rows_[slot], matching_);
  for (const SelectorId id : matching_) selectors_[id].selected.add(slot, universe);
  return {slot, matching_};
}

// Into the sets of those that have a term.
void IdentityIndex::settle() {
  for (const Slot slot : unsettled_) {
    const auto& terms = rows_[slot];
    for (const Term term : terms) {
      if (term >= having_.size()) having_.resize(std::max<std::size_t>(term + 1, having_.size() * 5 / 4));
      having_[term].add(slot, slots());
    }
  }
  unsettled_.clear();
}

std::span<const SelectorId> IdentityIndex::remove(Slot slot) {
  kept_.match(rows_[slot], matching_);
  for (const SelectorId id : matching_) selectors_[id].selected.remove(slot);
  if (!std::erase(unsettled_, slot))
    for (const Term term : rows_[slot]) having_[term].remove(slot);
  live_.remove(slot);
  rows_[slot] = {};
  named_ports_.erase(slot);
  free_.push_back(slot);
  return matching_;
}

const std::vector<NamedPort>& IdentityIndex::named_ports(Slot slot) const {
  static const std::vector<NamedPort> kNone;
  const auto found = named_ports_.find(slot);
  return found == named_ports_.end() ? kNone : found->second;
}

SelectorId IdentityIndex::acquire(Selector selector) {
  settle();
  for (Requirement& each : selector) {
    std::ranges::sort(each.any_of);
    const auto twice = std::ranges::unique(each.any_of);
    each.any_of.erase(twice.begin(), twice.end());
  }
  const auto [at, fresh] = numbers_.try_emplace(std::move(selector), 0);
  if (fresh) {
    if (free_selectors_.empty()) {
      at->second = static_cast<SelectorId>(selectors_.size());
      selectors_.emplace_back();
    } else {
      at->second = free_selectors_.back();
      free_selectors_.pop_back();
    }
    Kept& kept = selectors_[at->second];
    kept.selector = &at->first;
    kept.guard = rarest(at->first);
    all_.add(at->second, at->first, kept.guard);
  }
  ++selectors_[at->second].uses;
  return at->second;
}

void IdentityIndex::release(SelectorId id) {
  Kept& kept = selectors_[id];
  if (--kept.uses) return;
  all_.remove(id, kept.guard);
  if (kept.evaluated) kept_.remove(id, kept.guard);
  numbers_.erase(numbers_.find(*kept.selector));
  kept = {};
  free_selectors_.push_back(id);
}

const SlotSet& IdentityIndex::selected(SelectorId id) {
  Kept& kept = selectors_[id];
  if (!kept.evaluated) {
    settle();
    kept.selected = evaluate(*kept.selector, kept.guard);
    kept.evaluated = true;
    kept_.add(id, *kept.selector, kept.guard);
  }
  return kept.selected;
}

std::vector<SelectorId> IdentityIndex::matching(const std::vector<Term>& terms) {
  std::vector<SelectorId> found;
  all_.match(terms, found);
  return found;
}

std::uint64_t IdentityIndex::frequency(const Requirement& requirement) const {
  std::uint64_t sum = 0;
  for (const Term term : requirement.any_of) sum += term < having_.size() ? having_[term].size() : 0;
  return sum;
}

const Requirement* IdentityIndex::rarest(const Selector& selector) const {
  const Requirement* best = nullptr;
  for (const Requirement& each : selector)
    if (!each.negated && (!best || frequency(each) < frequency(*best))) best = &each;
  return best;
}

bool IdentityIndex::holds(const Requirement& requirement, Slot slot) const {
  const bool any = std::ranges::any_of(
      requirement.any_of, [&](Term term) { return term < having_.size() && having_[term].contains(slot); });
  return any != requirement.negated;
}

SlotSet IdentityIndex::evaluate(const Selector& selector, const Requirement* guard) const {
  constexpr Slot kBitsAreQuicker = 64;
  if (!guard || frequency(*guard) * kBitsAreQuicker > slots()) return evaluate_bits(selector);
  SlotSet found;
  for (const Term term : guard->any_of) {
    if (term >= having_.size()) continue;
    having_[term].each([&](Slot slot) {
      const bool all = std::ranges::all_of(
          selector, [&](const Requirement& each) { return &each == guard || holds(each, slot); });
      if (all) found.add(slot, slots());
    });
  }
  return found;
}

SlotSet IdentityIndex::evaluate_bits(const Selector& selector) const {
  const std::size_t count = (slots() + 63) / 64;
  std::vector<std::uint64_t> all(count);
  std::vector<std::uint64_t> some(count);
  live_.or_into(all.data(), count);
  for (const Requirement& requirement : selector) {
    std::ranges::fill(some, 0);
    for (const Term term : requirement.any_of)
      if (term < having_.size()) having_[term].or_into(some.data(), count);
    const std::uint64_t turn = requirement.negated ? ~std::uint64_t{0} : 0;
    for (std::size_t word = 0; word < count; ++word) all[word] &= some[word] ^ turn;
  }
  return SlotSet::of(all.data(), count);
}

std::size_t IdentityIndex::memory() const {
  std::size_t sum = rows_.capacity() * sizeof(std::vector<Term>) + having_.capacity() * sizeof(SlotSet);
  for (const auto& row : rows_) sum += row.capacity() * sizeof(Term);
  for (const SlotSet& set : having_) sum += set.memory();
  for (const Kept& kept : selectors_) sum += sizeof kept + kept.selected.memory();
  return sum + live_.memory();
}

}  // namespace fleetmesh::policy
