// The identities of a mesh, one set for the policies of all its clusters.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "fleetmesh/identity_index.hpp"
#include "fleetmesh/number_map.hpp"

namespace fleetmesh::policy {

using IdentityNumber = std::uint32_t;

class RuleSet;

// Belongs to one thread, with the repositories that use it.
class Identities {
 public:
  Identities() = default;
  Identities(const Identities&) = delete;
  Identities& operator=(const Identities&) = delete;

  // A new identity, or another in the place of that number's. All that was resolved takes it in.
  void set(IdentityNumber number, Identity identity);
  void remove(IdentityNumber number);

  IdentityIndex& index() { return index_; }
  // kNoSlot where the number is not known.
  Slot slot_of(IdentityNumber number) const { return slots_.find(number); }
  IdentityNumber number_of(Slot slot) const { return numbers_[slot]; }

  // How many identities of each cluster a selector selects, by cluster id; 0: reserved, and of addresses.
  std::map<std::uint32_t, std::uint32_t> spread(const Selector& selector, std::uint32_t cluster_shift);

  struct Scratch {
    Signature signature;
    std::uint32_t fresh = kNoSlot;
    bool touched = false;
  };
  // For whoever works something out for all slots; left clean.
  std::vector<Scratch>& scratch() { return scratch_; }

  // Who is told of identities that these selectors select, by their places; `always`: of all.
  void follow(RuleSet& follower, const std::vector<SelectorId>& selectors, bool always);
  void unfollow(RuleSet& follower, const std::vector<SelectorId>& selectors, bool always);

 private:
  // A rule set that asks for a selector, which has that place among all that it asks for.
  struct Follower {
    RuleSet* set = nullptr;
    std::uint32_t place = 0;
    friend auto operator<=>(const Follower&, const Follower&) = default;
  };
  template <class Visit>
  void each_follower(std::span<const SelectorId> matching, Visit visit);

  IdentityIndex index_;
  NumberMap slots_;
  std::vector<IdentityNumber> numbers_;           // by slot
  std::vector<std::vector<Follower>> followers_;  // by selector
  std::vector<RuleSet*> always_;
  std::vector<Scratch> scratch_;
  std::vector<Follower> told_;  // at a change of one identity
  std::vector<std::uint32_t> places_;
};

}  // namespace fleetmesh::policy
