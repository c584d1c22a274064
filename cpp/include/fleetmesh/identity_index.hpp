// Which identities a selector selects, kept while identities come and go.
//
// A set of identities for each statement on labels; a selector is a few of these sets, ANDed. Cilium's
// selector cache (pkg/policy/selectorcache.go) asks every identity instead.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "fleetmesh/slot_set.hpp"

namespace fleetmesh::policy {

// A statement on labels that is true of an identity or not, such as `k8s:app=web`; whoever makes identities
// and selectors numbers them alike, from 1.
using Term = std::uint32_t;
using Name = std::uint32_t;  // of a port; 0: none
using SelectorId = std::uint32_t;

struct Requirement {
  bool negated = false;
  std::vector<Term> any_of;
  friend auto operator<=>(const Requirement&, const Requirement&) = default;
};
// All of them; without any it selects everything, aggregates included.
using Selector = std::vector<Requirement>;

struct NamedPort {
  Name name = 0;
  std::uint8_t protocol = 0;
  std::uint16_t port = 0;
  friend bool operator==(const NamedPort&, const NamedPort&) = default;
};

struct Identity {
  std::vector<Term> terms;
  std::vector<NamedPort> named_ports;
};

// Stands for a set of selectors: the XOR of what stands for each.
struct Signature {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  Signature& operator^=(const Signature& other) {
    high ^= other.high;
    low ^= other.low;
    return *this;
  }
  friend bool operator==(const Signature&, const Signature&) = default;
};

struct SignatureHash {
  std::size_t operator()(const Signature& signature) const { return signature.low; }
};

// Of a sorted list of terms.
bool selects(const Selector& selector, const std::vector<Term>& terms);

class IdentityIndex {
 public:
  IdentityIndex();
  struct Added {
    Slot slot;
    std::vector<SelectorId> matching;  // the selectors that select it, in ascending order
  };
  // Slots of removed identities are given again.
  Added add(Identity identity);
  // The selectors that selected it.
  std::vector<SelectorId> remove(Slot slot);
  // Sorted.
  const std::vector<Term>& terms(Slot slot) const { return rows_[slot]; }
  const std::vector<NamedPort>& named_ports(Slot slot) const;
  template <class Visit>
  void each_with_named_ports(Visit visit) const {
    for (const auto& [slot, ports] : named_ports_) visit(slot);
  }
  Slot slots() const { return static_cast<Slot>(rows_.size()); }
  const SlotSet& live() const { return live_; }

  // Equal selectors have one number; each is to be released as often as it was asked for.
  SelectorId acquire(Selector selector);
  void release(SelectorId id);
  const Selector& selector(SelectorId id) const { return *selectors_[id].selector; }
  // Worked out when it is first asked for, and from then on with each identity.
  const SlotSet& selected(SelectorId id);
  // The selectors that select such an identity, in ascending order; `terms` are sorted.
  std::vector<SelectorId> matching(const std::vector<Term>& terms) const;

  // Nobody outside can find two sets with one signature: it is keyed by a secret of the process.
  Signature signature(std::uint64_t of) const;

  // Bytes that identities and selections take, about.
  std::size_t memory() const;

 private:
  struct Kept {
    const Selector* selector = nullptr;  // the key in numbers_
    std::uint32_t uses = 0;
    bool evaluated = false;
    const Requirement* guard = nullptr;  // one of these terms is there in whatever it selects
    SlotSet selected;
  };
  const Requirement* rarest(const Selector& selector) const;
  std::uint64_t frequency(const Requirement& requirement) const;
  bool holds(const Requirement& requirement, Slot slot) const;
  SlotSet evaluate(const Selector& selector, const Requirement* guard) const;
  SlotSet evaluate_bits(const Selector& selector) const;

  Signature secret_;
  std::vector<std::vector<Term>> rows_;  // by slot
  std::unordered_map<Slot, std::vector<NamedPort>> named_ports_;
  std::vector<Slot> free_;
  std::vector<SlotSet> having_;  // by term
  SlotSet live_;
  std::vector<Kept> selectors_;
  std::vector<SelectorId> free_selectors_;
  std::map<Selector, SelectorId> numbers_;
  std::unordered_map<Term, std::vector<SelectorId>> guarded_;
  std::vector<std::uint64_t> guards_;  // a bit for each term, whether it is in guarded_
  std::vector<SelectorId> unguarded_;
};

}  // namespace fleetmesh::policy
