#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <atomic>
#include <stdexcept>

#include "bindings.hpp"
#include "fleetmesh/datapath.hpp"

namespace py = pybind11;

namespace fleetmesh::bindings {
namespace {

template <class T>
using Column = py::array_t<T, py::array::c_style>;
using Policy = std::shared_ptr<policy::PolicyTables>;

// A data path in the hands of one thread; another that comes meanwhile is told so.
class Held {
 public:
  Held(std::shared_ptr<const Tables> tables, std::shared_ptr<const policy::PolicyTables> policy,
       const DatapathOptions& options)
      : path(std::move(tables), std::move(policy), options) {}

  class Use {
   public:
    explicit Use(Held& held) : held_(held) {
      if (held_.busy_.test_and_set(std::memory_order_acquire))
        throw std::runtime_error("a data path belongs to one thread at a time; another is using this one");
    }
    ~Use() { held_.busy_.clear(std::memory_order_release); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Held& held_;
  };

  Datapath path;
  std::shared_ptr<const Mesh> mesh;

 private:
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};

using Decided = py::typing::Tuple<py::array, py::ellipsis>;

struct Results {
  Column<std::uint8_t> verdict, egress, ingress, reason, state;
  py::array source, destination;
  Column<std::uint16_t> source_port, destination_port;
  Column<std::uint32_t> backend, service, source_identity, destination_identity;
  Column<std::uint16_t> proxy_port;

  Results(py::ssize_t count, const py::array& addresses)
      : verdict(count),
        egress(count),
        ingress(count),
        reason(count),
        state(count),
        source(addresses.dtype(), shape_of(addresses)),
        destination(addresses.dtype(), shape_of(addresses)),
        source_port(count),
        destination_port(count),
        backend(count),
        service(count),
        source_identity(count),
        destination_identity(count),
        proxy_port(count) {}

  template <class T>
  DecisionColumns<T> columns() {
    return {verdict.mutable_data(),
            egress.mutable_data(),
            ingress.mutable_data(),
            reason.mutable_data(),
            state.mutable_data(),
            static_cast<T*>(source.mutable_data()),
            static_cast<T*>(destination.mutable_data()),
            source_port.mutable_data(),
            destination_port.mutable_data(),
            backend.mutable_data(),
            service.mutable_data(),
            source_identity.mutable_data(),
            destination_identity.mutable_data(),
            proxy_port.mutable_data()};
  }

  Decided tuple() const {
    return py::make_tuple(verdict, egress, ingress, reason, state, source, destination, source_port,
                          destination_port, backend, service, source_identity, destination_identity,
                          proxy_port);
  }

 private:
  static std::vector<py::ssize_t> shape_of(const py::array& array) {
    return {array.shape(), array.shape() + array.ndim()};
  }
};

struct Arguments {
  py::array source, destination;
  Column<std::uint16_t> source_port, destination_port;
  Column<std::uint8_t> protocol, tcp_flags;
  Column<std::uint64_t> time;

  template <class T>
  PacketColumns<T> columns() const {
    PacketColumns<T> packets;
    packets.count = static_cast<std::size_t>(source.shape(0));
    packets.source = static_cast<const T*>(source.data());
    packets.destination = static_cast<const T*>(destination.data());
    packets.source_port = source_port.data();
    packets.destination_port = destination_port.data();
    packets.protocol = protocol.data();
    packets.tcp_flags = tcp_flags.data();
    packets.time = time.data();
    packets.one_time = time.size() == 1;
    return packets;
  }

