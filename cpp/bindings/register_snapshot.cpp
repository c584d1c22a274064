// Questions about one state.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <map>
#include <stdexcept>

#include "bindings.hpp"
#include "fleetmesh/merge.hpp"
#include "slotted_class.hpp"

namespace py = pybind11;

namespace fleetmesh::bindings {

namespace {

const char* type_name(FrontendType type) {
  switch (type) {
    case FrontendType::cluster_ip:
      return "ClusterIP";
    case FrontendType::node_port:
      return "NodePort";
    case FrontendType::load_balancer:
      return "LoadBalancer";
    case FrontendType::external_ips:
      return "ExternalIPs";
  }
  return "";
}

const char* protocol_name(std::uint8_t protocol) {
  return protocol == 6 ? "TCP" : protocol == 17 ? "UDP" : protocol == 132 ? "SCTP" : "";
}

}  // namespace

std::optional<ServiceId> service_id(const Snapshot& snapshot, const std::string& space,
                                    const std::string& name) {
  ServiceId id = 0;
  if (!snapshot.mesh->shared().services.find(space, name, id)) return std::nullopt;
  return id;
}

std::vector<std::size_t> reading_order(const std::vector<FrontendSpec>& frontends) {
  std::vector<std::size_t> order(frontends.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto key = [&](std::size_t i) {
    const FrontendSpec& f = frontends[i];
    return std::tuple(std::string(type_name(f.type)), f.address.text(), f.port,
                      std::string(protocol_name(f.protocol)), f.internal);
  };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  return order;
}

ClusterId require_member(const State& state, long long id) {
  if (id < 1 || id > 511 || !state.members.find(static_cast<ClusterId>(id)))
    throw std::out_of_range("no member has cluster id " + std::to_string(id));
  return static_cast<ClusterId>(id);
}

namespace {

std::vector<FrontendSpec> specs_of(const std::vector<FrontendView>& views) {
  std::vector<FrontendSpec> specs;
  for (const auto& view : views) specs.push_back(view.frontend);
  return specs;
}

using Texts = py::typing::Tuple<py::str, py::ellipsis>;
using BackendTuple =
    py::typing::Tuple<py::int_, py::str, py::int_, py::int_, Texts, py::int_, py::int_, Texts>;
using FrontendTuple = py::typing::Tuple<py::int_, py::bool_, py::str, py::int_, py::int_, py::str,
                                        py::typing::List<BackendTuple>, py::int_>;
using VerdictTuple = py::typing::Tuple<py::int_, BackendTuple, py::str, py::str>;
using PortTuple = py::typing::Tuple<py::str, py::int_, py::int_>;
using RecordTuple = py::typing::Tuple<py::str, py::str, py::str, Texts, py::typing::List<PortTuple>>;
using RowTuple = py::typing::Tuple<py::str, py::str, py::int_, py::int_, Texts, py::int_, py::int_, py::str,
                                   py::str, py::str>;
using Names = std::vector<std::pair<std::string, std::string>>;

const ServiceEntry* entry_of(const Snapshot& s, const std::string& space, const std::string& name) {
  const auto id = service_id(s, space, name);
  return id ? s.state->services.find(*id) : nullptr;
}

// A node nobody has named yet still is a place to look from.
StringId node_id(const Snapshot& s, const std::optional<std::string>& node) {
  return node ? s.mesh->shared().strings.id(*node) : 0;
}

py::tuple names_tuple(const Interner& strings, StringId names) {
  return py::tuple(py::cast(strings.parts(names)));
}

py::tuple node_tuple(const Interner& strings, const std::vector<StringId>& nodes) {
  std::vector<std::string> names;
  for (const StringId node : nodes) names.push_back(strings.text(node));
  std::sort(names.begin(), names.end());
  return py::tuple(py::cast(names));
}

py::tuple backend_tuple(const Interner& strings, const Candidate& c, const std::vector<StringId>& nodes) {
  return py::make_tuple(c.member, c.address.text(), c.port, c.protocol, names_tuple(strings, c.names),
                        static_cast<int>(c.state), c.weight, node_tuple(strings, nodes));
}

const char* state_name(BackendState state) {
  switch (state) {
    case BackendState::active:
      return "active";
    case BackendState::terminating:
      return "terminating";
    case BackendState::terminating_not_serving:
      return "terminating-not-serving";
    case BackendState::quarantined:
      return "quarantined";
    case BackendState::maintenance:
      return "maintenance";
  }
  return "";
}

py::typing::List<FrontendTuple> frontends(const Snapshot& s, long long id, const std::string& space,
                                          const std::string& name, const std::optional<std::string>& node) {
  const ClusterId viewer = require_member(*s.state, id);
  py::typing::List<FrontendTuple> result;
  const auto service = service_id(s, space, name);
  if (!service) return result;
  std::vector<FrontendView> views;
  {
    const py::gil_scoped_release release;
    views = Reader(s.state, *s.mesh).frontends(viewer, *service, node_id(s, node));
  }
  const Interner& strings = s.mesh->shared().strings;
  for (const std::size_t i : reading_order(specs_of(views))) {
    const FrontendView& view = views[i];
    const py::list backends(view.backends.size());
    for (std::size_t b = 0; b < view.backends.size(); ++b)
      backends[b] = backend_tuple(strings, view.backends[b].backend, view.backends[b].nodes);
    const FrontendSpec& f = view.frontend;
    result.append(py::make_tuple(static_cast<int>(f.type), f.internal, f.address.text(), f.port, f.protocol,
                                 strings.text(f.port_name), backends, view.in_use));
  }
  return result;
}

py::typing::List<VerdictTuple> candidates(const Snapshot& s, long long id, const std::string& space,
                                          const std::string& name, const std::optional<std::string>& node) {
  const ClusterId viewer = require_member(*s.state, id);
  py::typing::List<VerdictTuple> result;
  const auto service = service_id(s, space, name);
  if (!service) return result;
  std::vector<Verdict> verdicts;
  std::map<std::int32_t, std::size_t> position;  // of a frontend in frontends()
  {
    const py::gil_scoped_release release;
    const Reader reader(s.state, *s.mesh);
    verdicts = reader.verdicts(viewer, *service, node_id(s, node));
    std::size_t at = 0;
    for (const std::size_t i : reading_order(specs_of(reader.frontends(viewer, *service, node_id(s, node)))))
      position[static_cast<std::int32_t>(i)] = at++;
  }
  const Interner& strings = s.mesh->shared().strings;
  for (const auto& verdict : verdicts) {
    const auto at = position.find(verdict.frontend);
    const long frontend = at == position.end() ? -1 : static_cast<long>(at->second);
    result.append(py::make_tuple(frontend, backend_tuple(strings, verdict.backend, {}), name_of(verdict.rule),
                                 verdict.detail));
  }
  return result;
}

py::typing::Tuple<py::object, py::ellipsis> used(const Snapshot& s, const py::type& backend, long long id,
                                                 const std::string& space, const std::string& name,
                                                 const std::optional<std::string>& node) {
  const ClusterId viewer = require_member(*s.state, id);
  const auto service = service_id(s, space, name);
  if (!service) return {};
  std::vector<BackendView> views;
  {
    const py::gil_scoped_release release;
    views = Reader(s.state, *s.mesh).used(viewer, *service, node_id(s, node));
  }
  const Interner& strings = s.mesh->shared().strings;
  const SlottedClass maker(
      backend, {"cluster", "address", "port", "port_names", "protocol", "state", "weight", "nodes"});
  std::map<ClusterId, py::str> clusters;
  std::map<StringId, py::tuple> port_names;
  std::map<std::uint8_t, py::str> protocols;
  std::map<BackendState, py::str> states;
  const py::tuple everywhere;
  py::typing::Tuple<py::object, py::ellipsis> result(views.size());
  for (std::size_t i = 0; i < views.size(); ++i) {
    const auto& [c, nodes] = views[i];
    auto cluster = clusters.find(c.member);
    if (cluster == clusters.end())
      cluster = clusters.emplace(c.member, strings.text(s.state->members.find(c.member)->name)).first;
    auto names = port_names.find(c.names);
    if (names == port_names.end()) names = port_names.emplace(c.names, names_tuple(strings, c.names)).first;
    auto protocol = protocols.find(c.protocol);
    if (protocol == protocols.end())
      protocol = protocols.emplace(c.protocol, protocol_name(c.protocol)).first;
    auto state = states.find(c.state);
    if (state == states.end()) state = states.emplace(c.state, state_name(c.state)).first;
    const py::object on = nodes.empty() ? py::object(everywhere) : node_tuple(strings, nodes);
    result[i] = maker.make({cluster->second, py::str(c.address.text()), py::int_(c.port), names->second,
                            protocol->second, state->second, py::int_(c.weight), on});
  }
  return result;
}

std::optional<py::typing::List<RecordTuple>> record(const Snapshot& s, long long id, const std::string& space,
                                                    const std::string& name) {
  const ClusterId member = require_member(*s.state, id);
  const auto service = service_id(s, space, name);
  std::vector<RecordEntry> entries;
  if (!service || !Reader(s.state, *s.mesh).record(member, *service, entries)) return std::nullopt;
  const Interner& strings = s.mesh->shared().strings;
  py::typing::List<RecordTuple> result;
  for (const auto& entry : entries) {
    std::vector<std::tuple<std::string, int, int>> ports;
    for (std::size_t i = 0; i < entry.ports.size(); ++i) {
      if (!entry.ports[i].has_port()) continue;
      if (entry.rows[i].unnamed) ports.emplace_back("", entry.ports[i].protocol, entry.ports[i].port);
      for (const auto& port_name : strings.parts(entry.rows[i].names))
        ports.emplace_back(port_name, entry.ports[i].protocol, entry.ports[i].port);
    }
    auto zone = strings.parts(entry.zone);
    const std::string first = zone.empty() ? "" : zone.front();
    if (!zone.empty()) zone.erase(zone.begin());
    result.append(py::make_tuple(entry.address.text(), strings.text(entry.hostname), first,
                                 py::tuple(py::cast(zone)), ports));
  }
  return result;
}

py::typing::List<RowTuple> own_backends(const Snapshot& s, long long id, const std::string& space,
                                        const std::string& name) {
  const ClusterId member = require_member(*s.state, id);
  py::typing::List<RowTuple> result;
  const auto service = service_id(s, space, name);
  if (!service) return result;
  const Interner& strings = s.mesh->shared().strings;
  s.state->each_row(*service, member, [&](ClusterId, const RowKey& key, const Row& row) {
    if (!key.has_port()) return;
    const auto zone = strings.parts(row.zone);
    result.append(py::make_tuple(strings.text(key.slice), key.address().text(), key.port, key.protocol,
                                 names_tuple(strings, row.names), static_cast<int>(row.state), row.weight,
                                 strings.text(row.node), zone.empty() ? "" : zone.front(),
                                 strings.text(row.hostname)));
  });
  return result;
}

using Duplicate = std::tuple<std::string, int, int, std::vector<ClusterId>>;

std::vector<Duplicate> duplicates(const Snapshot& s, const std::string& space, const std::string& name) {
  std::map<std::tuple<Address, std::uint16_t, std::uint8_t>, MemberSet> claims;
  std::vector<Duplicate> result;
  const auto service = service_id(s, space, name);
  if (!service) return result;
  s.state->each_row(*service, 0, [&](ClusterId holder, const RowKey& key, const Row&) {
    if (key.has_port()) claims[{key.address(), key.port, key.protocol}].add(holder);
  });
  for (const auto& [place, members] : claims) {
    if (members.count() < 2) continue;
    const auto& [address, port, protocol] = place;
    result.emplace_back(address.text(), port, protocol, members.list());
  }
  return result;
}

Names services(const Snapshot& s, long long id) {
  const ClusterId member = require_member(*s.state, id);
  Names names;
  for (auto at = s.state->holdings.lower_bound({member, 0}); at && at.key().member == member; at.next())
    if (at.value()) names.push_back(s.mesh->shared().services.name(at.key().service));
  std::sort(names.begin(), names.end());
  return names;
}

Names changed_since(const Snapshot& s, const Snapshot& other) {
  if (&s.mesh->shared() != &other.mesh->shared())
    throw std::invalid_argument("the two states are of meshes that share no history");
  Names names;
  decltype(State::services)::compare(
      other.state->services, s.state->services,
      [](const ServiceEntry& a, const ServiceEntry& b) { return a.version == b.version; },
      [&](ServiceId service) { names.push_back(s.mesh->shared().services.name(service)); });
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

void register_snapshot(py::module_& module) {
  py::class_<Snapshot>(module, "Snapshot", "The facts at one generation. Never changes.")
      .def_property_readonly("generation", [](const Snapshot& s) { return s.state->generation; })
      .def("services", &services, py::arg("cluster_id"),
           "(namespace, name) of every Service of a member, sorted.")
      .def(
          "spec",
          [](const Snapshot& s, long long id, const std::string& space,
             const std::string& name) -> std::optional<SpecArguments> {
            const auto service = service_id(s, space, name);
            const ClusterId member = require_member(*s.state, id);
            const ServiceSpec* spec = service ? s.state->spec(member, *service) : nullptr;
            if (!spec) return std::nullopt;
            return from_spec(*spec, s.mesh->shared().strings);
          },
          py::arg("cluster_id"), py::arg("namespace"), py::arg("name"))
      .def(
          "holders",
          [](const Snapshot& s, const std::string& space, const std::string& name) {
            std::vector<ClusterId> members;
            const auto service = service_id(s, space, name);
            const ServiceEntry* entry = entry_of(s, space, name);
            if (!entry) return members;
            entry->holders.each([&](ClusterId id) {
              const Offer* offer = s.state->offers.find({*service, id});
              if (offer->spec || offer->has_ports()) members.push_back(id);
            });
            return members;
          },
          py::arg("namespace"), py::arg("name"), "Members with a Service or endpoints of that name.")
      .def(
          "exporters",
          [](const Snapshot& s, const std::string& space, const std::string& name) {
            const ServiceEntry* entry = entry_of(s, space, name);
            return entry ? entry->exporters.list() : std::vector<ClusterId>{};
          },
          py::arg("namespace"), py::arg("name"), "Members whose record of the service receivers accept.")
      .def(
          "hears",
          [](const Snapshot& s, long long viewer) {
            return s.state->members.find(require_member(*s.state, viewer))->hears.list();
          },
          py::arg("viewer"))
      .def("frontends", &frontends, py::arg("cluster_id"), py::arg("namespace"), py::arg("name"),
           py::arg("node") = py::none(),
           "(type, internal, address, port, protocol, port name, backends, in_use) each; a backend is "
           "(cluster id, address, port, protocol, port names, state, weight, nodes that have it in "
           "use, none: all).")
      .def("used", &used, py::arg("backend"), py::arg("cluster_id"), py::arg("namespace"), py::arg("name"),
           py::arg("node") = py::none(),
           "The union of what the frontends have in use, as instances of the class `backend`, which has the "
           "slots cluster, address, port, port_names, protocol, state, weight and nodes; in order of cluster "
           "id, address, port and protocol.")
      .def("candidates", &candidates, py::arg("cluster_id"), py::arg("namespace"), py::arg("name"),
           py::arg("node") = py::none(),
           "(frontend or -1, backend, rule, detail) for every backend of every member.")
      .def("record", &record, py::arg("cluster_id"), py::arg("namespace"), py::arg("name"),
           "(address, hostname, zone, zones of hints, ports) each; None without a record.")
      .def("backends", &own_backends, py::arg("cluster_id"), py::arg("namespace"), py::arg("name"),
           "Own rows: (slice, address, port, protocol, names, state, weight, node, zone, hostname).")
      .def("changed_since", &changed_since, py::arg("other"),
           "(namespace, name) of the services whose facts differ; skips what both share.")
      .def("duplicates", &duplicates, py::arg("namespace"), py::arg("name"),
           "(address, port, protocol, cluster ids) that several members list.");
}

}  // namespace fleetmesh::bindings
