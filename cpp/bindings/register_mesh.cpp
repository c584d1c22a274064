// A mesh and its transactions.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <stdexcept>
#include <string_view>

#include "bindings.hpp"
#include "fleetmesh/classes.hpp"
#include "fleetmesh/transaction.hpp"
#include "slotted_class.hpp"

namespace py = pybind11;

namespace fleetmesh::bindings {
namespace {

using Endpoint = std::tuple<std::vector<std::string>, int, std::string, std::string, std::string,
                            std::vector<std::string>>;
using Port = std::tuple<std::string, int, int>;
using Name = std::pair<std::string_view, std::string_view>;

// (namespace, name) each; read where they are, one by one.
class Names : public py::sequence {
 public:
  using py::sequence::sequence;
};

using Entries = py::typing::Tuple<py::object, py::ellipsis>;
using OfAddresses = py::typing::Dict<py::str, py::object>;

// A commit's outcome; keeps the mesh alive, whose names it needs.
struct PyDelta {
  Delta delta;
  std::shared_ptr<const Mesh> mesh;
};

struct PyTransaction {
  explicit PyTransaction(const std::shared_ptr<Mesh>& owner)
      : mesh(owner), change(std::make_unique<Transaction>(owner)) {}
  std::shared_ptr<Mesh> mesh;
  std::unique_ptr<Transaction> change;
};

ClusterId cluster_id(const PyTransaction& t, long long id) {
  const long long last = t.mesh->capacity();
  if (id < 1 || id > last)
    throw std::out_of_range("cluster id " + std::to_string(id) + " is not within 1.." + std::to_string(last));
  return static_cast<ClusterId>(id);
}

std::uint16_t port_number(int port) {
  if (port < 0 || port > 65535)
    throw std::invalid_argument("port " + std::to_string(port) + " is not within 0..65535");
  return static_cast<std::uint16_t>(port);
}

void set_slice(PyTransaction& t, long long id, const std::string& space, const std::string& service,
               const std::string& slice, std::vector<Endpoint> endpoints, const std::vector<Port>& ports,
               int weight) {
  std::vector<EndpointFacts> endpoint_facts;
  endpoint_facts.reserve(endpoints.size());
  for (auto& [addresses, conditions, node, hostname, zone, for_zones] : endpoints)
    endpoint_facts.push_back({std::move(addresses), static_cast<std::uint8_t>(conditions), std::move(node),
                              std::move(hostname), std::move(zone), std::move(for_zones)});
  std::vector<PortFacts> port_facts;
  port_facts.reserve(ports.size());
  for (const auto& [name, protocol, port] : ports)
    port_facts.push_back({name, static_cast<std::uint8_t>(protocol), port_number(port)});
  if (weight < 0 || weight > 65535)
    throw std::invalid_argument("weight " + std::to_string(weight) + " is not within 0..65535");
  t.change->set_slice(cluster_id(t, id), space, service, slice, endpoint_facts, port_facts,
                      static_cast<std::uint16_t>(weight));
}

std::string string_of(PyObject* text) {
  Py_ssize_t size = 0;
  const char* bytes = PyUnicode_AsUTF8AndSize(text, &size);  // raises TypeError for what is no text
  if (!bytes) throw py::error_already_set();
  return {bytes, static_cast<std::size_t>(size)};
}

int int_of(PyObject* number) {
  const long found = PyLong_AsLong(number);  // raises TypeError, OverflowError
  if (found == -1 && PyErr_Occurred()) throw py::error_already_set();
  return static_cast<int>(std::clamp(found, -1L, 1L << 16));
}

std::pair<py::object, py::object> pair_of(py::handle of) {
  const auto parts = py::cast<py::tuple>(of);
  if (parts.size() != 2) throw py::value_error("expected a pair, got " + std::to_string(parts.size()));
  return {parts[0], parts[1]};
}

// The endpoints of a service's record: addresses with the same ports are one slice. Mostly all of them have
// one and the same object.
class BackendsOfRecord {
 public:
  using Named = std::tuple<std::string, std::string, int>;  // as a record has a port: name, protocol, number