  // The package has checked them and says what is wrong; this keeps memory safe whoever calls.
  bool is_v6() const {
    const py::ssize_t count = source.ndim() ? source.shape(0) : -1;
    const auto addresses = [&](const py::array& column) {
      const bool v4 = column.ndim() == 1 && py::isinstance<Column<std::uint32_t>>(column);
      const bool v6 =
          column.ndim() == 2 && column.shape(1) == 16 && py::isinstance<Column<std::uint8_t>>(column);
      return (v4 || v6) && column.shape(0) == count && column.ndim() == source.ndim();
    };
    const auto fits = [&](const py::array& column) { return column.ndim() == 1 && column.shape(0) == count; };
    if (count < 0 || !addresses(source) || !addresses(destination) || !fits(source_port) ||
        !fits(destination_port) || !fits(protocol) || !fits(tcp_flags) ||
        (!fits(time) && (time.ndim() != 1 || time.shape(0) != 1)))
      throw std::invalid_argument("columns of packets have unequal lengths or wrong types");
    return source.ndim() == 2;
  }
};

template <class Run>
Decided decide(const Arguments& arguments, Run run) {
  const bool is_v6 = arguments.is_v6();
  Results results(arguments.source.shape(0), arguments.source);
  if (is_v6) {
    const auto packets = arguments.columns<std::uint8_t>();
    const auto decisions = results.columns<std::uint8_t>();
    const py::gil_scoped_release others_go_on;
    run(packets, decisions);
  } else {
    const auto packets = arguments.columns<std::uint32_t>();
    const auto decisions = results.columns<std::uint32_t>();
    const py::gil_scoped_release others_go_on;
    run(packets, decisions);
  }
  return results.tuple();
}

py::object backend(Held& held, std::uint32_t id) {
  const Held::Use use(held);
  DatapathBackend found;
  if (!held.path.backend(id, found)) return py::none();
  return py::make_tuple(found.cluster, found.address.text(), found.port, found.protocol,
                        static_cast<int>(found.state), found.weight);
}

py::object frontend(Held& held, std::uint32_t number) {
  const Held::Use use(held);
  ServiceId service = 0;
  FrontendSpec found;
  if (!held.path.frontend(number, service, found)) return py::none();
  const auto [space, name] = held.mesh->shared().services.name(service);
  return py::make_tuple(space, name, static_cast<int>(found.type), found.internal, found.address.text(),
                        found.port, found.protocol, held.mesh->shared().strings.text(found.port_name));
}

}  // namespace

void register_datapath(py::module_& module) {
  py::class_<Held, std::shared_ptr<Held>>(
      module, "Datapath", "Services, connections and translation over columns of packets, for one viewer.")
      .def(py::init([](const PyTables& tables, const Policy& policy, std::uint32_t tcp_connections,
                       std::uint32_t other_connections, std::uint32_t affinities, std::uint32_t shards,
                       std::uint64_t secret) {
             auto held = std::make_shared<Held>(
                 tables.tables, policy,
                 DatapathOptions{tcp_connections, other_connections, affinities, shards, secret});
             held->mesh = tables.at.mesh;
             return held;
           }),
           py::arg("tables"), py::arg("policy").none(false), py::kw_only(), py::arg("tcp_connections"),
           py::arg("other_connections"), py::arg("affinities"), py::arg("shards"), py::arg("secret"))
      .def(
          "adopt",
          [](Held& held, const PyTables& tables, const Policy& policy) {
            const Held::Use use(held);
            const py::gil_scoped_release others_go_on;
            held.path.adopt(tables.tables, policy);
          },
          py::arg("tables"), py::arg("policy").none(false), "Take a newer state of the same viewer.")
      .def(
          "process",
          [](Held& held, py::array source, py::array destination, Column<std::uint16_t> source_port,
             Column<std::uint16_t> destination_port, Column<std::uint8_t> protocol,
             Column<std::uint8_t> tcp_flags, Column<std::uint64_t> time) {
            const Held::Use use(held);
            return decide(
                {std::move(source), std::move(destination), std::move(source_port),
                 std::move(destination_port), std::move(protocol), std::move(tcp_flags), std::move(time)},
                [&](const auto& packets, const auto& decisions) { held.path.process(packets, decisions); });
          },
          py::arg("source"), py::arg("destination"), py::arg("source_port").noconvert(),
          py::arg("destination_port").noconvert(), py::arg("protocol").noconvert(),
          py::arg("tcp_flags").noconvert(), py::arg("time").noconvert(),
          "The columns of decisions. Addresses are uint32 (n,) or uint8 (n, 16); `time` has n values or one.")
      .def("backend", &backend, py::arg("id"),
           "(cluster id, address, port, protocol, state, weight), or None.")
      .def("frontend", &frontend, py::arg("number"),
           "(namespace, name, type, internal, address, port, protocol, port name), or None.")
      .def(
          "counters",
          [](Held& held) {
            const Held::Use use(held);
            std::vector<std::tuple<std::string, std::string, int, std::uint64_t, std::uint64_t>> rows;
            for (const ServiceCount& count : held.path.counters()) {
              const auto [space, name] = held.mesh->shared().services.name(count.service);
              rows.emplace_back(space, name, count.cluster, count.counter.packets, count.counter.connections);
            }
            return rows;
          },
          "(namespace, name, cluster id or 0, packets, connections) each.")
      .def(
          "connections",
          [](Held& held) {
            const Held::Use use(held);
            const DatapathConnections found = held.path.connections();
            return std::tuple(found.tcp, found.other, found.evicted);
          },
          "(tcp, other, evicted).");

  module.def(
      "process_chain",
      [](const std::vector<std::pair<int, std::shared_ptr<Held>>>& paths, const policy::AddressBook& book,
         const PrefixArguments& clusters, py::array source, py::array destination,
         Column<std::uint16_t> source_port, Column<std::uint16_t> destination_port,
         Column<std::uint8_t> protocol, Column<std::uint8_t> tcp_flags, Column<std::uint64_t> time) {
        std::vector<std::unique_ptr<Held::Use>> uses;
        std::vector<Datapath*> by_cluster(512);
        for (const auto& [cluster, held] : paths) {
          uses.push_back(std::make_unique<Held::Use>(*held));
          by_cluster.at(static_cast<std::size_t>(cluster)) = &held->path;
        }
        DatapathChain chain(std::move(by_cluster), book, prefixes_of(clusters));
        return decide(
            {std::move(source), std::move(destination), std::move(source_port), std::move(destination_port),
             std::move(protocol), std::move(tcp_flags), std::move(time)},
            [&](const auto& packets, const auto& decisions) { chain.process(packets, decisions); });
      },
      py::arg("paths"), py::arg("book"), py::arg("clusters"), py::arg("source"), py::arg("destination"),
      py::arg("source_port").noconvert(), py::arg("destination_port").noconvert(),
      py::arg("protocol").noconvert(), py::arg("tcp_flags").noconvert(), py::arg("time").noconvert(),
      "Each packet through the data path of its source's cluster, then through that of its destination's.");
}

}  // namespace fleetmesh::bindings
