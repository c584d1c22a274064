// What decides in one direction for all endpoints about which the same rules speak.
//
// Cilium keeps an entry for each identity and range of ports (pkg/policy/mapstate.go). Here identities that
// the same peers of the rules select are one class, and a class has what is decided for each port: what
// Cilium's map would say for them, and in the place of its two probes one answer.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "fleetmesh/policy.hpp"
#include "fleetmesh/verdicts.hpp"

namespace fleetmesh::policy {

class RuleSet {
 public:
  // `speaking`: the rules, in their order; `named_ports`: of the subject.
  RuleSet(Repository& repository, Direction direction, std::span<const RuleRef> speaking,
          std::vector<NamedPort> named_ports, bool is_host, bool is_init);
  ~RuleSet();
  RuleSet(const RuleSet&) = delete;
  RuleSet& operator=(const RuleSet&) = delete;

  bool enforced() const { return enforced_; }
  bool isolated() const { return isolated_; }
  const std::optional<Conflict>& conflict() const { return conflict_; }

  const Verdicts& verdicts() {
    if (!complete_) add_fallbacks();
    return *verdicts_;
  }
  // The same, which do not change any more.
  std::shared_ptr<const Verdicts> share();

  // An identity has come, which the peers at these places select, or goes.
  void add(IdentityNumber number, Slot slot, std::span<const std::uint32_t> matching);
  void remove(IdentityNumber number);
  // All classes anew.
  void build();

 private:
  using ClassId = Verdicts::ClassId;
  using Placed = Verdicts::Placed;
  using Who = Verdicts::Who;
  // Place of a rule's peer among the selectors that any of the rules has.
  using Local = std::uint32_t;

  // A rule that speaks about the subject, or one of those that decide at the end.
  struct Spoken {
    const Rule* rule = nullptr;
    std::uint32_t number = kByDefault;
    IdentityNumber whom = kAny;  // of those that decide at the end: kAny are all
    std::uint32_t ordinal = 0;   // where in its tier it stands
  };
  // An entry on the way to a class.
  struct Draft {
    bool of_aggregate = false;  // not of the identity, but of what stands for many
    std::uint8_t length = 0;
    std::uint8_t protocol = 0;
    std::uint16_t port = 0;
    std::uint32_t ordinal = 0;  // where in the order of decisions it stands, from some tier on
    std::uint8_t byte = 0;      // the last of the precedence
    std::uint8_t authentication = 0;
    std::uint16_t proxy_port = 0;
    std::uint32_t rule = 0;
  };
  struct Aggregate {
    std::vector<Local> matching;
    std::optional<std::vector<Placed>> entries;
  };
  // What rules for the same ports and peers have to agree on.
  struct Agreed {
    const Spoken* by = nullptr;
    Parser parser = Parser::none;
    Name listener = 0;
    std::uint8_t listener_priority = 0;
    std::uint8_t authentication = 0;
    bool asks_names = false;
  };
  using Place = std::tuple<std::uint8_t, std::uint8_t, std::uint16_t, std::uint16_t, Name, SelectorId>;

  void speak(std::span<const RuleRef> speaking, bool is_init);
  void add_defaults();
  void order();
  void refuse_levels();
  void note_protocols(const Spoken& by);
  void agree();
  void agree(const Spoken& by, std::map<Place, Agreed>& known);
  void agree(const Place& place, const Agreed& wanted, std::map<Place, Agreed>& known);

  Verdicts& own();
  void add_fallbacks();
  Signature signature(const Who& who, const std::vector<NamedPort>& ports) const;
  ClassId class_of(const Signature& signature, const Who& who, std::span<const Local> matching,
                   const std::vector<NamedPort>& ports);
  ClassId make(const Who& who, std::span<const Local> matching, const std::vector<NamedPort>& ports);
  const std::vector<Placed>& of_aggregate(std::uint8_t place);
  std::vector<Placed> placed(const Who& who, std::span<const Local> matching,
                             const std::vector<NamedPort>& ports) const;
  std::vector<Draft> from_tier(std::uint8_t tier, const std::vector<std::uint32_t>& own,
                               const std::vector<std::uint32_t>& of_aggregate,
                               const std::vector<NamedPort>& ports) const;
  static Answer chosen(const Placed* own, const Placed* all);
  static std::vector<Placed> settled(const std::vector<Placed>& all);
  std::vector<std::uint32_t> about(const Who& who, std::span<const Local> matching) const;
  void add_drafts(std::uint32_t place, bool of_aggregate, const std::vector<NamedPort>* peer_ports,
                  std::vector<Draft>& into) const;

  Repository& repository_;
  std::shared_ptr<Identities> identities_;
  std::vector<std::shared_ptr<const PolicyRules>> policies_;  // of which the rules are
  Direction direction_;
  std::vector<NamedPort> named_ports_;
  bool is_host_;

  bool enforced_ = false;
  bool isolated_ = false;
  std::optional<Conflict> conflict_;
  std::deque<Rule> defaults_;
  std::vector<Spoken> spoken_;  // by tier and priority
  std::bitset<256> protocols_;  // about which any rule says anything
  bool passes_ = false;
  bool asks_peer_ports_ = false;         // whether a port is named as peers name theirs
  std::vector<std::uint32_t> tier_end_;  // ordinals that a tier has, those passed on included
  std::vector<SelectorId> peers_;        // by Local
  std::vector<Signature> marks_;         // likewise
  std::unordered_map<SelectorId, Local> local_;
  std::vector<std::vector<std::uint32_t>> users_;  // by Local: places in spoken_
  std::vector<std::uint32_t> for_all_;             // places in spoken_ of rules whose peer is everybody

  std::shared_ptr<Verdicts> verdicts_;
  bool complete_ = true;               // whether there are verdicts on those of whom no peer is
  bool shared_ = false;                // whether somebody else may have them too
  std::vector<Aggregate> aggregates_;  // by place in kAggregates
  std::unordered_map<Signature, ClassId, SignatureHash> known_;
};

}  // namespace fleetmesh::policy
