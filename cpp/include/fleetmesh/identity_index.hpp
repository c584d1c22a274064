// Which identities a selector selects, kept while identities come and go.
//
// A set of identities for each statement on labels; a selector is a few of these sets, ANDed. Cilium's
// selector cache (pkg/policy/selectorcache.go) asks every identity instead.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "fleetmesh/matcher.hpp"
#include "fleetmesh/selector.hpp"
#include "fleetmesh/slot_set.hpp"

namespace fleetmesh::policy {

using Name = std::uint32_t;  // of a port; 0: none

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

class IdentityIndex {
 public:
  IdentityIndex();
  struct Added {
    Slot slot;
    // The selectors that select it, of those whose selection is kept, ascending; good until the next one
    // comes or goes.
    std::span<const SelectorId> matching;
  };
  // Slots of removed identities are given again.
  Added add(Identity identity);
  // The selectors that selected it; likewise.
  std::span<const SelectorId> remove(Slot slot);
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
  // Worked out when it is first asked for, and kept from then on as identities come and go.
  const SlotSet& selected(SelectorId id);
  // The selectors that select such an identity, in ascending order.
  std::vector<SelectorId> matching(const std::vector<Term>& terms);

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
  void settle();
  const Requirement* rarest(const Selector& selector) const;
  std::uint64_t frequency(const Requirement& requirement) const;
  bool holds(const Requirement& requirement, Slot slot) const;
  SlotSet evaluate(const Selector& selector, const Requirement* guard) const;
  SlotSet evaluate_bits(const Selector& selector) const;

  Signature secret_;
  std::vector<std::vector<Term>> rows_;  // by slot
  std::unordered_map<Slot, std::vector<NamedPort>> named_ports_;
  std::vector<Slot> free_;
  std::vector<SlotSet> having_;  // by term, of all but those that came last
  std::vector<Slot> unsettled_;  // these: to sort one in touches memory at random, which is put off
  SlotSet live_;
  std::vector<Kept> selectors_;
  std::vector<SelectorId> free_selectors_;
  std::map<Selector, SelectorId> numbers_;
  Matcher all_;
  Matcher kept_;                      // of those whose selection is kept: few, where few rules are in use
  std::vector<SelectorId> matching_;  // of whoever came or went last
};

}  // namespace fleetmesh::policy
