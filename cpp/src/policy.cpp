#include "fleetmesh/policy.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "rule_set.hpp"

namespace fleetmesh::policy {
namespace {

constexpr std::size_t kFewSets = 64;
constexpr IdentityNumber kFirstOfPods = 256;  // below are the reserved ones, which every cluster has

}  // namespace

bool EndpointPolicy::enforced(Direction direction) const {
  const auto& found = side(direction);
  return found && found->enforced();
}

bool EndpointPolicy::isolated(Direction direction) const {
  const auto& found = side(direction);
  return found && found->isolated();
}

std::shared_ptr<const Verdicts> EndpointPolicy::verdicts(Direction direction) const {
  const auto& found = side(direction);
  return found && found->enforced() ? found->share() : nullptr;
}

const std::optional<Conflict>& EndpointPolicy::conflict() const {
  static const std::optional<Conflict> kNone;
  for (const auto* each : {&egress_, &ingress_})
    if (*each && (*each)->conflict()) return (*each)->conflict();
  return kNone;
}

Answer EndpointPolicy::lookup(Direction direction, IdentityNumber peer, std::uint8_t protocol,
                              std::uint16_t port) const {
  const auto& found = side(direction);
  return found ? found->verdicts().lookup(peer, protocol, port) : Verdicts::kOpen;
}

std::vector<std::pair<std::uint32_t, Answer>> EndpointPolicy::answers(Direction direction,
                                                                      IdentityNumber peer) const {
  const auto& found = side(direction);
  if (!found) return {{0, Verdicts::kOpen}};
  const Verdicts& verdicts = found->verdicts();
  if (!verdicts.enforced) return {{0, Verdicts::kOpen}};
  if (verdicts.classes.empty()) return {{0, Answer{}}};
  Verdicts::ClassId id = verdicts.class_of.find(peer);
  if (id == Verdicts::kNoClass) id = verdicts.fallback(peer);
  const Verdicts::Class& of = verdicts.classes[id];
  std::vector<std::pair<std::uint32_t, Answer>> all;
  for (std::uint32_t at = of.first; at < of.first + of.count; ++at)
    all.emplace_back(verdicts.starts[at], verdicts.answers[at]);
  return all;
}

void EndpointPolicy::each_entry(const std::function<void(const Key&, const Entry&)>& visit) const {
  for (const auto* each : {&egress_, &ingress_})
    if (*each) (*each)->verdicts().each_entry(visit);
}

std::size_t EndpointPolicy::size() const {
  std::size_t count = 0;
  each_entry([&](const Key&, const Entry&) { ++count; });
  return count;
}

Repository::Repository(std::shared_ptr<Identities> identities, const Options& options)
    : identities_(std::move(identities)), options_(options) {
  hear({});
}

Repository::~Repository() {
  for (const auto& [key, policy] : policies_)
    for (const SelectorId id : policy->selectors) identities_->index().release(id);
}

void Repository::hear(std::vector<std::uint32_t> clusters) {
  clusters.push_back(options_.cluster);
  std::vector<bool> heard(std::ranges::max(clusters) + 1U);
  for (const std::uint32_t cluster : clusters) heard[cluster] = true;
  if (heard == heard_) return;
  heard_ = std::move(heard);
  for (const auto& [key, set] : sets_)
    if (const auto living = set.lock()) living->build();
}

bool Repository::knows(IdentityNumber number) const {
  if (number < kFirstOfPods || number >> 24U) return true;
  const std::uint32_t cluster = number >> options_.cluster_shift;
  return cluster < heard_.size() && heard_[cluster];
}

std::uint32_t Repository::set_rules(const std::string& policy, const std::vector<Selector>& selectors,
                                    std::vector<Rule> rules) {
  const auto known = [&](std::uint32_t place) { return place < selectors.size(); };
  for (const Rule& rule : rules)
    if (!known(rule.subject) || !std::ranges::all_of(rule.peers, known) || rule.tier > options_.default_tier)
      throw std::invalid_argument("a rule names a selector or a tier that there is not");
  if (rules.size() > kByDefault - next_number_) throw std::length_error("there is no number left for a rule");
  const auto made = std::make_shared<PolicyRules>();
  made->key = policy;
  made->first = next_number_;
  for (const Selector& selector : selectors)
    made->selectors.push_back(identities_->index().acquire(selector));
  for (Rule& rule : rules) {
    rule.subject = made->selectors[rule.subject];
    for (std::uint32_t& peer : rule.peers) peer = made->selectors[peer];
  }
  made->rules = std::move(rules);
  next_number_ += static_cast<std::uint32_t>(made->rules.size());
  remove_rules(policy);
  for (std::uint32_t at = 0; at < made->rules.size(); ++at)
    by_subject_[made->rules[at].subject].push_back({made.get(), at});
  policies_[policy] = made;
  return made->first;
}

void Repository::remove_rules(const std::string& policy) {
  const auto at = policies_.find(policy);
  if (at == policies_.end()) return;
  const auto old = std::move(at->second);
  policies_.erase(at);
  for (const Rule& rule : old->rules) {
    const auto speaking = by_subject_.find(rule.subject);
    if (speaking == by_subject_.end()) continue;  // all of its rules about that subject are out already
    std::erase_if(speaking->second, [&](const RuleRef& each) { return each.of == old.get(); });
    if (speaking->second.empty()) by_subject_.erase(speaking);
  }
  for (const SelectorId id : old->selectors) identities_->index().release(id);
}

EndpointPolicy Repository::resolve(const Identity& subject, bool is_host, bool is_init) {
  if (options_.enforcement == Enforcement::never || (is_host && !options_.host_firewall))
    return {nullptr, nullptr};
  auto egress = rule_set(Direction::egress, subject, is_host, is_init);
  return {std::move(egress), rule_set(Direction::ingress, subject, is_host, is_init)};
}

EndpointPolicy Repository::resolve(IdentityNumber number) {
  const Slot slot = identities_->slot_of(number);
  if (slot == kNoSlot) throw std::out_of_range("no identity has the number " + std::to_string(number));
  const IdentityIndex& index = identities_->index();
  return resolve({index.terms(slot), index.named_ports(slot)}, false, false);
}

std::shared_ptr<RuleSet> Repository::rule_set(Direction direction, const Identity& subject, bool is_host,
                                              bool is_init) {
  std::vector<RuleRef> speaking;
  bool names_port = false;
  for (const SelectorId id : identities_->index().matching(subject.terms)) {
    const auto at = by_subject_.find(id);
    if (at == by_subject_.end()) continue;
    for (const RuleRef& each : at->second) {
      const Rule& rule = each.rule();
      if (rule.direction != direction || rule.on_host != is_host) continue;
      speaking.push_back(each);
      for (const PortRule& of : rule.ports)
        for (const Ports& ports : of.ports) names_port = names_port || ports.name;
    }
  }
  std::ranges::sort(speaking, [](const RuleRef& one, const RuleRef& other) {
    return one.of == other.of ? one.at < other.at : one.of->key < other.of->key;
  });
  std::vector<std::uint32_t> numbers;
  for (const RuleRef& each : speaking) numbers.push_back(each.number());
  std::vector<std::uint32_t> ports;
  if (names_port && direction == Direction::ingress)
    for (const NamedPort& port : subject.named_ports)
      ports.insert(ports.end(), {port.name, std::uint32_t{port.protocol} << 16U | port.port});
  if (sets_.size() >= sweep_at_) {
    std::erase_if(sets_, [](const auto& each) { return each.second.expired(); });
    sweep_at_ = 2 * sets_.size() + kFewSets;
  }
  auto& known = sets_[SetKey{direction, is_host, is_init, std::move(numbers), std::move(ports)}];
  auto set = known.lock();
  if (!set) {
    set = std::make_shared<RuleSet>(*this, direction, speaking, subject.named_ports, is_host, is_init);
    known = set;
  }
  return set;
}

}  // namespace fleetmesh::policy
