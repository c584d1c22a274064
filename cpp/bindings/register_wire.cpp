// Values of a store to records.
#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "fleetmesh/wire_values.hpp"
#include "kept_objects.hpp"
#include "slotted_class.hpp"

namespace py = pybind11;

namespace fleetmesh::bindings {

namespace {

using wire::IpValue;
using wire::NamedPort;
using wire::ServiceValue;

constexpr std::uint32_t kHost = 1;
constexpr std::uint32_t kRemoteNode = 6;
constexpr std::uint32_t kReserved = 256;  // numbers below it mean the same in each cluster

using Names = py::typing::List<py::str>;
using Values = py::typing::List<py::bytes>;
using Records = py::typing::List<py::typing::Optional<py::object>>;

py::object owned(PyObject* made) {
  if (!made) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

py::object new_text(std::string_view text) {
  return owned(PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size())));
}

py::object interned(std::string_view text) {
  PyObject* made = new_text(text).release().ptr();
  PyUnicode_InternInPlace(&made);
  return owned(made);
}

// Nothing of it leads back to it, so that the collector of cycles need not look at its entries.
py::object read_only(const py::dict& made) {
  PyObject_GC_UnTrack(made.ptr());
  return owned(PyDictProxy_New(made.ptr()));
}

void put(const py::dict& into, const py::object& key, const py::object& value) {
  if (PyDict_SetItem(into.ptr(), key.ptr(), value.ptr()) < 0) throw py::error_already_set();
}

// What a key has behind its prefix. Null for what is not ASCII, as no name of Kubernetes is.
std::string_view text_of_name(const py::object& name) {
  if (!PyUnicode_Check(name.ptr())) throw py::type_error("a name is no str");
  if (!PyUnicode_IS_COMPACT_ASCII(name.ptr())) return {};
  return {static_cast<const char*>(PyUnicode_DATA(name.ptr())),
          static_cast<std::size_t>(PyUnicode_GET_LENGTH(name.ptr()))};
}

std::string_view bytes_of_value(const py::object& value) {
  if (!PyBytes_Check(value.ptr())) throw py::type_error("a value is no bytes");
  return {PyBytes_AS_STRING(value.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(value.ptr()))};
}

bool is_key(std::string_view name, const ServiceValue& value) {
  const std::string_view space = value.space;
  return !space.empty() && space.find('/') == std::string_view::npos && !value.name.empty() &&
         name.size() == space.size() + 1 + value.name.size() && name.starts_with(space) &&
         name[space.size()] == '/' && name.ends_with(value.name);
}

class WireReader {
 public:
  WireReader(const py::type& ip, const py::type& service, py::object nothing, std::size_t most_bytes)
      : ips_(ip, {"cluster", "cluster_id", "address", "host", "identity", "namespace", "pod",
                  "service_account", "encryption_key", "metadata", "named_ports"}),
        services_(service, {"cluster", "cluster_id", "namespace", "name", "frontends", "backends",
                            "hostnames", "zones", "labels", "selector", "include_external", "shared"}),
        nothing_(std::move(nothing)),
        most_bytes_(most_bytes) {}

  Records ips(const Names& names, const Values& values, const py::str& cluster, const py::int_& cluster_id,
              std::int64_t first, std::int64_t end) {
    IpValue read;
    return each(names, values, [&](const py::object& name, std::string_view key, std::string_view value) {
      if (!wire::read_ip(value, read) || read.address != key) return py::object();
      if (read.identity >= kReserved &&
          (std::cmp_less(read.identity, first) || std::cmp_greater_equal(read.identity, end)))
        return py::object();
      return ips_.make({cluster, cluster_id, name, shared_text(read.host), number(read.identity),
                        shared_text(read.space), own_text(read.pod), shared_text(read.service_account),
                        py::int_(read.key), own_text(read.metadata), named_ports(read)});
    });
  }

  Records services(const Names& names, const Values& values, const py::str& cluster,
                   const py::int_& cluster_id) {
    const auto exporter = cluster.cast<std::string>();
    const auto exporter_id = cluster_id.cast<std::int64_t>();
    ServiceValue read;
    return each(names, values, [&](const py::object&, std::string_view key, std::string_view value) {
      if (!wire::read_service(value, read) || read.cluster != exporter ||
          std::cmp_not_equal(read.cluster_id, exporter_id) || !is_key(key, read))
        return py::object();
      return service(read, cluster, cluster_id);
    });
  }

 private:
  template <class Make>
  Records each(const Names& names, const Values& values, Make make) const {
    if (names.size() != values.size()) throw py::value_error("there are not as many names as values");
    Records records;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const py::object name = names[i];
      const py::object value = values[i];
      const std::string_view bytes = bytes_of_value(value);
      py::object record;
      if (bytes.size() <= most_bytes_) record = make(name, text_of_name(name), bytes);
      records.append(record ? record : py::object(py::none()));
    }
    return records;
  }

  py::object service(const ServiceValue& read, const py::str& cluster, const py::int_& cluster_id) {
    std::vector<py::object> maps;
    maps.reserve(read.port_maps.size());
    for (const auto& each : read.port_maps) maps.push_back(port_map(read, each));
    std::vector<py::object> backends;
    backends.reserve(read.backends.size());
    for (const auto& each : read.backends) backends.push_back(new_text(each.address));

    const py::object labels = texts(read.labels);
    const py::object selector = read.selector.text == read.labels.text ? labels : texts(read.selector);
    return services_.make({cluster, cluster_id, shared_text(read.space), own_text(read.name),
                           frontends(read, maps), ports_of_backends(read, backends, maps),
                           hostnames(read, backends), zones(read, backends), labels, selector,
                           py::bool_(read.include_external), py::bool_(read.shared)});
  }

