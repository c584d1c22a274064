#include "resolution.hpp"

#include <algorithm>
#include <string_view>

namespace fleetmesh::policy {
namespace {

constexpr IdentityNumber kHost = 1;
constexpr std::uint8_t kDeny = 255;
constexpr std::uint8_t kAllow = 1;
constexpr std::uint8_t kProtocolLength = 8;
constexpr std::uint8_t kPortLength = 24;

// Of redirects the one of the lower priority decides (types/entry.go WithListenerPriority).
std::uint8_t redirect_byte(const PortRule& rule) {
  constexpr std::uint8_t kPriorities[] = {0, 101, 121, 116, 126};
  const std::uint8_t own = kPriorities[static_cast<std::size_t>(rule.parser)];
  const std::uint8_t priority =
      rule.listener_priority ? std::min<std::uint8_t>(rule.listener_priority, 126) : own;
  return static_cast<std::uint8_t>(254 - priority);
}

std::uint16_t masked(std::uint16_t port, std::uint8_t length) {
  const std::uint32_t bits = length > kProtocolLength ? length - kProtocolLength : 0;
  return static_cast<std::uint16_t>(port & (0xffff0000U >> bits));
}

// Whether whatever the inner key matches the outer does too, leaving identities aside.
bool covers(const Key& outer, const Key& inner) {
  if (outer.length > inner.length) return false;
  if (!outer.length) return true;
  return outer.protocol == inner.protocol && masked(inner.port, outer.length) == outer.port;
}

// A range as aligned prefixes, which a longest match can tell apart.
template <class Visit>
void each_prefix(std::uint16_t first, std::uint16_t last, Visit visit) {
  for (std::uint32_t at = first; at <= last;) {
    std::uint32_t size = at ? at & -at : 65536;
    while (size > 1 && at + size - 1 > last) size /= 2;
    visit(static_cast<std::uint16_t>(at), static_cast<std::uint8_t>(kPortLength - __builtin_ctz(size)));
    at += size;
  }
}

const NamedPort* named(const std::vector<NamedPort>& ports, Name name, std::uint8_t protocol) {
  const auto found = std::ranges::find_if(
      ports, [&](const NamedPort& port) { return port.name == name && port.protocol == protocol; });
  return found == ports.end() ? nullptr : &*found;
}

// What takes over where rules ask for both; nothing where that can't be (L7ParserType.Merge).
std::optional<Parser> merged(Parser one, Parser other) {
  if (one == other || other == Parser::none) return one;
  if (one == Parser::none) return other;
  if ((one == Parser::tls && other == Parser::http) || (one == Parser::http && other == Parser::tls))
    return Parser::http;
  return std::nullopt;
}

// Of two entries for one key: the one of the higher precedence decides, and authentication is asked for if
// one of the same level asks.
Entry merged(const Entry& one, const Entry& other) {
  const bool other_decides = other.precedence > one.precedence;
  Entry result = other_decides ? other : one;
  const Entry& rest = other_decides ? one : other;
  if (result.denies() || !rest.explicit_authentication || rest.denies() ||
      result.allow_precedence() != rest.allow_precedence())
    return result;
  if (!result.explicit_authentication || rest.authentication > result.authentication)
    result.authentication = rest.authentication;
  result.explicit_authentication = true;
  return result;
}

}  // namespace

EndpointPolicy Resolution::run() {
  const Options& options = repository_.options_;
  if (options.enforcement != Enforcement::never && (!is_host_ || options.host_firewall)) {
    resolve(Direction::egress);
    agreed_.clear();
    resolve(Direction::ingress);
  }
  return std::move(policy_);
}

void Resolution::resolve(Direction direction) {
  std::vector<Spoken> rules = spoken(direction);
  const bool always = repository_.options_.enforcement == Enforcement::always || is_init_;
  auto& side = policy_.sides_[EndpointPolicy::index(direction)];
  side.enforced = always || !rules.empty();
  side.isolated =
      always || std::ranges::any_of(rules, [](const Spoken& by) { return by.rule->default_deny; });
  if (rules.empty()) return;
  for (const Spoken& by : rules) agree(by);
  add_defaults(direction, side.isolated, rules);
  enter(direction, from_tier(rules, 0));
}

std::vector<Resolution::Spoken> Resolution::spoken(Direction direction) const {
  std::vector<Spoken> found;
  for (std::uint32_t number = 0; number < repository_.rules_.size(); ++number) {
    const Rule& rule = repository_.rules_[number];
    if (rule.direction == direction && rule.on_host == is_host_ &&
        selects(repository_.selectors_[rule.subject], subject_.terms))
      found.push_back({&rule, number});
  }
  const std::uint32_t baseline = repository_.options_.default_tier - 1U;
  const bool isolated = std::ranges::any_of(
      found, [&](const Spoken& by) { return by.rule->default_deny && by.rule->tier < baseline; });
  if (repository_.options_.isolation_is_final && isolated)
    std::erase_if(found, [&](const Spoken& by) { return by.rule->tier == baseline; });
  std::ranges::stable_sort(found, {},
                           [](const Spoken& by) { return std::pair(by.rule->tier, by.rule->priority); });
  return found;
}

// Whoever is not isolated may be reached by all; one who is, still by its own node. What is passed on to
// the end has to find a refusal there (computePolicyEnforcementAndRules).
void Resolution::add_defaults(Direction direction, bool isolated, std::vector<Spoken>& rules) {
  double priority = 0;  // one after the other
  const auto add = [&](Verdict verdict, IdentityNumber whom) {
    Rule rule;
    rule.priority = priority++;
    rule.direction = direction;
    rule.verdict = verdict;
    rule.tier = repository_.options_.default_tier;
    rule.default_deny = false;
    rules.push_back({&defaults_.emplace_back(std::move(rule)), kByDefault, whom});
  };
  const bool passes =
      std::ranges::any_of(rules, [](const Spoken& by) { return by.rule->verdict == Verdict::pass; });
  if (!isolated) return add(Verdict::allow, kAny);
  if (direction == Direction::ingress && repository_.options_.allow_host && !is_host_)
    add(Verdict::allow, kHost);
  if (passes) add(Verdict::deny, kAny);
}

void Resolution::agree(const Spoken& by) {
  const Rule& rule = *by.rule;
  if (rule.nobody || (rule.peers.empty() && rule.ports.empty())) return;
  constexpr std::uint32_t kEverybody = ~0U;
  const auto each_peer = [&](const Ports& ports, const PortRule& of) {
    const auto place = [&](std::uint32_t peer) {
      return Place{rule.tier, ports.protocol, ports.first, ports.last, ports.name, peer};
    };
    const Agreed wanted{by, of.parser, of.listener, of.listener_priority, rule.authentication, of.asks_names};
    if (rule.peers.empty()) agree(place(kEverybody), wanted);
    for (const std::uint32_t peer : rule.peers)
      agree(place(repository_.selectors_[peer].empty() ? kEverybody : peer), wanted);
  };
  if (rule.ports.empty()) each_peer({}, {});
  for (const PortRule& of : rule.ports)
    for (const Ports& ports : of.ports) each_peer(ports, of);
}

void Resolution::agree(const Place& place, const Agreed& wanted) {
  const auto [at, fresh] = agreed_.try_emplace(place, wanted);
  if (fresh || policy_.conflict_) return;
  Agreed& known = at->second;
  if (known.by.rule->priority < wanted.by.rule->priority) return;
  const Verdict one = known.by.rule->verdict;
  const Verdict other = wanted.by.rule->verdict;
  if (one != other) {
    const bool other_decides = other == Verdict::deny || (other == Verdict::allow && one == Verdict::pass);
    if (other_decides) known = wanted;
    return;
  }
  if (other != Verdict::allow) return;
  const auto conflict = [&](std::string_view why) {
    policy_.conflict_ = Conflict{known.by.number, wanted.by.number, std::string(why)};
  };
  const auto parser = merged(known.parser, wanted.parser);
  if (!parser) return conflict("they ask for different L7 parsers");
  if (known.listener && wanted.listener && known.listener != wanted.listener &&
      known.listener_priority == wanted.listener_priority)
    return conflict("they ask for different listeners of the same priority");
  if (known.authentication && wanted.authentication && known.authentication != wanted.authentication)
    return conflict("they ask for different authentication");
  known.asks_names = known.asks_names || wanted.asks_names;
  // Cilium looks at what was there before, so that the order of the rules matters (mergePortProto).
  if (known.asks_names && (known.parser == Parser::http || known.parser == Parser::dns))
    return conflict("they ask for names of servers and for L7 rules, without terminating TLS");
  known.parser = *parser;
  known.authentication = std::max(known.authentication, wanted.authentication);
  if (wanted.listener) known.listener = wanted.listener;
}

std::vector<Resolution::Draft> Resolution::drafts(const Spoken& by) const {
  const Rule& rule = *by.rule;
  std::vector<Draft> found;
  Draft draft;
  draft.key.direction = rule.direction;
  draft.authentication = rule.authentication;
  draft.rule = by.number;
  draft.byte = rule.verdict == Verdict::deny ? kDeny : kAllow;
  if (by.number == kByDefault) {
    for (const IdentityNumber identity : kAggregates) {
      draft.key.identity = by.whom == kAny ? identity : by.whom;
      found.push_back(draft);
      if (by.whom != kAny) break;
    }
    return found;
  }
  if (rule.nobody || (rule.peers.empty() && rule.ports.empty())) return found;
  if (rule.ports.empty()) add_drafts(by, {}, draft, found);
  for (const PortRule& of : rule.ports) {
    if (rule.verdict != Verdict::deny) draft.byte = of.parser == Parser::none ? kAllow : redirect_byte(of);
    for (const Ports& ports : of.ports) add_drafts(by, ports, draft, found);
  }
  return found;
}

void Resolution::add_drafts(const Spoken& by, const Ports& ports, const Draft& draft,
                            std::vector<Draft>& into) const {
  const Rule& rule = *by.rule;
  const auto add = [&](IdentityNumber identity, std::uint16_t port, std::uint8_t length) {
    Draft one = draft;
    one.key.identity = identity;
    one.key.protocol = length ? ports.protocol : std::uint8_t{0};
    one.key.port = port;
    one.key.length = length;
    into.push_back(std::move(one));
  };
  const auto add_all = [&](IdentityNumber identity) {
    if (!ports.protocol) return add(identity, 0, 0);
    if (!ports.first) return add(identity, 0, kProtocolLength);
    each_prefix(ports.first, ports.last,
                [&](std::uint16_t port, std::uint8_t length) { add(identity, port, length); });
  };
  const bool by_peer = ports.name && rule.direction == Direction::egress;
  const NamedPort* own = nullptr;
  if (ports.name && !by_peer) {
    own = named(subject_.named_ports, ports.name, ports.protocol);
    if (!own) return;
  }
  const auto add_identity = [&](IdentityNumber identity, const Identity* known) {
    if (own) return add(identity, own->port, kPortLength);
    if (!by_peer) return add_all(identity);
    const NamedPort* port = known ? named(known->named_ports, ports.name, ports.protocol) : nullptr;
    if (port) add(identity, port->port, kPortLength);
  };
  const auto add_peer = [&](const Selector* selector) {
    if (!selector || selector->empty()) {
      if (!by_peer)
        for (const IdentityNumber identity : kAggregates) add_identity(identity, nullptr);
      else
        for (const auto& [identity, known] : repository_.identities_) add_identity(identity, &known);
      return;
    }
    for (const auto& [identity, known] : repository_.identities_)
      if (selects(*selector, known.terms)) add_identity(identity, &known);
  };
  if (rule.peers.empty()) add_peer(nullptr);
  for (const std::uint32_t peer : rule.peers) add_peer(&repository_.selectors_[peer]);
}

// What decides on packets that reach a tier, the lower tiers included.
std::vector<Resolution::Draft> Resolution::from_tier(const std::vector<Spoken>& rules,
                                                     std::uint8_t tier) const {
  std::vector<Draft> lower;
  if (tier < repository_.options_.default_tier) lower = from_tier(rules, static_cast<std::uint8_t>(tier + 1));
  std::vector<Draft> found;
  std::uint32_t place = 0;
  const Rule* last = nullptr;
  for (const Spoken& by : rules) {
    if (by.rule->tier != tier) continue;
    if (last && last->priority != by.rule->priority) ++place;
    last = by.rule;
    for (Draft& draft : drafts(by)) {
      if (by.rule->verdict != Verdict::pass) {
        draft.rank = {2 * place};
        found.push_back(std::move(draft));
        continue;
      }
      draft.rank = {2 * place + 1};
      for (Draft& further : passed(draft, lower)) found.push_back(std::move(further));
    }
  }
  for (Draft& draft : lower) {
    draft.rank.insert(draft.rank.begin(), 2 * place + 2);
    found.push_back(std::move(draft));
  }
  return found;
}

// What is said of the packets of a pass further down, said where it stands.
std::vector<Resolution::Draft> Resolution::passed(const Draft& pass, const std::vector<Draft>& to) const {
  const Options& options = repository_.options_;
  std::vector<Draft> found;
  for (const Draft& draft : to) {
    const IdentityNumber one = pass.key.identity;
    const IdentityNumber other = draft.key.identity;
    const bool narrows = one == other || aggregate_of(other, options) == one;
    if (!narrows && aggregate_of(one, options) != other) continue;
    const bool inner = covers(pass.key, draft.key);
    if (!inner && !covers(draft.key, pass.key)) continue;
    Draft both = draft;
    if (!inner) both.key = pass.key;
    both.key.identity = narrows ? other : one;
    both.rank.insert(both.rank.begin(), pass.rank.front());
    found.push_back(std::move(both));
  }
  return found;
}

void Resolution::enter(Direction direction, const std::vector<Draft>& drafts) {
  std::map<Rank, std::uint32_t> places;
  for (const Draft& draft : drafts) places.try_emplace(draft.rank, 0);
  std::uint32_t next = 0xffffff;
  for (auto& [rank, place] : places) place = next--;

  Entries all;
  for (const Draft& draft : drafts) {
    Entry entry{places.at(draft.rank) << 8U | draft.byte, 0, draft.authentication != 0, draft.rule};
    if (draft.authentication) entry.authentication = static_cast<std::uint8_t>(draft.authentication - 1);
    const auto [at, fresh] = all.try_emplace(draft.key, entry);
    if (!fresh) at->second = merged(at->second, entry);
  }
  auto& side = policy_.sides_[EndpointPolicy::index(direction)];
  for (const auto& [key, entry] : all) {
    const auto stays = settled(key, entry, all);
    if (!stays) continue;
    policy_.entries_.emplace(key, *stays);
    side.lengths |= 1U << key.length;
  }
}

// Drops what a broader entry of a higher rank covers, so that one longest match finds what decides. Says of
// authentication what the most specific broader entry says; one that says it itself stays, under the higher
// rank (insertWithChanges, authPreferredInsert).
std::optional<Entry> Resolution::settled(const Key& key, const Entry& entry, const Entries& all) {
  Entry result = entry;
  bool derived = entry.explicit_authentication || entry.denies();
  bool raised = false;
  for (std::uint8_t length = key.length; length--;) {
    if (length && length < kProtocolLength) continue;
    Key outer = key;
    outer.length = length;
    outer.protocol = length ? key.protocol : std::uint8_t{0};
    outer.port = masked(key.port, outer.length);
    const auto found = all.find(outer);
    if (found == all.end()) continue;
    const Entry& cover = found->second;
    if (cover.precedence > entry.precedence) {
      if (cover.denies() || entry.denies() || !entry.explicit_authentication) return std::nullopt;
      if (!raised) result.precedence = cover.precedence;
      raised = true;
    }
    if (!derived && cover.explicit_authentication && cover.allow_precedence() >= entry.allow_precedence()) {
      result.authentication = cover.authentication;
      derived = true;
    }
  }
  return result;
}

}  // namespace fleetmesh::policy