  BackendsOfRecord(const OfAddresses& hostnames, const OfAddresses& zones)
      : hostnames_(hostnames), zones_(zones) {}

  void add(PyObject* address, PyObject* ports) {
    if (ports != known_ports_) {
      known_ports_ = ports;
      slice_ = slice_of(py::reinterpret_borrow<py::object>(ports));
    }
    EndpointFacts& endpoint = slices_[slice_].endpoints.emplace_back();
    endpoint.addresses.push_back(string_of(address));
    if (PyObject* found = PyDict_GetItemWithError(hostnames_.ptr(), address))
      endpoint.hostname = string_of(found);
    if (PyObject* found = PyDict_GetItemWithError(zones_.ptr(), address)) {
      const auto [zone, hints] = pair_of(found);
      endpoint.zone = string_of(zone.ptr());
      for (const auto each : hints) endpoint.for_zones.push_back(string_of(each.ptr()));
    }
    if (PyErr_Occurred()) throw py::error_already_set();
  }

  const std::vector<SliceFacts>& slices() const { return slices_; }

 private:
  std::size_t slice_of(const py::object& ports) {
    std::vector<Named> named;
    for (const auto each : ports.attr("items")()) {
      const auto [name, port] = pair_of(each);
      const auto [protocol, number] = pair_of(port);
      named.emplace_back(string_of(name.ptr()), string_of(protocol.ptr()), int_of(number.ptr()));
    }
    const auto [known, fresh] = by_ports_.try_emplace(std::move(named), slices_.size());
    if (fresh) {
      SliceFacts& slice = slices_.emplace_back();
      for (const auto& [name, protocol, port] : known->first)
        if (const int number = number_of(protocol))
          slice.ports.push_back({name, static_cast<std::uint8_t>(number), port_number(port)});
    }
    return known->second;
  }

  // 0 for those that services don't have; Cilium has no frontend for them (pkg/loadbalancer/writer writer.go,
  // `DefaultSelectBackends`).
  static int number_of(std::string_view protocol) {
    return protocol == "TCP" ? 6 : protocol == "UDP" ? 17 : protocol == "SCTP" ? 132 : 0;
  }

  const OfAddresses& hostnames_;
  const OfAddresses& zones_;
  PyObject* known_ports_ = nullptr;
  std::size_t slice_ = 0;
  std::map<std::vector<Named>, std::size_t> by_ports_;
  std::vector<SliceFacts> slices_;
};

void set_backends(PyTransaction& t, long long id, const std::string& space, const std::string& service,
                  const OfAddresses& backends, const OfAddresses& hostnames, const OfAddresses& zones,
                  std::size_t before) {
  BackendsOfRecord read(hostnames, zones);
  PyObject* address = nullptr;
  PyObject* ports = nullptr;
  for (Py_ssize_t at = 0; PyDict_Next(backends.ptr(), &at, &address, &ports);) read.add(address, ports);
  t.change->set_numbered_slices(cluster_id(t, id), space, service, read.slices(), before);
}

// One column of a bulk load: an array of exactly this type, or one value for all rows.
template <class T>
class Column {
 public:
  Column(const char* name, const py::object& value, py::ssize_t rows) {
    if (py::isinstance<py::array>(value)) {
      const auto array = py::reinterpret_borrow<py::array>(value);
      if (!array.dtype().is(py::dtype::of<T>()) || array.ndim() != 1)
        throw py::type_error(std::string("column '") + name + "' is not a one-dimensional array of " +
                             py::str(py::dtype::of<T>()).cast<std::string>());
      if (array.shape(0) != rows)
        throw py::value_error(std::string("column '") + name + "' has " + std::to_string(array.shape(0)) +
                              " rows, 'service' has " + std::to_string(rows));
      array_ = py::array_t<T, py::array::c_style>::ensure(array);
      data_ = array_.data();
      step_ = 1;
    } else {
      one_ = value.cast<T>();
      data_ = &one_;
    }
  }
  Column(const Column&) = delete;
  Column& operator=(const Column&) = delete;
  T operator[](std::size_t row) const { return data_[row * step_]; }

