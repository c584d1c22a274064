// Whether rules about one endpoint can all be carried out.
#include <algorithm>
#include <optional>
#include <string_view>

#include "rule_set.hpp"

namespace fleetmesh::policy {
namespace {

// What takes over where rules ask for both; nothing where that can't be (L7ParserType.Merge).
std::optional<Parser> merged(Parser one, Parser other) {
  if (one == other || other == Parser::none) return one;
  if (one == Parser::none) return other;
  if ((one == Parser::tls && other == Parser::http) || (one == Parser::http && other == Parser::tls))
    return Parser::http;
  return std::nullopt;
}

}  // namespace

void RuleSet::agree() {
  std::map<Place, Agreed> known;
  for (const Spoken& by : spoken_) agree(by, known);
}

void RuleSet::agree(const Spoken& by, std::map<Place, Agreed>& known) {
  const Rule& rule = *by.rule;
  if (!rule.says()) return;
  constexpr SelectorId kEverybody = ~0U;
  const auto each_peer = [&](const Ports& ports, const PortRule& of) {
    const auto place = [&](SelectorId peer) {
      return Place{rule.tier, ports.protocol, ports.first, ports.last, ports.name, peer};
    };
    const Agreed wanted{&by,          of.parser, of.listener, of.listener_priority, rule.authentication,
                        of.asks_names};
    if (rule.peers.empty()) agree(place(kEverybody), wanted, known);
    for (const SelectorId peer : rule.peers) {
      const bool everybody = identities_->index().selector(peer).empty();
      agree(place(everybody ? kEverybody : peer), wanted, known);
    }
  };
  if (rule.ports.empty()) each_peer({}, {});
  for (const PortRule& of : rule.ports)
    for (const Ports& ports : of.ports) each_peer(ports, of);
}

void RuleSet::agree(const Place& place, const Agreed& wanted, std::map<Place, Agreed>& all) {
  const auto [at, fresh] = all.try_emplace(place, wanted);
  if (fresh || conflict_) return;
  Agreed& known = at->second;
  if (known.by->rule->priority < wanted.by->rule->priority) return;
  const Verdict one = known.by->rule->verdict;
  const Verdict other = wanted.by->rule->verdict;
  if (one != other) {
    const bool other_decides = other == Verdict::deny || (other == Verdict::allow && one == Verdict::pass);
    if (other_decides) known = wanted;
    return;
  }
  if (other != Verdict::allow) return;
  const auto conflict = [&](std::string_view why) {
    conflict_ = Conflict{known.by->number, wanted.by->number, std::string(why)};
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

}  // namespace fleetmesh::policy
