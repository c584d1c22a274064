// Who can reach whom in a whole mesh.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "fleetmesh/reachability.hpp"

namespace py = pybind11;

namespace fleetmesh::bindings {
namespace {

using policy::Direction;
using policy::EndpointPolicy;
using policy::Outcome;
using policy::Reachability;

// cluster, number, eyes, pods, what judges it
using GroupRow = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t,
                            std::optional<const EndpointPolicy*>>;
using EyesRow = std::pair<std::uint32_t, std::vector<std::uint32_t>>;

policy::Population population_of(std::vector<std::uint32_t> clusters, std::uint32_t cluster_shift,
                                 const std::vector<GroupRow>& groups, std::vector<EyesRow> eyes,
                                 std::vector<policy::Look> looks) {
  policy::Population population{std::move(clusters), cluster_shift, {}, {}, std::move(looks)};
  for (const auto& [cluster, number, seeing, pods, by] : groups)
    population.groups.push_back({cluster, number, seeing, pods, by.value_or(nullptr)});
  for (auto& [cluster, all] : eyes) population.eyes.push_back({cluster, std::move(all)});
  return population;
}

Direction direction_of(bool ingress) { return ingress ? Direction::ingress : Direction::egress; }

py::bytes bytes_of(const std::vector<Outcome>& outcomes) {
  return {reinterpret_cast<const char*>(outcomes.data()), outcomes.size()};
}

Reachability::ClassId checked(const Reachability& self, Reachability::ClassId id) {
  if (id >= self.classes()) throw std::out_of_range("there is no class " + std::to_string(id));
  return id;
}

}  // namespace

void register_reachability(py::module_& module) {
  py::class_<Reachability>(module, "Reachability",
                           "Who can reach whom, by classes of pods; what it says never changes.")
      .def(py::init([](std::vector<std::uint32_t> clusters, std::uint32_t cluster_shift,
                       const std::vector<GroupRow>& groups, std::vector<EyesRow> eyes,
                       std::vector<policy::Look> looks, std::pair<std::uint32_t, std::uint32_t> window) {
             const auto population =
                 population_of(std::move(clusters), cluster_shift, groups, std::move(eyes), std::move(looks));
             const py::gil_scoped_release released;
             return std::make_unique<Reachability>(population, policy::Window{window.first, window.second});
           }),
           py::arg("clusters"), py::kw_only(), py::arg("cluster_shift"), py::arg("groups"), py::arg("eyes"),
           py::arg("looks"), py::arg("window"),
           "Groups: (place of its cluster, number, place of its eyes, pods, EndpointPolicy or None, which "
           "refuses everything). Eyes: (place of their cluster, for each cluster 0 or 1 + place of a look). "
           "Window: first and last protocol << 16 | port. Raises IndexError if a place is none.")
      .def("class_of", &Reachability::class_of, "The class of each group.")
      .def("__len__", &Reachability::classes)
      .def("size", &Reachability::size, "(different sides, peers that they name).")
      .def(
          "sides", [](const Reachability& self, std::uint32_t of) { return self.sides(checked(self, of)); },
          py::arg("of"), "Numbers of what its egress and its ingress say; equal ones say the same.")
      .def(
          "spans",
          [](Reachability& self, std::uint32_t source, std::uint32_t destination) {
            return self.spans(checked(self, source), checked(self, destination));
          },
          py::arg("source"), py::arg("destination"), "The number of a list of spans.")
      .def(
          "outcome",
          [](Reachability& self, std::uint32_t source, std::uint32_t destination, std::uint32_t key) {
            return static_cast<int>(self.outcome(checked(self, source), checked(self, destination), key));
          },
          py::arg("source"), py::arg("destination"), py::arg("key"), "At one port.")
      .def(
          "span_list",
          [](const Reachability& self, std::uint32_t number) {
            std::vector<std::pair<std::uint32_t, int>> rows;
            for (const policy::Span& span : self.span_list(number))
              rows.emplace_back(span.start, static_cast<int>(span.outcome));
            return rows;
          },
          py::arg("number"),
          "(protocol << 16 | port from which on it holds, outcome) each; 0 deny, 1 redirect, 2 allow.")
      .def(
          "cells",
          [](Reachability& self, std::uint32_t of, bool ingress) {
            return self.cells(checked(self, of), direction_of(ingress));
          },
          py::arg("of"), py::arg("ingress"),
          "(number of a list of spans, classes) each: whom it reaches or, of ingress, who reaches it.")
      .def(
          "around",
          [](const Reachability& self, std::uint32_t end, bool ingress, std::uint32_t key) {
            return bytes_of(self.around(checked(self, end), direction_of(ingress), key));
          },
          py::arg("end"), py::arg("ingress"), py::arg("key"), "The outcome for each class, a byte each.")
      .def(
          "around_end",
          [](Reachability& self, std::vector<std::uint32_t> numbers, std::optional<std::uint32_t> eyes,
             std::optional<const EndpointPolicy*> by, bool ingress, std::uint32_t key) {
            const Reachability::End end{std::move(numbers), eyes.has_value(), by.value_or(nullptr),
                                        eyes.value_or(0)};
            return bytes_of(self.around(end, direction_of(ingress), key));
          },
          py::arg("numbers"), py::arg("eyes"), py::arg("policy"), py::arg("ingress"), py::arg("key"),
          "The same of an end that is no pod: whom each pair of eyes takes it for, and its own eyes and "
          "policy if it is in a cluster of the mesh.")
      .def("count", &Reachability::count, py::arg("key"), py::call_guard<py::gil_scoped_release>(),
           "How many ordered pairs of different pods have each outcome.");
}

}  // namespace fleetmesh::bindings