 private:
  py::array_t<T, py::array::c_style> array_;
  T one_{};
  const T* data_ = nullptr;
  std::size_t step_ = 0;
};

// uint32 of shape (n,) for IPv4, uint8 of shape (n, 16) for IPv6.
class AddressColumn {
 public:
  AddressColumn(const py::array& value, py::ssize_t rows) {
    v6_ = value.ndim() == 2;
    const bool fits = v6_ ? value.dtype().is(py::dtype::of<std::uint8_t>()) && value.shape(1) == 16
                          : value.ndim() == 1 && value.dtype().is(py::dtype::of<std::uint32_t>());
    if (!fits) throw py::type_error("column 'address' is neither uint32 of shape (n,) nor uint8 of (n, 16)");
    if (value.shape(0) != rows)
      throw py::value_error("column 'address' has " + std::to_string(value.shape(0)) +
                            " rows, 'service' has " + std::to_string(rows));
    array_ = py::array::ensure(value, py::array::c_style);
    data_ = array_.data();
  }
  Address operator[](std::size_t row) const {
    if (v6_) return Address::v6(static_cast<const std::uint8_t*>(data_) + row * 16);
    return Address::v4(static_cast<const std::uint32_t*>(data_)[row]);
  }

 private:
  py::array array_;
  const void* data_ = nullptr;
  bool v6_ = false;
};

using Services = py::array_t<std::uint32_t, py::array::c_style>;

Services service_column(const py::array& value) {
  if (value.ndim() != 1 || !value.dtype().is(py::dtype::of<std::uint32_t>()))
    throw py::type_error("column 'service' is not a one-dimensional array of uint32");
  return Services::ensure(value);
}

// The ids of the services that `indices` refers to, at their index; others are 0, which no service is.
// A batch may refer to few of many services.
std::vector<ServiceId> service_ids(ServiceNames& names, const Names& services,
                                   std::span<const std::uint32_t> indices) {
  std::vector<ServiceId> ids(services.size());
  for (const std::uint32_t index : indices) {
    if (index >= ids.size())
      throw py::value_error("column 'service' names service " + std::to_string(index) + " of " +
                            std::to_string(ids.size()));
    if (ids[index] != 0) continue;
    const py::object service = services[index];
    py::detail::make_caster<Name> name;
    if (!name.load(service, true))
      throw py::type_error("services[" + std::to_string(index) + "] is " +
                           py::repr(service).cast<std::string>() + ", not (namespace, name)");
    const auto [space, own] = py::detail::cast_op<Name>(name);
    ids[index] = names.id(space, own);
  }
  return ids;
}

void load(PyTransaction& t, const Names& services, const py::array& service, const py::object& cluster,
          const py::array& address, const py::object& port, const py::object& protocol,
          const py::object& state, const py::object& remove) {
  const Services index = service_column(service);
  const py::ssize_t count = index.shape(0);
  const Column<std::uint16_t> clusters("cluster", cluster, count);
  const AddressColumn addresses(address, count);
  const Column<std::uint16_t> ports("port", port, count);
  const Column<std::uint8_t> protocols("protocol", protocol, count);
  const Column<std::uint8_t> states("state", state, count);
  const Column<bool> removals("remove", remove, count);
  const std::span indices(index.data(), static_cast<std::size_t>(count));
  const auto ids = service_ids(t.change->shared().services, services, indices);
  const py::gil_scoped_release release;
  std::vector<BulkRow> rows(indices.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (states[i] > static_cast<std::uint8_t>(BackendState::maintenance))
      throw std::invalid_argument("column 'state' has " + std::to_string(states[i]) + " in row " +
                                  std::to_string(i));
    t.change->require_member(clusters[i]);
    rows[i].offer = {ids[indices[i]], clusters[i]};
    rows[i].key = {0, addresses[i], ports[i], protocols[i]};
    rows[i].state = static_cast<BackendState>(states[i]);
    rows[i].remove = removals[i];
  }
  t.change->load(rows);
}

// Each entry of the delta as an instance of `type`.
Entries services(const PyDelta& d, const py::type& type) {
  std::vector<DeltaEntry> entries;
  {
    const py::gil_scoped_release release;
    entries = entries_of(d.delta, *d.mesh);
  }
  Shared& shared = d.mesh->shared();
  const auto name_of = [&](ClusterId id) {
    const MemberFacts* known = d.delta.after->members.find(id);
    return py::str(shared.strings.text((known ? known : d.delta.before->members.find(id))->name));
  };
  const SlottedClass maker(type, {"namespace", "name", "viewers"});
  std::map<std::array<std::uint64_t, 8>, py::tuple> named;  // few sets are different
  Entries result(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto [viewers, fresh] = named.try_emplace(entries[i].viewers.words());
    if (fresh) {
      viewers->second = py::tuple(entries[i].viewers.count());
      std::size_t at = 0;
      entries[i].viewers.each([&](ClusterId id) { viewers->second[at++] = name_of(id); });
    }
    const auto [space, name] = shared.services.parts(entries[i].service);
    result[i] = maker.make({py::str(space), py::str(name), viewers->second});
  }
  return result;
}

}  // namespace
}  // namespace fleetmesh::bindings