  py::object frontends(const ServiceValue& read, const std::vector<py::object>& maps) const {
    if (read.frontends.empty()) return nothing_;
    const py::dict made;
    for (const auto& [address, which] : read.frontends) put(made, new_text(address), maps[which]);
    return read_only(made);
  }

  py::object ports_of_backends(const ServiceValue& read, const std::vector<py::object>& backends,
                               const std::vector<py::object>& maps) const {
    if (backends.empty()) return nothing_;
    const py::dict made;
    for (std::size_t i = 0; i < backends.size(); ++i) put(made, backends[i], maps[read.backends[i].which]);
    return read_only(made);
  }

  py::object hostnames(const ServiceValue& read, const std::vector<py::object>& backends) const {
    if (read.hostnames.empty()) return nothing_;
    const py::dict made;
    for (const auto& [backend, text] : read.hostnames) put(made, backends[backend], own_text(text));
    return read_only(made);
  }

  // Without any, what is the default of a record.
  py::object zones(const ServiceValue& read, const std::vector<py::object>& backends) {
    if (read.backend_zones.empty()) return py::dict();
    const py::dict made;
    std::vector<py::object> known;
    known.reserve(read.zones.size());
    for (const auto& each : read.zones) known.push_back(zone(read, each));
    for (const auto& [backend, which] : read.backend_zones) put(made, backends[backend], known[which]);
    return read_only(made);
  }

  py::object texts(const wire::TextMap& read) {
    if (read.entries.empty()) return nothing_;
    const py::dict made;
    for (const auto& [key, text] : read.entries) put(made, shared_text(key), own_text(text));
    return read_only(made);
  }

  template <class Make>
  static py::object kept(KeptObjects& objects, std::string_view text, Make make) {
    py::object known = objects.find(text);
    if (known) return known;
    py::object made = make();
    objects.keep(text, made);
    return made;
  }

  py::object own_text(std::string_view text) const { return text.empty() ? no_text_ : new_text(text); }

  py::object shared_text(std::string_view text) {
    if (text.empty()) return no_text_;
    return kept(texts_, text, [&] { return interned(text); });
  }

  py::object number(std::uint32_t identity) {
    const std::uint32_t number = identity == kHost ? kRemoteNode : identity;
    const std::string_view bytes(reinterpret_cast<const char*>(&number), sizeof number);
    return kept(numbers_, bytes, [&] { return py::int_(number); });
  }

  py::object named_ports(const IpValue& read) {
    if (read.named_ports.empty()) return no_items_;
    return kept(named_ports_, read.named_ports_text, [&] {
      const py::tuple made(read.named_ports.size());
      for (std::size_t i = 0; i < made.size(); ++i) {
        const NamedPort& each = read.named_ports[i];
        made[i] = py::make_tuple(shared_text(each.name), each.port, shared_text(each.protocol));
      }
      return py::object(made);
    });
  }

  py::object port_map(const ServiceValue& read, const wire::PortMap& map) {
    return kept(port_maps_, map.text, [&] {
      const py::dict made;
      for (std::size_t i = 0; i < map.ports.count; ++i) {
        const NamedPort& each = read.ports[map.ports.first + i];
        put(made, shared_text(each.name), py::make_tuple(shared_text(each.protocol), each.port));
      }
      return read_only(made);
    });
  }

  py::object zone(const ServiceValue& read, const wire::Zone& zone) {
    return kept(zones_, zone.text, [&] {
      const py::tuple hints(zone.hints.count);
      for (std::size_t i = 0; i < hints.size(); ++i) hints[i] = shared_text(read.hints[zone.hints.first + i]);
      return py::object(py::make_tuple(shared_text(zone.name), hints));
    });
  }

  SlottedClass ips_;
  SlottedClass services_;
  py::object nothing_;
  py::object no_text_ = py::str("");
  py::object no_items_ = py::tuple();
  std::size_t most_bytes_;
  KeptObjects texts_{4096};
  KeptObjects numbers_{1024};
  KeptObjects named_ports_{1024};
  KeptObjects port_maps_{1024};
  KeptObjects zones_{1024};
};

}  // namespace

void register_wire(py::module_& module) {
  py::class_<WireReader>(
      module, "WireReader",
      "Reads values of a store, of the kinds ip and services, where they are in exactly the form in which "
      "Cilium writes them and pass all checks; all else it leaves to others, and refuses nothing.")
      .def(py::init<const py::type&, const py::type&, py::object, std::size_t>(), py::arg("ip_record"),
           py::arg("service_record"), py::arg("nothing"), py::arg("most_bytes"),
           "The classes of records; what a map without entries is; how long a value may be.")
      .def("ips", &WireReader::ips, py::arg("names"), py::arg("values"), py::arg("cluster"),
           py::arg("cluster_id"), py::arg("first_identity"), py::arg("end_of_identities"),
           "A record for each name and value, None for what it leaves. Raises ValueError if there are not as "
           "many of the ones as of the others, TypeError if one is no str or bytes.")
      .def("services", &WireReader::services, py::arg("names"), py::arg("values"), py::arg("cluster"),
           py::arg("cluster_id"), "As `ips`.");
}

}  // namespace fleetmesh::bindings
