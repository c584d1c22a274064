// Who may reach whom: rules over identities, resolved into entries that a packet is looked up in.
//
// The semantics are those of Cilium's pkg/policy (repository.go, rules.go, l4.go, mapstate.go, aggregate.go).
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "datapath/aggregate.h"
#include "fleetmesh/identities.hpp"

namespace fleetmesh::policy {

inline constexpr IdentityNumber kAny = FM_AGGREGATE_ANY;
inline constexpr IdentityNumber kAggregateCluster = FM_AGGREGATE_CLUSTER;
inline constexpr IdentityNumber kAggregateClusterMesh = FM_AGGREGATE_CLUSTER_MESH;
inline constexpr IdentityNumber kAggregateWorld = FM_AGGREGATE_WORLD;
inline constexpr IdentityNumber kAggregateRemoteNode = FM_AGGREGATE_REMOTE_NODE;
// What stands for all identities of a kind that have no entry of their own.
inline constexpr IdentityNumber kAggregates[] = {kAny, kAggregateCluster, kAggregateClusterMesh,
                                                 kAggregateWorld, kAggregateRemoteNode};

enum class Direction : std::uint8_t { egress, ingress };
enum class Verdict : std::uint8_t { allow, deny, pass };
enum class Parser : std::uint8_t { none, http, dns, tls, crd };

struct Ports {
  std::uint8_t protocol = 0;  // 0: any
  std::uint16_t first = 0;    // 0: every port, or a named one
  std::uint16_t last = 0;
  Name name = 0;
};

struct PortRule {
  std::vector<Ports> ports;
  Parser parser = Parser::none;
  Name listener = 0;                   // of a crd parser
  std::uint8_t listener_priority = 0;  // 0: that of the parser
  bool asks_names = false;             // of the server, while TLS goes on to it
  std::uint16_t proxy_port = 0;        // where the parser's proxy listens
};

struct Rule {
  Direction direction = Direction::egress;
  Verdict verdict = Verdict::allow;
  std::uint8_t tier = 0;      // a lower one decides first
  double priority = 0;        // within the tier, likewise
  std::uint32_t subject = 0;  // of the policy's selectors, by its place; in a repository by its number
  bool on_host = false;
  bool default_deny = true;
  bool nobody = false;               // no peer at all
  std::vector<std::uint32_t> peers;  // any one of such selectors; none, with ports: everybody
  std::vector<PortRule> ports;       // none: all
  // 0: none is asked for; else 1 + Cilium's type: disabled, spire, always fail.
  std::uint8_t authentication = 0;

  // Whether it is about anybody at all.
  bool says() const { return !nobody && !(peers.empty() && ports.empty()); }
};

// The rules of one policy, as a repository has them.
struct PolicyRules : std::enable_shared_from_this<PolicyRules> {
  std::string key;
  std::uint32_t first = 0;  // the number of its first rule; the others follow
  std::vector<Rule> rules;
  std::vector<SelectorId> selectors;  // of their subjects and peers
};

struct RuleRef {
  const PolicyRules* of = nullptr;
  std::uint32_t at = 0;
  const Rule& rule() const { return of->rules[at]; }
  std::uint32_t number() const { return of->first + at; }
};

enum class Enforcement : std::uint8_t { by_rules, always, never };

struct Options {
  Enforcement enforcement = Enforcement::by_rules;
  bool allow_host = true;  // the own node may reach its pods, whatever isolates them
  bool host_firewall = false;
  // Whether the last tier but one leaves alone whom a rule before it isolates, as the specification of
  // ClusterNetworkPolicy says; Cilium goes on to it.
  bool isolation_is_final = false;
  std::uint32_t cluster = 0;  // id
  std::uint32_t cluster_shift = 16;
  std::uint8_t default_tier = 3;  // of what is decided at the end; before it comes the baseline
};

inline IdentityNumber aggregate_of(IdentityNumber identity, const Options& options) {
  return fm_aggregate_of(identity, options.cluster, options.cluster_shift);
}

struct Key {
  IdentityNumber identity = 0;
  std::uint16_t port = 0;
  Direction direction = Direction::egress;
  std::uint8_t protocol = 0;
  std::uint8_t length = 0;  // bits of protocol and port that count: 0, or 8 and up to 16 of the port
  friend bool operator==(const Key&, const Key&) = default;
};

struct Entry {
  // The higher one decides; its last byte is a fm_policy_rank.
  std::uint32_t precedence = 0;
  std::uint8_t authentication = 0;  // Cilium's type
  bool explicit_authentication = false;
  std::uint16_t proxy_port = 0;  // of a redirect
  std::uint32_t rule = 0;        // the number of the first of those behind it; kByDefault: none of them