template <>
struct pybind11::detail::handle_type_name<fleetmesh::bindings::Names> {
  static constexpr auto name = const_name("collections.abc.Sequence[tuple[str, str]]");
};

namespace fleetmesh::bindings {

void register_mesh(py::module_& module) {
  py::class_<PyDelta>(module, "Delta", "What one transaction changed.")
      .def_property_readonly("old", [](const PyDelta& d) { return d.delta.before->generation; })
      .def_property_readonly("new", [](const PyDelta& d) { return d.delta.after->generation; })
      .def("services", &services, py::arg("entry"),
           "One for each class of viewers of a service whose answer may have changed, as instances of the "
           "class `entry`, which has the slots namespace, name and viewers: the names of clusters.");

  py::class_<PyTransaction>(module, "Transaction",
                            "One change of a mesh: all of it or, without commit, nothing.")
      .def(
          "join",
          [](PyTransaction& t, long long id, const std::string& name, bool enable_ipv6,
             bool service_topology) {
            t.change->join(cluster_id(t, id), name, enable_ipv6, service_topology);
          },
          py::arg("cluster_id"), py::arg("name"), py::kw_only(), py::arg("enable_ipv6") = true,
          py::arg("service_topology") = false)
      .def(
          "leave", [](PyTransaction& t, long long id) { t.change->leave(cluster_id(t, id)); },
          py::arg("cluster_id"))
      .def(
          "hear",
          [](PyTransaction& t, long long viewer, const std::vector<long long>& publishers) {
            std::vector<ClusterId> ids;
            ids.reserve(publishers.size());
            for (const long long id : publishers) ids.push_back(cluster_id(t, id));
            t.change->hear(cluster_id(t, viewer), ids);
          },
          py::arg("viewer"), py::arg("publishers"))
      .def(
          "set_node",
          [](PyTransaction& t, long long id, const std::string& node, const std::string& zone) {
            t.change->set_node(cluster_id(t, id), node, zone);
          },
          py::arg("cluster_id"), py::arg("node"), py::arg("zone"))
      .def(
          "remove_node",
          [](PyTransaction& t, long long id, const std::string& node) {
            t.change->remove_node(cluster_id(t, id), node);
          },
          py::arg("cluster_id"), py::arg("node"))
      .def(
          "set_service",
          [](PyTransaction& t, long long id, const std::string& space, const std::string& name,
             const SpecArguments& spec) {
            t.change->set_service(cluster_id(t, id), space, name, to_spec(spec, t.change->shared().strings));
          },
          py::arg("cluster_id"), py::arg("namespace"), py::arg("name"), py::arg("spec"))
      .def(
          "set_service_in",
          [](PyTransaction& t, const py::array& ids, const std::string& space, const std::string& name,
             const SpecArguments& spec) {
            if (ids.ndim() != 1 || !ids.dtype().is(py::dtype::of<std::uint16_t>()))
              throw py::type_error("cluster_ids is not a one-dimensional array of uint16");
            const auto column = py::array_t<std::uint16_t, py::array::c_style>::ensure(ids);
            const auto shared = to_spec(spec, t.change->shared().strings);
            const ServiceId service = t.change->shared().services.id(space, name);
            for (py::ssize_t i = 0; i < column.shape(0); ++i)
              t.change->set_service(column.at(i), service, shared);
          },
          py::arg("cluster_ids"), py::arg("namespace"), py::arg("name"), py::arg("spec"),
          "The same Service in many members, kept once.")
      .def(
          "remove_service",
          [](PyTransaction& t, long long id, const std::string& space, const std::string& name) {
            t.change->remove_service(cluster_id(t, id), space, name);
          },
          py::arg("cluster_id"), py::arg("namespace"), py::arg("name"))
      .def("set_slice", &set_slice, py::arg("cluster_id"), py::arg("namespace"), py::arg("service"),
           py::arg("slice"), py::arg("endpoints"), py::arg("ports"), py::arg("weight") = 100,
           "Endpoints are (addresses, conditions, node, hostname, zone, zones of hints), conditions "
           "bits 1 ready, 2 serving, 4 terminating; ports are (name, protocol, port); weight 0 is "
           "maintenance. Addresses that can't be parsed are left out.")
      .def("set_backends", &set_backends, py::arg("cluster_id"), py::arg("namespace"), py::arg("service"),
           py::arg("backends"), py::arg("hostnames"), py::arg("zones"), py::arg("before"),
           "The endpoints of a service as its record has them: address -> port name -> (protocol, port); "
           "address -> hostname; address -> (zone, zones of hints). They are slices `\"0\"`, `\"1\"` and so "
           "on, one "
           "for each set of ports, in the place of the `before` ones that there were. All are ready and "
           "serving, "
           "and of weight 100; protocols that services don't have are left out.")
      .def(
          "remove_slice",
          [](PyTransaction& t, long long id, const std::string& space, const std::string& service,
             const std::string& slice) { t.change->remove_slice(cluster_id(t, id), space, service, slice); },
          py::arg("cluster_id"), py::arg("namespace"), py::arg("service"), py::arg("slice"))
      .def("load", &load, py::arg("services"), py::kw_only(), py::arg("service"), py::arg("cluster"),
           py::arg("address"), py::arg("port"), py::arg("protocol") = 6, py::arg("state") = 0,
           py::arg("remove") = false, "Upserts and removes single backends, by columns.")
      .def("commit", [](PyTransaction& t) {
        const py::gil_scoped_release release;
        return PyDelta{t.change->commit(), t.mesh};
      });

  py::class_<Mesh, std::shared_ptr<Mesh>>(module, "Core",
                                          "The facts of one mesh and the right to change them.")
      .def(py::init<bool, ClusterId>(), py::kw_only(), py::arg("strict") = false, py::arg("capacity") = 255)
      .def_property_readonly("generation", [](const Mesh& m) { return m.state()->generation; })
      .def("begin", [](const std::shared_ptr<Mesh>& m) { return PyTransaction(m); })
      .def("snapshot", [](const std::shared_ptr<Mesh>& m) { return Snapshot{m->state(), m}; })
      .def("fork", &Mesh::fork, "A mesh of its own that shares what neither changes.");
}

}  // namespace fleetmesh::bindings
