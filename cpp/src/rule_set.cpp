#include "rule_set.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "port_prefixes.hpp"

namespace fleetmesh::policy {
namespace {

constexpr std::uint8_t kDeny = FM_POLICY_RANK_DENY;
constexpr std::uint8_t kAllow = FM_POLICY_RANK_ALLOW;
constexpr std::uint32_t kMostOrdinals = 0xffffff;
// On a place: only of the ports that peers name, since the rule's peer is everybody.
constexpr std::uint32_t kOnlyNamed = 1U << 31U;

// Of redirects the one of the lower priority decides (types/entry.go WithListenerPriority).
std::uint8_t redirect_byte(const PortRule& rule) {
  constexpr std::uint8_t kPriorities[] = {0, 101, 121, 116, 126};
  const std::uint8_t own = kPriorities[static_cast<std::size_t>(rule.parser)];
  const std::uint8_t priority =
      rule.listener_priority ? std::min<std::uint8_t>(rule.listener_priority, 126) : own;
  return static_cast<std::uint8_t>(254 - priority);
}

std::uint8_t byte_of(const Rule& rule, const PortRule& ports) {
  if (rule.verdict == Verdict::deny) return kDeny;
  return ports.parser == Parser::none ? kAllow : redirect_byte(ports);
}

const NamedPort* named(const std::vector<NamedPort>& ports, Name name, std::uint8_t protocol) {
  const auto found = std::ranges::find_if(
      ports, [&](const NamedPort& port) { return port.name == name && port.protocol == protocol; });
  return found == ports.end() ? nullptr : &*found;
}

// Of two entries for one key: the one of the higher precedence decides, and authentication is asked for if
// one of the same level asks.
Entry merged(const Entry& one, const Entry& other) {
  const bool other_decides = other.precedence > one.precedence;
  Entry result = other_decides ? other : one;
  const Entry& rest = other_decides ? one : other;
  if (result.denies() || !rest.explicit_authentication || rest.denies() || result.level() != rest.level())
    return result;
  if (!result.explicit_authentication || rest.authentication > result.authentication)
    result.authentication = rest.authentication;
  result.explicit_authentication = true;
  return result;
}

// The entry keeps its own authentication if it says one; else another's of no lower rank counts
// (mapState.lookup).
Answer with_authentication(Entry entry, const Entry& other) {
  if (!entry.explicit_authentication && other.authentication > entry.authentication &&
      other.level() >= entry.level())
    entry.authentication = other.authentication;
  return {entry, true};
}

}  // namespace

RuleSet::RuleSet(Repository& repository, Direction direction, std::span<const RuleRef> speaking,
                 std::vector<NamedPort> named_ports, bool is_host, bool is_init)
    : repository_(repository),
      identities_(repository.shared_identities()),
      direction_(direction),
      named_ports_(std::move(named_ports)),
      is_host_(is_host) {
  speak(speaking, is_init);
  IdentityIndex& index = identities_->index();
  for (const SelectorId id : peers_) index.acquire(index.selector(id));
  build();
  identities_->follow(*this, peers_, asks_peer_ports_);
}

RuleSet::~RuleSet() {
  identities_->unfollow(*this, peers_, asks_peer_ports_);
  for (const SelectorId id : peers_) identities_->index().release(id);
}

void RuleSet::speak(std::span<const RuleRef> speaking, bool is_init) {
  const Options& options = repository_.options();
  for (const RuleRef& each : speaking) {
    spoken_.push_back({&each.rule(), each.number(), kAny, 0});
    if (policies_.empty() || policies_.back().get() != each.of)
      policies_.push_back(each.of->shared_from_this());
  }
  const std::uint32_t baseline = options.default_tier - 1U;
  const bool final = options.isolation_is_final && std::ranges::any_of(spoken_, [&](const Spoken& by) {
                       return by.rule->default_deny && by.rule->tier < baseline;
                     });
  if (final) std::erase_if(spoken_, [&](const Spoken& by) { return by.rule->tier == baseline; });
  std::ranges::stable_sort(spoken_, {},
                           [](const Spoken& by) { return std::pair(by.rule->tier, by.rule->priority); });
  const bool always = options.enforcement == Enforcement::always || is_init;
  enforced_ = always || !spoken_.empty();
  isolated_ = always || std::ranges::any_of(spoken_, [](const Spoken& by) { return by.rule->default_deny; });
  if (spoken_.empty()) return;
  agree();
  add_defaults();
  order();
}

// Whoever is not isolated may be reached by all; one who is, still by its own node. What is passed on to
// the end has to find a refusal there (computePolicyEnforcementAndRules).
void RuleSet::add_defaults() {
  double priority = 0;  // one after the other
  const auto add = [&](Verdict verdict, IdentityNumber whom) {
    Rule rule;
    rule.priority = priority++;
    rule.direction = direction_;
    rule.verdict = verdict;
    rule.tier = repository_.options().default_tier;
    rule.default_deny = false;
    spoken_.push_back({&defaults_.emplace_back(std::move(rule)), kByDefault, whom, 0});
  };
  passes_ = std::ranges::any_of(spoken_, [](const Spoken& by) { return by.rule->verdict == Verdict::pass; });
  if (!isolated_) return add(Verdict::allow, kAny);
  if (direction_ == Direction::ingress && repository_.options().allow_host && !is_host_)
    add(Verdict::allow, Verdicts::kHost);
  if (passes_) add(Verdict::deny, kAny);
}

void RuleSet::note_protocols(const Spoken& by) {
  if (by.whom == Verdicts::kHost) return;  // it alone is asked whatever the protocol
  if (by.rule->ports.empty()) protocols_.set();
  for (const PortRule& of : by.rule->ports)
    for (const Ports& ports : of.ports) {
      if (!ports.protocol) protocols_.set();
      protocols_.set(ports.protocol);
    }
}

// As if two of the rules were in conflict: with nothing to go by, nothing passes.
void RuleSet::refuse_levels() {
  const auto of_policy = [](const Spoken& by) { return by.number != kByDefault; };
  const auto first = std::ranges::find_if(spoken_, of_policy);
  const auto last = std::find_if(spoken_.rbegin(), spoken_.rend(), of_policy);
  if (!conflict_)
    conflict_ = Conflict{first->number, last->number,
                         "with those between them they have more levels than there is room for"};
  spoken_.clear();
}

// Gives each level of each tier its place in the order of decisions; behind a level that passes there is room
// for all that it may pass to.
void RuleSet::order() {
  const std::uint8_t last = repository_.options().default_tier;
  tier_end_.assign(last + 1U, 0);
  std::uint64_t below = 0;
  for (std::uint32_t tier = last + 1U; tier--;) {
    std::uint64_t next = 0;
    for (std::size_t at = 0; at < spoken_.size();) {
      std::size_t end = at;
      bool passes = false;
      for (; end < spoken_.size() && spoken_[end].rule->tier == spoken_[at].rule->tier &&
             spoken_[end].rule->priority == spoken_[at].rule->priority;
           ++end)
        passes = passes || spoken_[end].rule->verdict == Verdict::pass;
      if (spoken_[at].rule->tier == tier) {
        for (std::size_t each = at; each < end; ++each)
          spoken_[each].ordinal = static_cast<std::uint32_t>(next);
        next += 1 + (passes ? below : 0);
      }
      at = end;
    }
    if (next + below > kMostOrdinals) return refuse_levels();
    tier_end_[tier] = static_cast<std::uint32_t>(next);
    below += next;
  }
  for (std::uint32_t place = 0; place < spoken_.size(); ++place) {
    const Rule& rule = *spoken_[place].rule;
    note_protocols(spoken_[place]);
    if (spoken_[place].number == kByDefault || !rule.says()) continue;
    bool everybody = rule.peers.empty();
    for (const SelectorId id : rule.peers) {
      if (identities_->index().selector(id).empty()) {
        everybody = true;
        continue;
      }
      const auto [at, fresh] = local_.try_emplace(id, static_cast<Local>(peers_.size()));
      if (fresh) {
        peers_.push_back(id);
        marks_.push_back(identities_->index().signature(id));
        users_.emplace_back();
      }
      if (users_[at->second].empty() || users_[at->second].back() != place)
        users_[at->second].push_back(place);
    }
    if (everybody) for_all_.push_back(place);
    for (const PortRule& of : rule.ports)
      for (const Ports& ports : of.ports)
        asks_peer_ports_ = asks_peer_ports_ || (ports.name && direction_ == Direction::egress);
  }
}

// Classes.

void RuleSet::build() {
  verdicts_ = std::make_shared<Verdicts>(direction_, repository_.options(), enforced_, protocols_);
  shared_ = false;
  complete_ = spoken_.empty();
  known_.clear();
  aggregates_.assign(std::size(kAggregates), {});
  if (spoken_.empty()) return;
  IdentityIndex& index = identities_->index();
  for (std::size_t place = 0; place < std::size(kAggregates); ++place) {
    const Slot slot = identities_->slot_of(kAggregates[place]);
    if (slot == kNoSlot) continue;
    for (const SelectorId id : index.matching(index.terms(slot)))
      if (const auto at = local_.find(id); at != local_.end())
        aggregates_[place].matching.push_back(at->second);
  }

  // Whoever a peer selects, with what selects them: a scratch place for each slot, given back clean.
  auto& scratch = identities_->scratch();
  scratch.resize(index.slots());
  std::vector<Slot> selected;
  for (Local local = 0; local < peers_.size(); ++local)
    index.selected(peers_[local]).each([&](Slot slot) {
      auto& here = scratch[slot];
      if (!here.touched) selected.push_back(slot);
      here.touched = true;
      here.signature ^= marks_[local];
    });
  if (asks_peer_ports_)
    index.each_with_named_ports([&](Slot slot) {
      if (!scratch[slot].touched) selected.push_back(slot);
      scratch[slot].touched = true;
    });
  struct Fresh {
    Slot slot;
    std::vector<Local> matching;
  };
  std::vector<Fresh> fresh;
  for (const Slot slot : selected) {
    const IdentityNumber number = identities_->number_of(slot);
    const Who about = verdicts_->who(number);
    if (!repository_.knows(number) || about.is_aggregate) continue;
    Signature whole = scratch[slot].signature;
    whole ^= signature(about, index.named_ports(slot));
    const auto [at, is_new] = known_.try_emplace(whole, static_cast<ClassId>(fresh.size()));
    verdicts_->class_of.set(number, at->second);
    if (!is_new) continue;
    scratch[slot].fresh = static_cast<std::uint32_t>(fresh.size());
    fresh.push_back({slot, {}});
  }
  for (Local local = 0; local < peers_.size(); ++local)
    index.selected(peers_[local]).each([&](Slot slot) {
      if (scratch[slot].fresh != kNoSlot) fresh[scratch[slot].fresh].matching.push_back(local);
    });
  for (const Slot slot : selected) scratch[slot] = {};
  verdicts_->classes.reserve(fresh.size());
  for (const Fresh& each : fresh)
    make(verdicts_->who(identities_->number_of(each.slot)), each.matching, index.named_ports(each.slot));
}

void RuleSet::add(IdentityNumber number, Slot slot, std::span<const Local> matching) {
  if (spoken_.empty() || !repository_.knows(number)) return;
  const Who about = verdicts_->who(number);
  if (about.is_aggregate) return build();
  verdicts_->class_of.prefetch(number);
  Signature whole;
  for (const Local local : matching) whole ^= marks_[local];
  static const std::vector<NamedPort> kNotAsked;
  const auto& ports = asks_peer_ports_ ? identities_->index().named_ports(slot) : kNotAsked;
  if (matching.empty() && ports.empty()) return;
  whole ^= signature(about, ports);
  const ClassId found = class_of(whole, about, matching, ports);
  own().class_of.set(number, found);
}

void RuleSet::remove(IdentityNumber number) {
  if (spoken_.empty()) return;
  own().class_of.remove(number);
  if (verdicts_->who(number).is_aggregate) build();
}

RuleSet::ClassId RuleSet::class_of(const Signature& signature, const Who& who,
                                   std::span<const Local> matching, const std::vector<NamedPort>& ports) {
  // Classes that nobody is of any more are left out when there are many.
  constexpr std::size_t kSpare = 4096;
  if (verdicts_->classes.size() > kSpare + 4 * std::size_t{identities_->index().live().size()}) build();
  const auto at = known_.find(signature);
  if (at != known_.end()) return at->second;
  const ClassId made = make(who, matching, ports);
  known_.emplace(signature, made);
  return made;
}

// Of whom no peer is; made when the first question is asked.
void RuleSet::add_fallbacks() {
  auto& fallbacks = own().fallbacks;
  for (std::size_t at = 0; at < std::size(kAggregates); ++at) {
    const auto place = static_cast<std::uint8_t>(at);
    fallbacks[place] = make({false, true, place}, aggregates_[place].matching, {});
    fallbacks[std::size(kAggregates) + place] = make({false, false, place}, {}, {});
  }
  fallbacks[Verdicts::kHostFallback] = make(verdicts_->who(Verdicts::kHost), {}, {});
  complete_ = true;
}

std::shared_ptr<const Verdicts> RuleSet::share() {
  verdicts();
  shared_ = true;
  return verdicts_;
}

Verdicts& RuleSet::own() {
  if (shared_) verdicts_ = std::make_shared<Verdicts>(*verdicts_);
  shared_ = false;
  return *verdicts_;
}

const std::vector<RuleSet::Placed>& RuleSet::of_aggregate(std::uint8_t place) {
  Aggregate& aggregate = aggregates_[place];
  if (!aggregate.entries) aggregate.entries = placed({false, true, place}, aggregate.matching, {});
  return *aggregate.entries;
}

Signature RuleSet::signature(const Who& who, const std::vector<NamedPort>& ports) const {
  constexpr std::uint64_t kWho = std::uint64_t{1} << 62U;  // selectors' numbers are below
  constexpr std::uint64_t kPort = std::uint64_t{1} << 63U;
  const IdentityIndex& index = identities_->index();
  Signature found = index.signature(kWho | std::uint64_t{who.is_host} << 9U |
                                    std::uint64_t{who.is_aggregate} << 8U | who.aggregate);
  if (asks_peer_ports_)
    for (const NamedPort& port : ports)
      found ^= index.signature(kPort | std::uint64_t{port.name} << 24U | std::uint64_t{port.protocol} << 16U |
                               port.port);
  return found;
}

// The places in spoken_ of the rules about somebody whom these peers are; those for everybody aside.
std::vector<std::uint32_t> RuleSet::about(const Who& who, std::span<const Local> matching) const {
  std::vector<std::uint32_t> found;
  for (const Local local : matching) found.insert(found.end(), users_[local].begin(), users_[local].end());
  for (auto place = static_cast<std::uint32_t>(spoken_.size()); place > 0; --place) {
    const Spoken& by = spoken_[place - 1];
    if (by.number != kByDefault) break;
    if (by.whom == Verdicts::kHost ? who.is_host : who.is_aggregate) found.push_back(place - 1);
  }
  std::ranges::sort(found);
  const auto twice = std::ranges::unique(found);
  found.erase(twice.begin(), twice.end());
  return found;
}

// `peer_ports`: of the peer; without, of somebody of a rule for everybody that stands for many.
void RuleSet::add_drafts(std::uint32_t place, bool of_aggregate, const std::vector<NamedPort>* peer_ports,
                         std::vector<Draft>& into) const {
  const Spoken& by = spoken_[place & ~kOnlyNamed];
  const bool only_named = place & kOnlyNamed;
  const Rule& rule = *by.rule;
  Draft draft;
  draft.of_aggregate = of_aggregate;
  draft.ordinal = by.ordinal;
  draft.authentication = rule.authentication;
  draft.rule = by.number;
  const auto add = [&](std::uint8_t protocol, std::uint16_t port, std::uint8_t length) {
    draft.protocol = protocol;
    draft.port = port;
    draft.length = length;
    into.push_back(draft);
  };
  if (rule.ports.empty()) {
    if (only_named) return;
    draft.byte = rule.verdict == Verdict::deny ? kDeny : kAllow;
    return add(0, 0, 0);
  }
  for (const PortRule& of : rule.ports) {
    draft.byte = byte_of(rule, of);
    draft.proxy_port = rule.verdict == Verdict::allow ? of.proxy_port : std::uint16_t{0};
    for (const Ports& ports : of.ports) {
      if (only_named && !ports.name) continue;
      if (ports.name) {
        const bool by_peer = direction_ == Direction::egress;
        if (by_peer && !peer_ports) continue;
        const NamedPort* const port = named(by_peer ? *peer_ports : named_ports_, ports.name, ports.protocol);
        if (port) add(ports.protocol, port->port, kPortLength);
      } else if (!ports.protocol) {
        add(0, 0, 0);
      } else if (!ports.first) {
        add(ports.protocol, 0, kProtocolLength);
      } else {
        each_prefix(ports.first, ports.last,
                    [&](std::uint16_t port, std::uint8_t length) { add(ports.protocol, port, length); });
      }
    }
  }
}

// What decides on packets that reach a tier, the lower tiers included.
std::vector<RuleSet::Draft> RuleSet::from_tier(std::uint8_t tier, const std::vector<std::uint32_t>& own,
                                               const std::vector<std::uint32_t>& of_aggregate,
                                               const std::vector<NamedPort>& ports) const {
  std::vector<Draft> lower;
  if (tier < repository_.options().default_tier)
    lower = from_tier(static_cast<std::uint8_t>(tier + 1), own, of_aggregate, ports);
  std::vector<Draft> found;
  for (const bool is_aggregate : {false, true})
    for (const std::uint32_t place : is_aggregate ? of_aggregate : own) {
      const Rule& rule = *spoken_[place & ~kOnlyNamed].rule;
      if (rule.tier != tier) continue;
      if (rule.verdict != Verdict::pass) {
        add_drafts(place, is_aggregate, is_aggregate ? nullptr : &ports, found);
        continue;
      }
      std::vector<Draft> passes;
      add_drafts(place, is_aggregate, is_aggregate ? nullptr : &ports, passes);
      // What is said of the packets of a pass further down, said where it stands.
      for (const Draft& pass : passes)
        for (const Draft& draft : lower) {
          const bool inner = covers(pass, draft);
          if (!inner && !covers(draft, pass)) continue;
          Draft both = draft;
          if (!inner) {
            both.protocol = pass.protocol;
            both.port = pass.port;
            both.length = pass.length;
          }
          both.of_aggregate = pass.of_aggregate && draft.of_aggregate;
          both.ordinal += pass.ordinal + 1;
          found.push_back(both);
        }
    }
  for (Draft& draft : lower) {
    draft.ordinal += tier_end_[tier];
    found.push_back(draft);
  }
  return found;
}

std::vector<RuleSet::Placed> RuleSet::placed(const Who& who, std::span<const Local> matching,
                                             const std::vector<NamedPort>& ports) const {
  std::vector<Draft> drafts;
  std::vector<std::uint32_t> own = about(who, matching);
  const auto with_all = [&](std::vector<std::uint32_t> places) {
    places.insert(places.end(), for_all_.begin(), for_all_.end());
    std::ranges::sort(places);
    const auto twice = std::ranges::unique(places);
    places.erase(twice.begin(), twice.end());
    return places;
  };
  if (who.is_aggregate)
    own = with_all(std::move(own));
  else if (asks_peer_ports_)
    for (const std::uint32_t place : for_all_)
      if (!std::ranges::binary_search(own, place)) own.push_back(place | kOnlyNamed);
  if (passes_) {
    static const std::vector<std::uint32_t> kNobody;
    std::vector<std::uint32_t> besides;
    if (!who.is_aggregate)
      besides = with_all(about({false, true, who.aggregate}, aggregates_[who.aggregate].matching));
    drafts = from_tier(0, own, who.is_aggregate ? kNobody : besides, ports);
    std::erase_if(drafts, [](const Draft& draft) { return draft.of_aggregate; });
  } else {
    std::vector<std::uint32_t> offset(tier_end_.size());
    for (std::size_t tier = 1; tier < offset.size(); ++tier)
      offset[tier] = offset[tier - 1] + tier_end_[tier - 1];
    for (const std::uint32_t place : own) {
      const std::size_t before = drafts.size();
      add_drafts(place, false, who.is_aggregate ? nullptr : &ports, drafts);
      for (std::size_t at = before; at < drafts.size(); ++at)
        drafts[at].ordinal += offset[spoken_[place & ~kOnlyNamed].rule->tier];
    }
  }
  std::vector<Placed> all;
  all.reserve(drafts.size());
  for (const Draft& draft : drafts) {
    Entry entry{(kMostOrdinals - draft.ordinal) << 8U | draft.byte, 0, draft.authentication != 0,
                draft.proxy_port, draft.rule};
    if (draft.authentication) entry.authentication = static_cast<std::uint8_t>(draft.authentication - 1);
    all.push_back({draft.length, draft.protocol, draft.port, entry});
  }
  std::ranges::stable_sort(all, before_in_order<Placed>);
  std::size_t kept = 0;
  for (const Placed& each : all) {
    if (kept && same_ports(all[kept - 1], each))
      all[kept - 1].entry = merged(all[kept - 1].entry, each.entry);
    else
      all[kept++] = each;
  }
  all.resize(kept);
  return settled(all);
}

RuleSet::ClassId RuleSet::make(const Who& who, std::span<const Local> matching,
                               const std::vector<NamedPort>& ports) {
  const std::vector<Placed> entries = placed(who, matching, ports);
  static const std::vector<Placed> kNone;
  const auto& aggregate = who.is_aggregate ? kNone : of_aggregate(who.aggregate);
  const auto own_spans = spans(entries);
  const auto all_spans = spans(aggregate);
  Verdicts& to = own();
  Verdicts::Class made{static_cast<std::uint32_t>(to.starts.size()), 0,
                       static_cast<std::uint32_t>(to.entries.size()),
                       static_cast<std::uint32_t>(entries.size())};
  to.entries.insert(to.entries.end(), entries.begin(), entries.end());
  std::size_t own = 0;
  std::size_t all = 0;
  for (std::uint32_t at = 0; at != kEndOfPorts;) {
    const std::uint32_t mine = own_spans[own].which;
    const std::uint32_t theirs = all_spans[all].which;
    const Answer answer = chosen(mine == kNoEntry ? nullptr : &entries[mine],
                                 theirs == kNoEntry ? nullptr : &aggregate[theirs]);
    if (!made.count || !(to.answers.back() == answer)) {
      to.starts.push_back(at);
      to.answers.push_back(answer);
      ++made.count;
    }
    const std::uint32_t own_next = own + 1 < own_spans.size() ? own_spans[own + 1].start : kEndOfPorts;
    const std::uint32_t all_next = all + 1 < all_spans.size() ? all_spans[all + 1].start : kEndOfPorts;
    at = std::min(own_next, all_next);
    own += own_next == at;
    all += all_next == at;
  }
  to.classes.push_back(made);
  return static_cast<ClassId>(to.classes.size() - 1);
}

Answer RuleSet::chosen(const Placed* own, const Placed* all) {
  if (!own && !all) return {};
  if (!own || !all) return {own ? own->entry : all->entry, true};
  if (own->entry.precedence != all->entry.precedence)
    return {own->entry.precedence > all->entry.precedence ? own->entry : all->entry, true};
  if (own->entry.denies()) return {own->entry, true};
  if (own->length > all->length) return with_authentication(all->entry, own->entry);
  return with_authentication(own->entry, all->entry);
}

// Drops what a broader entry of a higher rank covers, so that one longest match finds what decides. Says of
// authentication what the most specific broader entry says; one that says it itself stays, under the higher
// rank (insertWithChanges, authPreferredInsert).
std::vector<RuleSet::Placed> RuleSet::settled(const std::vector<Placed>& all) {
  std::uint32_t lengths = 0;
  for (const Placed& each : all) lengths |= 1U << each.length;
  std::vector<Placed> found;
  found.reserve(all.size());
  for (const Placed& each : all) {
    Placed result = each;
    const Entry& entry = each.entry;
    bool derived = entry.explicit_authentication || entry.denies();
    bool raised = false;
    bool stays = true;
    for (std::uint32_t left = lengths & ((1U << each.length) - 1); left && stays;) {
      const auto length = static_cast<std::uint8_t>(31 - __builtin_clz(left));
      left &= ~(1U << length);
      const Placed* const outer = covering(all, each, length);
      if (!outer) continue;
      const Entry& cover = outer->entry;
      if (cover.precedence > entry.precedence) {
        stays = !cover.denies() && !entry.denies() && entry.explicit_authentication;
        if (!raised) result.entry.precedence = cover.precedence;
        raised = true;
      }
      if (!derived && cover.explicit_authentication && cover.level() >= entry.level()) {
        result.entry.authentication = cover.authentication;
        derived = true;
      }
    }
    if (stays) found.push_back(result);
  }
  return found;
}

}  // namespace fleetmesh::policy
