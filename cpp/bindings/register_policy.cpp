// The policies of one cluster, and what an endpoint is judged by.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <tuple>
#include <vector>

#include "bindings.hpp"
#include "fleetmesh/policy.hpp"

namespace py = pybind11;

namespace fleetmesh::bindings {
namespace {

using policy::Direction;
using policy::EndpointPolicy;
using policy::Repository;

using RequirementRow = std::pair<bool, std::vector<policy::Term>>;
using NamedPortRow = std::tuple<policy::Name, std::uint8_t, std::uint16_t>;
using PortsRow = std::tuple<std::uint8_t, std::uint16_t, std::uint16_t, policy::Name>;
using PortRuleRow =
    std::tuple<std::vector<PortsRow>, std::uint8_t, policy::Name, std::uint8_t, bool, std::uint16_t>;
// direction, verdict, tier, priority, subject, on host, default deny, nobody, peers, ports, authentication
using RuleRow = std::tuple<std::uint8_t, std::uint8_t, std::uint8_t, double, std::uint32_t, bool, bool, bool,
                           std::vector<std::uint32_t>, std::vector<PortRuleRow>, std::uint8_t>;

policy::Selector selector_of(const std::vector<RequirementRow>& rows) {
  policy::Selector selector;
  for (const auto& [negated, any_of] : rows) selector.push_back({negated, any_of});
  return selector;
}

policy::Identity identity_of(std::vector<policy::Term> terms, const std::vector<NamedPortRow>& ports) {
  policy::Identity identity{std::move(terms), {}};
  for (const auto& [name, protocol, port] : ports) identity.named_ports.push_back({name, protocol, port});
  return identity;
}

policy::Rule rule_of(const RuleRow& row) {
  policy::Rule rule;
  const auto& [direction, verdict, tier, priority, subject, on_host, default_deny, nobody, peers, ports,
               authentication] = row;
  rule.direction = static_cast<Direction>(direction);
  rule.verdict = static_cast<policy::Verdict>(verdict);
  rule.tier = tier;
  rule.priority = priority;
  rule.subject = subject;
  rule.on_host = on_host;
  rule.default_deny = default_deny;
  rule.nobody = nobody;
  rule.peers = peers;
  rule.authentication = authentication;
  for (const auto& [list, parser, listener, listener_priority, asks_names, proxy_port] : ports) {
    policy::PortRule of{
        {}, static_cast<policy::Parser>(parser), listener, listener_priority, asks_names, proxy_port};
    for (const auto& [protocol, first, last, name] : list) of.ports.push_back({protocol, first, last, name});
    rule.ports.push_back(std::move(of));
  }
  return rule;
}

}  // namespace

void register_policy(py::module_& module) {
  py::class_<policy::Identities, std::shared_ptr<policy::Identities>>(
      module, "PolicyIdentities", "The identities of a mesh, for the policies of all its clusters.")
      .def(py::init<>())
      .def(
          "set",
          [](policy::Identities& self, std::uint32_t number, std::vector<policy::Term> terms,
             const std::vector<NamedPortRow>& named_ports) {
            self.set(number, identity_of(std::move(terms), named_ports));
          },
          py::arg("number"), py::arg("terms"), py::arg("named_ports"),
          "Terms: numbers of what is true of its labels; named ports: (name, protocol, port) each.")
      .def("remove", &policy::Identities::remove, py::arg("number"))
      .def(
          "spread",
          [](policy::Identities& self, const std::vector<RequirementRow>& selector,
             std::uint32_t cluster_shift) { return self.spread(selector_of(selector), cluster_shift); },
          py::arg("selector"), py::arg("cluster_shift"),
          "Cluster id -> how many of its identities a list of (negated, terms) selects; 0: those of none.");

  py::class_<EndpointPolicy>(module, "EndpointPolicy", "What one endpoint is judged by.")
      .def(
          "enforced",
          [](const EndpointPolicy& self, bool ingress) {
            return self.enforced(ingress ? Direction::ingress : Direction::egress);
          },
          py::arg("ingress"), "Whether any rule speaks about that direction.")
      .def(
          "isolated",
          [](const EndpointPolicy& self, bool ingress) {
            return self.isolated(ingress ? Direction::ingress : Direction::egress);
          },
          py::arg("ingress"), "Whether what no rule allows is refused.")
      .def_property_readonly(
          "conflict",
          [](const EndpointPolicy& self)
              -> std::optional<std::tuple<std::uint32_t, std::uint32_t, std::string>> {
            if (!self.conflict()) return std::nullopt;
            return std::tuple(self.conflict()->rule, self.conflict()->other, self.conflict()->why);
          },
          "(number of a rule, of another, why they can't both be carried out), or None.")
      .def(
          "lookup",
          [](const EndpointPolicy& self, bool ingress, std::uint32_t peer, std::uint8_t protocol,
             std::uint16_t port) {
            const auto answer =
                self.lookup(ingress ? Direction::ingress : Direction::egress, peer, protocol, port);
            const policy::Entry& entry = answer.entry;
            return std::tuple(answer.found, entry.precedence, entry.authentication,
                              entry.explicit_authentication, entry.rule);
          },
          py::arg("ingress"), py::arg("peer"), py::arg("protocol"), py::arg("port"),
          "(found, precedence, authentication, whether that is explicit, number of the rule).")
      .def(
          "answers",
          [](const EndpointPolicy& self, bool ingress, std::uint32_t peer) {
            std::vector<std::tuple<std::uint32_t, bool, std::uint32_t, std::uint32_t>> rows;
            for (const auto& [start, answer] :
                 self.answers(ingress ? Direction::ingress : Direction::egress, peer))
              rows.emplace_back(start, answer.found, answer.entry.precedence, answer.entry.rule);
            return rows;
          },
          py::arg("ingress"), py::arg("peer"),
          "(protocol << 16 | port from which on it holds, found, precedence, number of the rule) each.")
      .def(
          "entries",
          [](const EndpointPolicy& self) {
            using Row = std::tuple<bool, std::uint32_t, std::uint8_t, std::uint16_t, std::uint8_t,
                                   std::uint32_t, std::uint8_t, bool, std::uint32_t>;
            std::vector<Row> rows;
            self.each_entry([&](const policy::Key& key, const policy::Entry& entry) {
              rows.emplace_back(key.direction == Direction::ingress, key.identity, key.protocol, key.port,
                                key.length, entry.precedence, entry.authentication,
                                entry.explicit_authentication, entry.rule);
            });
            return rows;
          },
          "(ingress, identity, protocol, port, bits of protocol and port that count, precedence, "
          "authentication, whether that is explicit, number of the rule) each.")
      .def("__len__", &EndpointPolicy::size)
      .def(
          "shares", [](const EndpointPolicy& self, const EndpointPolicy& other) { return self == other; },
          py::arg("other"), "Whether the very same rule sets decide.");

  py::class_<Repository>(module, "PolicyRepository",
                         "The policies of one cluster, over the identities of a mesh.")
      .def(py::init([](std::shared_ptr<policy::Identities> identities, std::uint8_t enforcement,
                       bool allow_host, bool host_firewall, bool isolation_is_final, std::uint32_t cluster,
                       std::uint32_t cluster_shift) {
             policy::Options options;
             options.enforcement = static_cast<policy::Enforcement>(enforcement);
             options.allow_host = allow_host;
             options.host_firewall = host_firewall;
             options.isolation_is_final = isolation_is_final;
             options.cluster = cluster;
             options.cluster_shift = cluster_shift;
             return std::make_unique<Repository>(std::move(identities), options);
           }),
           py::arg("identities"), py::kw_only(), py::arg("enforcement"), py::arg("allow_host"),
           py::arg("host_firewall"), py::arg("isolation_is_final"), py::arg("cluster"),
           py::arg("cluster_shift"))
      .def("hear", &Repository::hear, py::arg("clusters"),
           "The ids of the other clusters whose identities it knows.")
      .def(
          "set_rules",
          [](Repository& self, const std::string& policy,
             const std::vector<std::vector<RequirementRow>>& selectors, const std::vector<RuleRow>& rules) {
            std::vector<policy::Selector> compiled;
            for (const auto& rows : selectors) compiled.push_back(selector_of(rows));
            std::vector<policy::Rule> all;
            for (const auto& row : rules) all.push_back(rule_of(row));
            return self.set_rules(policy, compiled, std::move(all));
          },
          py::arg("policy"), py::arg("selectors"), py::arg("rules"),
          "The rules of a policy, in the place of those it had; selectors are lists of (negated, terms of "
          "which any is enough). Returns the number of the first rule; the others follow.")
      .def("remove_rules", &Repository::remove_rules, py::arg("policy"))
      .def(
          "resolve",
          [](Repository& self, std::vector<policy::Term> terms, const std::vector<NamedPortRow>& named_ports,
             bool is_host, bool is_init) {
            return self.resolve(identity_of(std::move(terms), named_ports), is_host, is_init);
          },
          py::arg("terms"), py::arg("named_ports"), py::arg("is_host"), py::arg("is_init"),
          py::keep_alive<0, 1>(), "What it returns follows the identities that come and go afterwards.")
      .def(
          "resolve_known", [](Repository& self, std::uint32_t number) { return self.resolve(number); },
          py::arg("number"), py::keep_alive<0, 1>(),
          "Of a pod with that identity, whose terms and ports are known. Raises IndexError if it is not.")
      .def(
          "aggregate_of",
          [](const Repository& self, std::uint32_t identity) {
            return policy::aggregate_of(identity, self.options());
          },
          py::arg("identity"), "Of whom an entry is asked for besides the identity's own.");
}

}  // namespace fleetmesh::bindings
