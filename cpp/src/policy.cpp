#include "fleetmesh/policy.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "resolution.hpp"

namespace fleetmesh::policy {

IdentityNumber aggregate_of(IdentityNumber identity, const Options& options) {
  constexpr IdentityNumber kReserved = 100;
  constexpr std::uint32_t kLocalScope = 1;
  constexpr std::uint32_t kNodeScope = 2;
  if (identity == kAny || (kAggregateCluster <= identity && identity <= kAggregateRemoteNode))
    return identity;
  if (identity < kReserved) return kAny;
  const std::uint32_t scope = identity >> 24U;
  if (scope == kNodeScope) return kAggregateRemoteNode;
  if (scope == kLocalScope) return kAggregateWorld;
  return identity >> options.cluster_shift == options.cluster ? kAggregateCluster : kAggregateClusterMesh;
}

std::size_t KeyHash::operator()(const Key& key) const {
  std::uint64_t bits = std::uint64_t{key.identity} << 32U | std::uint64_t{key.port} << 16U |
                       std::uint64_t{key.protocol} << 8U | std::uint64_t{key.length} << 1U |
                       static_cast<std::uint64_t>(key.direction);
  bits *= 0x9e3779b97f4a7c15U;
  return static_cast<std::size_t>(bits ^ bits >> 32U);
}

bool selects(const Selector& selector, const std::vector<Term>& terms) {
  return std::ranges::all_of(selector, [&](const Requirement& requirement) {
    const bool any = std::ranges::any_of(requirement.any_of,
                                         [&](Term term) { return std::ranges::binary_search(terms, term); });
    return any != requirement.negated;
  });
}

std::optional<Answer> EndpointPolicy::longest(Key key) const {
  const std::uint16_t port = key.port;
  const std::uint8_t protocol = key.protocol;
  for (std::uint32_t left = sides_[index(key.direction)].lengths; left;) {
    const auto length = static_cast<std::uint8_t>(31 - __builtin_clz(left));
    left &= ~(1U << length);
    key.length = length;
    key.protocol = length ? protocol : std::uint8_t{0};
    const std::uint32_t bits = length > 8 ? length - 8U : 0;
    key.port = static_cast<std::uint16_t>(port & (0xffff0000U >> bits));
    const auto found = entries_.find(key);
    if (found != entries_.end()) return Answer{found->second, key, true};
  }
  return std::nullopt;
}

namespace {

// The entry keeps its own authentication if it says one; else another's of no lower rank counts
// (mapState.lookup).
Answer with_authentication(Answer answer, const Entry& other) {
  Entry& entry = answer.entry;
  if (!entry.explicit_authentication && other.authentication > entry.authentication &&
      other.allow_precedence() >= entry.allow_precedence())
    entry.authentication = other.authentication;
  return answer;
}

}  // namespace

Answer EndpointPolicy::lookup(Direction direction, IdentityNumber peer, IdentityNumber aggregate,
                              std::uint8_t protocol, std::uint16_t port) const {
  if (!enforced(direction)) return {{1, 0, false, kByDefault}, {}, true};
  const Key key{peer, port, direction, protocol, 0};
  Key of_all = key;
  of_all.identity = aggregate;
  const auto own = peer == aggregate ? std::nullopt : longest(key);
  const auto all = longest(of_all);
  if (!own && !all) return {};
  if (!own || !all) return own ? *own : *all;
  if (own->entry.precedence != all->entry.precedence)
    return own->entry.precedence > all->entry.precedence ? *own : *all;
  if (own->entry.denies()) return *own;
  if (own->key.length > all->key.length) return with_authentication(*all, own->entry);
  return with_authentication(*own, all->entry);
}

Repository::Repository(const Options& options) : options_(options) {}

void Repository::set_identity(IdentityNumber number, Identity identity) {
  std::ranges::sort(identity.terms);
  identities_[number] = std::move(identity);
}

void Repository::remove_identity(IdentityNumber number) { identities_.erase(number); }

void Repository::set_rules(std::vector<Selector> selectors, std::vector<Rule> rules) {
  const auto known = [&](std::uint32_t number) { return number < selectors.size(); };
  for (const Rule& rule : rules)
    if (!known(rule.subject) || !std::ranges::all_of(rule.peers, known) || rule.tier > options_.default_tier)
      throw std::invalid_argument("a rule names a selector or a tier that there is not");
  selectors_ = std::move(selectors);
  rules_ = std::move(rules);
}

EndpointPolicy Repository::resolve(Identity subject, bool is_host, bool is_init) const {
  std::ranges::sort(subject.terms);
  return Resolution(*this, subject, is_host, is_init).run();
}

}  // namespace fleetmesh::policy
