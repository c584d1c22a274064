// What a viewer decides with.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <stdexcept>

#include "bindings.hpp"

namespace py = pybind11;

namespace fleetmesh::bindings {
namespace {

using Names = std::vector<std::pair<std::string, std::string>>;
using BackendRow = std::tuple<ClusterId, std::string, std::uint16_t, std::uint8_t, int, std::uint16_t>;

struct PySelection {
  std::shared_ptr<const Selection> selection;
};

using FrontendRow = std::tuple<int, bool, std::string, std::uint16_t, std::uint8_t, std::string, PySelection>;

PyTables make(const Snapshot& snapshot, long long id, const std::optional<std::string>& node,
              std::uint32_t size, const std::string& seed) {
  if (std::find(maglev::kSizes.begin(), maglev::kSizes.end(), size) == maglev::kSizes.end())
    throw std::invalid_argument("no Maglev table has " + std::to_string(size) + " entries");
  const Viewer viewer{require_member(*snapshot.state, id),
                      node ? snapshot.mesh->shared().strings.id(*node) : 0};
  return {Tables::of(snapshot.mesh, snapshot.state, viewer, {size, maglev::Seed::parse(seed)}), snapshot};
}

Names names_of(const PyTables& t, std::vector<ServiceId>& ids) {
  Names names;
  for (const ServiceId id : ids) names.push_back(t.at.mesh->shared().services.name(id));
  std::sort(names.begin(), names.end());
  return names;
}

Names services(const PyTables& t) {
  const py::gil_scoped_release release;
  std::vector<ServiceId> ids;
  t.tables->each_service([&](const CompiledService& compiled) { ids.push_back(compiled.service); });
  return names_of(t, ids);
}

Names changed_since(const PyTables& t, const PyTables& older) {
  const py::gil_scoped_release release;
  std::vector<ServiceId> ids;
  t.tables->changed_since(*older.tables, [&](ServiceId id) { ids.push_back(id); });
  return names_of(t, ids);
}

std::vector<FrontendRow> rows_of(const PyTables& t, const std::string& space, const std::string& name) {
  std::vector<FrontendRow> rows;
  const auto id = service_id(t.at, space, name);
  const CompiledService* service = id ? t.tables->service(*id) : nullptr;
  if (!service) return rows;
  std::vector<FrontendSpec> specs;
  for (const auto& each : service->frontends) specs.push_back(each.frontend);
  for (const std::size_t i : reading_order(specs)) {
    const auto& [f, selection] = service->frontends[i];
    rows.emplace_back(static_cast<int>(f.type), f.internal, f.address.text(), f.port, f.protocol,
                      t.at.mesh->shared().strings.text(f.port_name), PySelection{selection});
  }
  return rows;
}

std::vector<FrontendRow> frontends(const PyTables& t, const std::string& space, const std::string& name) {
  const py::gil_scoped_release release;
  return rows_of(t, space, name);
}

std::vector<std::vector<FrontendRow>> filled(const PyTables& t, const Names& names) {
  const py::gil_scoped_release release;
  std::vector<std::vector<FrontendRow>> found;
  found.reserve(names.size());
  for (const auto& [space, name] : names) {
    found.push_back(rows_of(t, space, name));
    for (const auto& row : found.back()) std::get<PySelection>(row).selection->table();
  }
  return found;
}

std::vector<BackendRow> backends(const PySelection& s) {
  std::vector<BackendRow> rows;
  for (const auto& b : s.selection->backends())
    rows.emplace_back(b.cluster, b.address.text(), b.port, b.protocol, static_cast<int>(b.state), b.weight);
  return rows;
}

template <class Rank>
py::array view_of(const std::shared_ptr<const maglev::Table>& table, const Rank* ranks) {
  using Owner = std::shared_ptr<const maglev::Table>;
  const py::capsule owner(new Owner(table), [](void* held) { delete static_cast<Owner*>(held); });
  py::array_t<Rank> view(static_cast<py::ssize_t>(table->size()), ranks, owner);
  view.attr("flags").attr("writeable") = false;
  return view;
}

py::array ranks(const PySelection& s) {
  std::shared_ptr<const maglev::Table> table;
  if (s.selection->is_filled()) {  // who has let go of the interpreter may wait long for it
    table = s.selection->shared_table();
  } else {
    const py::gil_scoped_release release;
    table = s.selection->shared_table();
  }
  if (!table) {
    py::array_t<std::uint16_t> nothing(0);
    nothing.attr("flags").attr("writeable") = false;
    return nothing;
  }
  return table->wide() ? view_of(table, table->ranks32()) : view_of(table, table->ranks16());
}

}  // namespace

void register_tables(py::module_& module) {
  py::class_<PySelection>(
      module, "Selection",
      "The backends that a frontend selects, in the order of their Maglev table. Two that "
      "are equal select the same.")
      .def_property_readonly(
          "in_use", [](const PySelection& s) { return s.selection->in_use(); },
          "How many, from the first, take new connections.")
      .def("backends", &backends, "(cluster id, address, port, protocol, state, weight) each.")
      .def("ranks", &ranks,
           "Entry -> index into backends(): uint16, or uint32 beyond 65,535 backends. Read-only and not "
           "copied; "
           "empty where nothing is in use.")
      .def(
          "movement",
          [](const PySelection& s, const PySelection& after) -> std::optional<std::pair<double, double>> {
            const py::gil_scoped_release release;
            if (s.selection->options() != after.selection->options()) return std::nullopt;
            const auto [moved, ideal] = movement(*s.selection, *after.selection);
            const double size = s.selection->options().size;
            return std::pair(moved / size, ideal / size);
          },
          py::arg("after"),
          "(the part of the table that leads to another backend after, the least that has to), 0..1; None if "
          "sizes or seeds differ.")
      .def("__eq__",
           [](const PySelection& s, const py::object& other) {
             return py::isinstance<PySelection>(other) &&
                    s.selection == other.cast<const PySelection&>().selection;
           })
      .def("__hash__", [](const PySelection& s) { return std::hash<const void*>()(s.selection.get()); });

  py::class_<PyTables>(module, "Tables", "What one viewer decides with at one generation. Never changes.")
      .def_property_readonly("generation", [](const PyTables& t) { return t.tables->generation(); })
      .def_property_readonly("cluster_id", [](const PyTables& t) { return t.tables->viewer(); })
      .def("services", &services, "(namespace, name) of every service with a frontend, sorted.")
      .def("frontends", &frontends, py::arg("namespace"), py::arg("name"),
           "(type, internal, address, port, protocol, port name, selection) each.")
      .def("filled", &filled, py::arg("services"),
           "`frontends` of each (namespace, name), with the Maglev tables filled. The interpreter is let go "
           "of "
           "once.")
      .def(
          "advance",
          [](const PyTables& t, const Snapshot& snapshot) {
            if (&snapshot.mesh->shared() != &t.at.mesh->shared())
              throw std::invalid_argument("the snapshot is of a mesh that shares no history");
            return PyTables{t.tables->advance(snapshot.state), snapshot};
          },
          py::arg("snapshot"), "The same viewer at another state; what did not change is kept.")
      .def("changed_since", &changed_since, py::arg("older"),
           "(namespace, name) of the services that are not the same in older tables of the viewer.");

  module.def("tables", &make, py::arg("snapshot"), py::arg("cluster_id"), py::arg("node"), py::arg("size"),
             py::arg("seed"), "The tables of a member, as the union over its nodes or of one of them.");
}

}  // namespace fleetmesh::bindings
