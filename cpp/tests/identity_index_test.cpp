#include "fleetmesh/identity_index.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "fleetmesh/number_map.hpp"

namespace fleetmesh::policy {
namespace {

std::vector<Slot> slots_of(const SlotSet& set) {
  std::vector<Slot> found;
  set.each([&](Slot slot) { found.push_back(slot); });
  return found;
}

bool selects(const Selector& selector, const std::vector<Term>& terms) {
  return std::ranges::all_of(selector, [&](const Requirement& requirement) {
    const bool any = std::ranges::any_of(requirement.any_of,
                                         [&](Term term) { return std::ranges::count(terms, term) > 0; });
    return any != requirement.negated;
  });
}

TEST(SlotSets, hold_what_was_added_as_a_list_and_as_bits) {
  std::mt19937 random(1);
  for (const Slot universe : {Slot{200}, Slot{5000}, Slot{200000}}) {
    SlotSet set;
    std::set<Slot> double_of;
    for (int step = 0; step < 20000; ++step) {
      const auto slot = static_cast<Slot>(random() % universe);
      if (random() % 3) {
        set.add(slot, universe);
        double_of.insert(slot);
      } else {
        set.remove(slot);
        double_of.erase(slot);
      }
      ASSERT_EQ(set.size(), double_of.size());
      ASSERT_EQ(set.contains(slot), double_of.contains(slot));
    }
    EXPECT_EQ(slots_of(set), std::vector<Slot>(double_of.begin(), double_of.end()));
    std::vector<std::uint64_t> bits((universe + 63) / 64);
    set.or_into(bits.data(), bits.size());
    EXPECT_EQ(slots_of(SlotSet::of(bits.data(), bits.size())), slots_of(set));
  }
}

TEST(NumberMaps, find_what_was_set_and_not_removed) {
  std::mt19937 random(1);
  NumberMap map;
  std::map<std::uint32_t, Slot> double_of;
  for (int step = 0; step < 50000; ++step) {
    const auto number = static_cast<std::uint32_t>(random() % 3000) * 65536;
    if (random() % 2) {
      map.set(number, static_cast<Slot>(step));
      double_of[number] = static_cast<Slot>(step);
    } else {
      map.remove(number);
      double_of.erase(number);
    }
    const auto known = double_of.find(number);
    ASSERT_EQ(map.find(number), known == double_of.end() ? kNoSlot : known->second);
  }
  for (const auto& [number, slot] : double_of) ASSERT_EQ(map.find(number), slot);
}

Selector random_selector(std::mt19937& random) {
  Selector selector(random() % 4);
  for (Requirement& each : selector) {
    each.negated = random() % 3 == 0;
    each.any_of.resize(1 + random() % 3);
    for (Term& term : each.any_of) term = static_cast<Term>(1 + random() % 30);
  }
  return selector;
}

TEST(IdentityIndexes, select_what_a_look_at_each_identity_selects) {
  std::mt19937 random(7);
  IdentityIndex index;
  std::vector<Selector> selectors;
  std::vector<SelectorId> ids;
  std::map<Slot, std::vector<Term>> known;
  for (int step = 0; step < 4000; ++step) {
    if (random() % 4 || known.empty()) {
      Identity identity;
      for (std::uint32_t left = random() % 8; left--;)
        identity.terms.push_back(static_cast<Term>(1 + random() % 30));
      const auto added = index.add(identity);
      known[added.slot] = index.terms(added.slot);
      std::vector<SelectorId> wanted;
      for (std::size_t each = 0; each < ids.size(); ++each)
        if (selects(selectors[each], index.terms(added.slot))) wanted.push_back(ids[each]);
      std::ranges::sort(wanted);
      const auto twice = std::ranges::unique(wanted);
      wanted.erase(twice.begin(), twice.end());
      EXPECT_EQ(std::vector<SelectorId>(added.matching.begin(), added.matching.end()), wanted);
      EXPECT_EQ(index.matching(index.terms(added.slot)), wanted);
    } else {
      const auto at = std::next(known.begin(), static_cast<long>(random() % known.size()));
      index.remove(at->first);
      known.erase(at);
    }
    if (step % 50 == 0) {
      selectors.push_back(random_selector(random));
      ids.push_back(index.acquire(selectors.back()));
      index.selected(ids.back());
    }
    if (step % 90 == 0 && !ids.empty()) {
      index.release(ids.back());
      ids.pop_back();
      selectors.pop_back();
    }
    if (step % 100) continue;
    for (std::size_t at = 0; at < ids.size(); ++at) {
      std::vector<Slot> wanted;
      for (const auto& [slot, terms] : known)
        if (selects(selectors[at], terms)) wanted.push_back(slot);
      ASSERT_EQ(slots_of(index.selected(ids[at])), wanted);
    }
  }
}

TEST(IdentityIndexes, give_equal_selectors_one_number) {
  IdentityIndex index;
  const SelectorId id = index.acquire({{false, {3, 1, 3}}});
  EXPECT_EQ(index.acquire({{false, {1, 3}}}), id);
  EXPECT_NE(index.acquire({{true, {1, 3}}}), id);
  index.release(id);
  EXPECT_EQ(index.acquire({{false, {1, 3}}}), id);
}

}  // namespace
}  // namespace fleetmesh::policy
