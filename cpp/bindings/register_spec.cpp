// What one member's Service says.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>

#include "bindings.hpp"

namespace py = pybind11;

namespace fleetmesh::bindings {
namespace {

template <class Enum>
Enum to_enum(const char* what, int number, int last) {
  if (number < 0 || number > last)
    throw std::invalid_argument(std::string(what) + " " + std::to_string(number) + " is not within 0.." +
                                std::to_string(last));
  return static_cast<Enum>(number);
}

}  // namespace

std::shared_ptr<const ServiceSpec> to_spec(const SpecArguments& arguments, Interner& strings) {
  auto spec = std::make_shared<ServiceSpec>();
  spec->is_global = arguments.is_global;
  spec->shared = arguments.shared;
  spec->namespace_global = arguments.namespace_global;
  spec->headless = arguments.headless;
  spec->external_name = arguments.external_name;
  spec->record_valid = arguments.record_valid;
  spec->internal_local = arguments.internal_local;
  spec->external_local = arguments.external_local;
  spec->affinity = to_enum<Affinity>("affinity", arguments.affinity, 2);
  spec->distribution = to_enum<Distribution>("distribution", arguments.distribution, 2);
  spec->session_affinity_seconds = arguments.session_affinity_seconds;
  spec->record_digest = arguments.record_digest;
  spec->created = arguments.created;
  for (const auto& [type, internal, address, port, protocol, name] : arguments.frontends) {
    const auto parsed = Address::parse(address);
    if (!parsed) throw std::invalid_argument("frontend address '" + address + "' is no IP address");
    FrontendSpec& frontend = spec->frontends.emplace_back();
    frontend.type = to_enum<FrontendType>("frontend type", type, 3);
    frontend.internal = internal;
    frontend.address = *parsed;
    frontend.port = to_enum<std::uint16_t>("port", port, 65535);
    frontend.protocol = to_enum<std::uint8_t>("protocol", protocol, 255);
    frontend.port_name = strings.id(name);
  }
  if (arguments.exposed_on) {
    spec->exposed_on.emplace();
    for (const auto& node : *arguments.exposed_on) spec->exposed_on->push_back(strings.id(node));
  }
  for (const auto& cluster : arguments.prefer_clusters) spec->prefer_clusters.push_back(strings.id(cluster));
  for (const auto& [cluster, weight] : arguments.cluster_weights)
    spec->cluster_weights.emplace_back(strings.id(cluster),
                                       to_enum<std::uint16_t>("cluster weight", weight, 65535));
  spec->min_local_backends = arguments.min_local_backends;
  return spec;
}

SpecArguments from_spec(const ServiceSpec& spec, const Interner& strings) {
  SpecArguments arguments;
  arguments.is_global = spec.is_global;
  arguments.shared = spec.shared;
  arguments.namespace_global = spec.namespace_global;
  arguments.headless = spec.headless;
  arguments.external_name = spec.external_name;
  arguments.record_valid = spec.record_valid;
  arguments.internal_local = spec.internal_local;
  arguments.external_local = spec.external_local;
  arguments.affinity = static_cast<int>(spec.affinity);
  arguments.distribution = static_cast<int>(spec.distribution);
  arguments.session_affinity_seconds = spec.session_affinity_seconds;
  arguments.record_digest = spec.record_digest;
  arguments.created = spec.created;
  for (const auto& frontend : spec.frontends)
    arguments.frontends.emplace_back(static_cast<int>(frontend.type), frontend.internal,
                                     frontend.address.text(), frontend.port, frontend.protocol,
                                     strings.text(frontend.port_name));
  if (spec.exposed_on) {
    arguments.exposed_on.emplace();
    for (const StringId node : *spec.exposed_on) arguments.exposed_on->push_back(strings.text(node));
  }
  for (const StringId cluster : spec.prefer_clusters)
    arguments.prefer_clusters.push_back(strings.text(cluster));
  for (const auto& [cluster, weight] : spec.cluster_weights)
    arguments.cluster_weights.emplace_back(strings.text(cluster), weight);
  arguments.min_local_backends = spec.min_local_backends;
  return arguments;
}

void register_spec(py::module_& module) {
  py::class_<SpecArguments>(module, "ServiceSpec",
                            "What one member's Service says. Numbers: affinity 0 none, 1 local, 2 remote; "
                            "distribution 0 none, 1 same zone, 2 same node; frontends are (type, internal "
                            "scope, address, port, protocol, port name), types 0 ClusterIP, 1 NodePort, "
                            "2 LoadBalancer, 3 ExternalIPs; exposed_on names nodes, None is everywhere; "
                            "prefer_clusters and cluster_weights go by the names of clusters.")
      .def(py::init([](bool is_global, bool shared, bool namespace_global, int affinity, bool headless,
                       bool external_name, bool record_valid, bool internal_local, bool external_local,
                       int distribution, std::uint32_t session_affinity_seconds,
                       std::vector<SpecArguments::Frontend> frontends,
                       std::optional<std::vector<std::string>> exposed_on, std::uint64_t record_digest,
                       std::string created, std::vector<std::string> prefer_clusters,
                       std::vector<std::pair<std::string, int>> cluster_weights,
                       std::uint32_t min_local_backends) {
             return SpecArguments{is_global,
                                  shared,
                                  namespace_global,
                                  affinity,
                                  headless,
                                  external_name,
                                  record_valid,
                                  internal_local,
                                  external_local,
                                  distribution,
                                  session_affinity_seconds,
                                  std::move(frontends),
                                  std::move(exposed_on),
                                  record_digest,
                                  std::move(created),
                                  std::move(prefer_clusters),
                                  std::move(cluster_weights),
                                  min_local_backends};
           }),
           py::kw_only(), py::arg("is_global") = false, py::arg("shared") = true,
           py::arg("namespace_global") = true, py::arg("affinity") = 0, py::arg("headless") = false,
           py::arg("external_name") = false, py::arg("record_valid") = true,
           py::arg("internal_local") = false, py::arg("external_local") = false, py::arg("distribution") = 0,
           py::arg("session_affinity_seconds") = 0,
           py::arg("frontends") = std::vector<SpecArguments::Frontend>{}, py::arg("exposed_on") = py::none(),
           py::arg("record_digest") = 0, py::arg("created") = "",
           py::arg("prefer_clusters") = std::vector<std::string>{},
           py::arg("cluster_weights") = std::vector<std::pair<std::string, int>>{},
           py::arg("min_local_backends") = 1)
      .def_readonly("is_global", &SpecArguments::is_global)
      .def_readonly("shared", &SpecArguments::shared)
      .def_readonly("namespace_global", &SpecArguments::namespace_global)
      .def_readonly("affinity", &SpecArguments::affinity)
      .def_readonly("headless", &SpecArguments::headless)
      .def_readonly("external_name", &SpecArguments::external_name)
      .def_readonly("record_valid", &SpecArguments::record_valid)
      .def_readonly("internal_local", &SpecArguments::internal_local)
      .def_readonly("external_local", &SpecArguments::external_local)
      .def_readonly("distribution", &SpecArguments::distribution)
      .def_readonly("session_affinity_seconds", &SpecArguments::session_affinity_seconds)
      .def_readonly("frontends", &SpecArguments::frontends)
      .def_readonly("exposed_on", &SpecArguments::exposed_on)
      .def_readonly("record_digest", &SpecArguments::record_digest)
      .def_readonly("created", &SpecArguments::created)
      .def_readonly("prefer_clusters", &SpecArguments::prefer_clusters)
      .def_readonly("cluster_weights", &SpecArguments::cluster_weights)
      .def_readonly("min_local_backends", &SpecArguments::min_local_backends)
      .def("__hash__",
           [](const SpecArguments& spec) {
             return py::hash(py::make_tuple(spec.is_global, spec.affinity, spec.record_digest));
           })
      .def("__eq__", [](const SpecArguments& spec, const py::object& other) {
        return py::isinstance<SpecArguments>(other) && spec == other.cast<const SpecArguments&>();
      });
}

}  // namespace fleetmesh::bindings
