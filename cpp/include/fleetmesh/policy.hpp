// Who may reach whom: rules over identities, resolved into entries that a packet is looked up in.
//
// The semantics are those of Cilium's pkg/policy (repository.go, rules.go, l4.go, mapstate.go, aggregate.go).
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace fleetmesh::policy {

using IdentityNumber = std::uint32_t;
// A statement on labels that is true of an identity or not, such as `k8s:app=web`; whoever makes identities
// and selectors numbers them alike.
using Term = std::uint32_t;
using Name = std::uint32_t;  // of a port; 0: none

// What stands for all identities of a kind that have no entry of their own (aggregate.go).
inline constexpr IdentityNumber kAny = 0;
inline constexpr IdentityNumber kAggregateCluster = 11;
inline constexpr IdentityNumber kAggregateClusterMesh = 12;
inline constexpr IdentityNumber kAggregateWorld = 13;
inline constexpr IdentityNumber kAggregateRemoteNode = 14;
inline constexpr IdentityNumber kAggregates[] = {kAny, kAggregateCluster, kAggregateClusterMesh,
                                                 kAggregateWorld, kAggregateRemoteNode};

enum class Direction : std::uint8_t { egress, ingress };
enum class Verdict : std::uint8_t { allow, deny, pass };
enum class Parser : std::uint8_t { none, http, dns, tls, crd };

struct Requirement {
  bool negated = false;
  std::vector<Term> any_of;
};
// All of them; without any it selects everything, aggregates included.
using Selector = std::vector<Requirement>;

struct NamedPort {
  Name name = 0;
  std::uint8_t protocol = 0;
  std::uint16_t port = 0;
};

struct Identity {
  std::vector<Term> terms;  // sorted
  std::vector<NamedPort> named_ports;
};

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
};

struct Rule {
  Direction direction = Direction::egress;
  Verdict verdict = Verdict::allow;
  std::uint8_t tier = 0;      // a lower one decides first
  double priority = 0;        // within the tier, likewise
  std::uint32_t subject = 0;  // number of a selector
  bool on_host = false;
  bool default_deny = true;
  bool nobody = false;               // no peer at all
  std::vector<std::uint32_t> peers;  // any one of these selectors; none, with ports: everybody
  std::vector<PortRule> ports;       // none: all
  // 0: none is asked for; else 1 + Cilium's type: disabled, spire, always fail.
  std::uint8_t authentication = 0;
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

// Of whom an entry of its own would be asked next (aggregateFor).
IdentityNumber aggregate_of(IdentityNumber identity, const Options& options);

struct Key {
  IdentityNumber identity = 0;
  std::uint16_t port = 0;
  Direction direction = Direction::egress;
  std::uint8_t protocol = 0;
  std::uint8_t length = 0;  // bits of protocol and port that count: 0, or 8 and up to 16 of the port
  friend bool operator==(const Key&, const Key&) = default;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const;
};

struct Entry {
  std::uint32_t precedence =
      0;  // the higher one decides; its last byte: 255 deny, 2 to 254 redirect, 1 allow
  std::uint8_t authentication = 0;  // as of a rule
  bool explicit_authentication = false;
  std::uint32_t rule = 0;  // the first of those behind it; kByDefault: none of them

  bool denies() const { return (precedence & 255U) == 255; }
  bool redirects() const { return !denies() && (precedence & 255U) > 1; }
  std::uint32_t allow_precedence() const { return (precedence & ~255U) | 1U; }
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
  Key key;
  bool found = false;  // if not, it is refused as nothing allows it
};

// What one endpoint is judged by.
class EndpointPolicy {
 public:
  bool enforced(Direction direction) const { return sides_[index(direction)].enforced; }
  // Whether some rule makes it refuse what none allows.
  bool isolated(Direction direction) const { return sides_[index(direction)].isolated; }
  std::size_t size() const { return entries_.size(); }
  const std::optional<Conflict>& conflict() const { return conflict_; }

  // The first packet of a connection. Where nothing is enforced, it is allowed.
  Answer lookup(Direction direction, IdentityNumber peer, IdentityNumber aggregate, std::uint8_t protocol,
                std::uint16_t port) const;

 private:
  friend class Resolution;
  struct Side {
    bool enforced = false;
    bool isolated = false;
    std::uint32_t lengths = 0;  // a bit for each length that some key has
  };
  static std::size_t index(Direction direction) { return static_cast<std::size_t>(direction); }
  std::optional<Answer> longest(Key key) const;

  Side sides_[2];
  std::unordered_map<Key, Entry, KeyHash> entries_;
  std::optional<Conflict> conflict_;
};

// The policies of one cluster, and the identities that it knows.
class Repository {
 public:
  explicit Repository(const Options& options);

  const Options& options() const { return options_; }
  void set_identity(IdentityNumber number, Identity identity);
  void remove_identity(IdentityNumber number);
  // Equal selectors have one number, their place here; rules are known by their place from then on.
  void set_rules(std::vector<Selector> selectors, std::vector<Rule> rules);

  EndpointPolicy resolve(Identity subject, bool is_host, bool is_init) const;

 private:
  friend class Resolution;
  Options options_;
  std::unordered_map<IdentityNumber, Identity> identities_;
  std::vector<Selector> selectors_;
  std::vector<Rule> rules_;
};

bool selects(const Selector& selector, const std::vector<Term>& terms);

}  // namespace fleetmesh::policy