  bool denies() const { return FM_POLICY_RANK(precedence) == FM_POLICY_RANK_DENY; }
  bool redirects() const { return !denies() && FM_POLICY_RANK(precedence) > FM_POLICY_RANK_ALLOW; }
  std::uint32_t level() const { return FM_POLICY_LEVEL(precedence); }
  friend bool operator==(const Entry&, const Entry&) = default;
};
inline constexpr std::uint32_t kByDefault = std::numeric_limits<std::uint32_t>::max();

// Two rules for the same ports and peers that can't both be carried out.
struct Conflict {
  std::uint32_t rule = 0;
  std::uint32_t other = 0;
  std::string why;
};

struct Answer {
  Entry entry;
  bool found = false;  // if not, it is refused as nothing allows it
  friend bool operator==(const Answer&, const Answer&) = default;
};

struct Verdicts;

// What one endpoint is judged by. It follows the identities that come and go, and is of one thread, with its
// repository.
class EndpointPolicy {
 public:
  EndpointPolicy(std::shared_ptr<RuleSet> egress, std::shared_ptr<RuleSet> ingress)
      : egress_(std::move(egress)), ingress_(std::move(ingress)) {}

  // As it is now, for any thread; null where nothing is enforced, the same object as long as nothing changes.
  std::shared_ptr<const Verdicts> verdicts(Direction direction) const;

  bool enforced(Direction direction) const;
  // Whether some rule makes it refuse what none allows.
  bool isolated(Direction direction) const;
  const std::optional<Conflict>& conflict() const;

  // The first packet of a connection. Where nothing is enforced, it is allowed.
  Answer lookup(Direction direction, IdentityNumber peer, std::uint8_t protocol, std::uint16_t port) const;
  // All of them, with the protocol << 16 | port from which on each holds, in ascending order from 0.
  std::vector<std::pair<std::uint32_t, Answer>> answers(Direction direction, IdentityNumber peer) const;

  // Calls visit(const Key&, const Entry&) for everything that Cilium's policy map would hold.
  void each_entry(const std::function<void(const Key&, const Entry&)>& visit) const;
  std::size_t size() const;

  // Whether the very same rule sets decide.
  friend bool operator==(const EndpointPolicy&, const EndpointPolicy&) = default;

 private:
  const std::shared_ptr<RuleSet>& side(Direction direction) const {
    return direction == Direction::egress ? egress_ : ingress_;
  }

  std::shared_ptr<RuleSet> egress_;
  std::shared_ptr<RuleSet> ingress_;
};

// The policies of one cluster, over the identities of a mesh.
class Repository {
 public:
  Repository(std::shared_ptr<Identities> identities, const Options& options);
  ~Repository();
  Repository(const Repository&) = delete;
  Repository& operator=(const Repository&) = delete;

  const Options& options() const { return options_; }
  // Of which other clusters it knows the identities; of none at first.
  void hear(std::vector<std::uint32_t> clusters);
  // The rules of a policy, in the place of those it had. Of equal rules the one counts that comes first in
  // the order of the policies' keys. Returns the number of its first rule; no other rule gets one of these.
  std::uint32_t set_rules(const std::string& policy, const std::vector<Selector>& selectors,
                          std::vector<Rule> rules);
  void remove_rules(const std::string& policy);

  // What was resolved before stays as it is while rules change: it is to be resolved again, which costs a
  // look where the same rules speak.
  EndpointPolicy resolve(const Identity& subject, bool is_host, bool is_init);
  // Of a pod whose identity is known by its number; throws std::out_of_range if it is not.
  EndpointPolicy resolve(IdentityNumber number);

  // For rule sets.
  const std::shared_ptr<Identities>& shared_identities() const { return identities_; }
  // Whether the cluster knows an identity of that number, if there is one.
  bool knows(IdentityNumber number) const;

 private:
  // A rule that speaks about the subject is told by its number.
  using SetKey = std::tuple<Direction, bool, bool, std::vector<std::uint32_t>, std::vector<std::uint32_t>>;
  std::shared_ptr<RuleSet> rule_set(Direction direction, const Identity& subject, bool is_host, bool is_init);
  std::shared_ptr<Identities> identities_;
  Options options_;
  std::vector<bool> heard_;  // by cluster id
  std::map<std::string, std::shared_ptr<const PolicyRules>> policies_;
  std::uint32_t next_number_ = 0;
  std::unordered_map<SelectorId, std::vector<RuleRef>> by_subject_;
  std::map<SetKey, std::weak_ptr<RuleSet>> sets_;
  std::size_t sweep_at_ = 0;  // with so many those that nobody has any more are left out
};

}  // namespace fleetmesh::policy
