// Maglev tables of candidates that belong to no mesh.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <stdexcept>

#include "bindings.hpp"
#include "fleetmesh/maglev.hpp"
#include "fleetmesh/maglev_fill.hpp"

namespace py = pybind11;

namespace fleetmesh::bindings {
namespace {

// id, address, port, protocol, weight, internal, cluster id
using Row =
    std::tuple<std::uint32_t, std::string, std::uint16_t, std::string, std::uint16_t, bool, std::uint32_t>;
using Ids = py::array_t<std::uint32_t, py::array::c_style>;

constexpr std::uint32_t kFree = 0xffffffff;

std::uint8_t protocol_number(const std::string& name) {
  if (name == "TCP") return 6;
  if (name == "UDP") return 17;
  if (name == "SCTP") return 132;
  if (name == "ANY") return maglev::kAnyProtocol;
  if (name == "NONE") return maglev::kNoProtocol;
  throw std::invalid_argument("protocol '" + name + "', expected TCP, UDP, SCTP, ANY or NONE");
}

maglev::Candidate candidate_of(const Row& row) {
  const auto& [id, address, port, protocol, weight, internal, cluster_id] = row;
  const auto percent = address.find('%');
  const auto parsed = Address::parse(std::string_view(address).substr(0, percent));
  std::string zone = percent == std::string::npos ? "" : address.substr(percent + 1);
  if (!parsed || (percent != std::string::npos && (zone.empty() || parsed->family == Family::v4)))
    throw std::invalid_argument("address '" + address + "', expected an IPv4 or IPv6 address");
  return {*parsed, port, protocol_number(protocol), internal, weight, cluster_id, std::move(zone)};
}

// The ids of a table, which numpy arrays share.
struct IdTable {
  std::vector<std::uint32_t> ids;
};

class IdTables {
 public:
  std::shared_ptr<const IdTable> get(std::uint32_t size, const maglev::Seed& seed, const maglev::Order& order,
                                     const std::vector<std::uint32_t>& ids) {
    const maglev::Hash inputs = maglev::digest_of(size, seed, order.ranked());
    std::string key(reinterpret_cast<const char*>(&inputs), sizeof inputs);
    key.append(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof ids[0]);
    return tables_.get(maglev::murmur3(key, 0), [&] {
      const auto table = ranks_.get(size, seed, order.ranked());
      IdTable made;
      made.ids.reserve(size);
      for (std::uint32_t slot = 0; slot < size; ++slot) made.ids.push_back(ids[table->rank(slot)]);
      return std::make_shared<const IdTable>(std::move(made));
    });
  }

 private:
  maglev::Tables ranks_;
  maglev::Shared<IdTable> tables_;
};

Ids lookup_table(const std::vector<Row>& rows, std::uint32_t size, const std::string& seed_text) {
  static IdTables& tables = *new IdTables;  // outlives every array
  std::shared_ptr<const IdTable> table;
  {
    const py::gil_scoped_release release;
    std::vector<maglev::Candidate> candidates;
    candidates.reserve(rows.size());
    for (const auto& row : rows) {
      if (std::get<0>(row) == kFree) throw std::invalid_argument("id 4294967295, expected 0..4294967294");
      candidates.push_back(candidate_of(row));
    }
    const auto seed = maglev::Seed::parse(seed_text);
    const maglev::Order order(candidates, seed);
    std::vector<std::uint32_t> ids;
    ids.reserve(rows.size());
    for (const auto input : order.inputs()) ids.push_back(std::get<0>(rows[input]));
    table = tables.get(size, seed, order, ids);
  }
  using Owner = std::shared_ptr<const IdTable>;
  const py::capsule owner(new Owner(table), [](void* held) { delete static_cast<Owner*>(held); });
  Ids array(static_cast<py::ssize_t>(table->ids.size()), table->ids.data(), owner);
  array.attr("flags").attr("writeable") = false;
  return array;
}

std::vector<std::string> fills() {
  std::vector<std::string> names{"plain"};
  for (const auto cpu : maglev::runnable()) names.emplace_back(maglev::name_of(cpu));
  return names;
}

std::vector<std::uint32_t> fill(const std::string& how, std::uint32_t size,
                                const std::vector<std::pair<std::uint32_t, std::uint32_t>>& walks,
                                std::vector<std::uint16_t> weights) {
  if (std::find(maglev::kSizes.begin(), maglev::kSizes.end(), size) == maglev::kSizes.end() ||
      walks.empty() || walks.size() != weights.size())
    throw std::invalid_argument("a size that is none, no walk, or not a weight for each");
  std::vector<maglev::Walk> all;
  for (const auto& [offset, skip] : walks) {
    if (offset >= size || skip == 0 || skip >= size) throw std::invalid_argument("a walk outside the table");
    all.push_back({offset, skip});
  }
  if (!maglev::weights_count(weights)) weights.clear();
  std::vector<std::uint32_t> table(size);
  if (how == "plain") {
    maglev::fill_plain(size, all, weights, table.data());
    return table;
  }
  for (const auto cpu : maglev::runnable()) {
    if (how != maglev::name_of(cpu)) continue;
    if (all.size() > 0xffff) {
      maglev::fill(cpu, size, all, weights, table.data());
      return table;
    }
    std::vector<std::uint16_t> ranks(size);
    maglev::fill(cpu, size, all, weights, ranks.data());
    return {ranks.begin(), ranks.end()};
  }
  throw std::invalid_argument("no fill '" + how + "' on this machine");
}

std::span<const std::uint32_t> column(const Ids& ids, const char* name) {
  if (ids.ndim() != 1) throw std::invalid_argument(std::string(name) + " is not one-dimensional");
  return {ids.data(), static_cast<std::size_t>(ids.size())};
}

}  // namespace

void register_maglev(py::module_& module) {
  module.def(
      "maglev_sizes", [] { return std::vector(maglev::kSizes.begin(), maglev::kSizes.end()); },
      "The table sizes that Cilium takes.");
  module.def(
      "maglev_text", [](const Row& row) { return maglev::text_of(candidate_of(row)); }, py::arg("candidate"),
      "The text by which Cilium sorts and hashes a backend; ValueError if it can't be one.");
  module.def("maglev_fills", &fills,
             "The ways to fill a table that this machine can run: plain, and fast ones.");
  module.def("maglev_fill", &fill, py::arg("how"), py::arg("size"), py::arg("walks"), py::arg("weights"),
             py::call_guard<py::gil_scoped_release>(),
             "The rank that has each entry; walks are (offset, skip) by rank. All ways give the same.");
  module.def(
      "maglev_murmur3",
      [](const std::string& text, std::uint32_t seed) {
        const auto hash = maglev::murmur3(text, seed);
        return std::pair(hash.first, hash.second);
      },
      py::arg("text"), py::arg("seed"), "MurmurHash3 x64 128.");
  module.def(
      "maglev_table", &lookup_table, py::arg("candidates"), py::arg("size"), py::arg("seed"),
      "The ids of Cilium's table, read-only and shared with who asked for the same. Candidates are (id, "
      "address, port, protocol, weight, internal, cluster id).");
  module.def(
      "maglev_movement",
      [](const Ids& before, const Ids& after) {
        const auto movement = maglev::movement(column(before, "before"), column(after, "after"));
        return std::pair(movement.moved, movement.ideal);
      },
      py::arg("before"), py::arg("after"),
      "How many entries changed, and how many would have had to for the shares that they have after.");
}

}  // namespace fleetmesh::bindings
