// What the nodes of one cluster decide with.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "fleetmesh/policy_tables.hpp"

namespace py = pybind11;

namespace fleetmesh::bindings {

std::vector<Prefix> prefixes_of(const PrefixArguments& arguments) {
  std::vector<Prefix> prefixes;
  for (const auto& [text, length, value] : arguments) {
    const auto address = Address::parse(text);
    if (!address || length < 0 || length > (address->family == Family::v4 ? 32 : 128))
      throw std::invalid_argument("prefix " + text + "/" + std::to_string(length) + " is none");
    prefixes.push_back({*address, static_cast<std::uint8_t>(length), value});
  }
  return prefixes;
}

namespace {

using policy::AddressBook;
using policy::PolicyTables;
using policy::PolicyTablesMaker;

Address parsed(std::string_view text) {
  const auto address = Address::parse(text);
  if (!address) throw std::invalid_argument("address " + std::string(text) + " is none");
  return *address;
}

using EndpointRow = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::uint8_t>;
using EntryRow = std::tuple<std::uint32_t, std::uint8_t, std::uint32_t, std::uint8_t, std::uint16_t,
                            std::uint8_t, std::uint32_t, std::uint16_t, std::uint8_t, bool, std::uint32_t>;

std::pair<std::vector<EndpointRow>, std::vector<EntryRow>> entries(const PolicyTables& tables) {
  std::pair<std::vector<EndpointRow>, std::vector<EntryRow>> rows;
  tables.each(
      [&](policy::IdentityNumber identity, const fm_endpoint_value& value) {
        rows.first.emplace_back(identity, value.endpoint, value.lengths[FM_CT_OUT], value.lengths[FM_CT_IN],
                                value.enforced);
      },
      [&](const fm_policy_key& key, const fm_policy_value& value) {
        rows.second.emplace_back(key.endpoint, key.direction, key.identity, key.protocol,
                                 __builtin_bswap16(key.port), key.port_prefix, value.precedence,
                                 value.proxy_port, value.auth, value.flags & FM_POLICY_EXPLICIT_AUTH,
                                 value.cookie);
      });
  return rows;
}

template <class Find>
py::object whom(const PolicyTables& tables, const std::string& text, Find find) {
  const Address address = parsed(text);
  const fm_identity_value* known = find(tables, address);
  if (!known) return py::none();
  return py::make_tuple(known->identity, known->cluster);
}

}  // namespace

void register_policy_tables(py::module_& module) {
  py::class_<AddressBook>(module, "AddressBook", "Who has which address, of pods and nodes.")
      .def(py::init<>())
      .def(
          "set",
          [](AddressBook& self, const std::string& address, std::uint32_t identity, ClusterId cluster) {
            self.set(parsed(address), {identity, cluster, 0});
          },
          py::arg("address"), py::arg("identity"), py::arg("cluster"))
      .def(
          "set_all",
          [](AddressBook& self, const std::vector<std::string_view>& addresses,
             const std::vector<std::pair<std::uint32_t, ClusterId>>& whom) {
            if (addresses.size() != whom.size())
              throw std::invalid_argument(std::to_string(addresses.size()) + " addresses of " +
                                          std::to_string(whom.size()));
            for (std::size_t i = 0; i < addresses.size(); ++i)
              self.set(parsed(addresses[i]), {whom[i].first, whom[i].second, 0});
          },
          py::arg("addresses"), py::arg("whom"), "(identity, cluster) at each address.")
      .def(
          "remove", [](AddressBook& self, const std::string& address) { self.remove(parsed(address)); },
          py::arg("address"))
      .def(
          "copy", [](const AddressBook& self) { return AddressBook(self); },
          "Costs nothing, and is not changed with the original.")
      .def("__len__", &AddressBook::size);

  py::class_<PolicyTables, std::shared_ptr<PolicyTables>>(
      module, "PolicyTables", "What the nodes of one cluster decide with, at one moment.")
      .def_property_readonly("cluster_id", &PolicyTables::cluster)
      .def(
          "find",
          [](const PolicyTables& self, const std::string& text) {
            return whom(self, text, [](const PolicyTables& tables, const Address& address) {
              if (address.family == Family::v4)
                return tables.find(__builtin_bswap32(static_cast<std::uint32_t>(address.low)));
              const std::array<std::uint64_t, 2> words{__builtin_bswap64(address.high),
                                                       __builtin_bswap64(address.low)};
              std::uint32_t stored[4];
              std::memcpy(stored, words.data(), sizeof stored);
              return tables.find<const std::uint32_t*>(stored);
            });
          },
          py::arg("address"), "(identity, cluster id) of whom the cluster takes an address for, or None.")
      .def("entries", &entries,
           "What the kernel's maps hold. Of endpoints (identity, endpoint, bits of prefix lengths at egress, "
           "at "
           "ingress, bits of directions enforced); of policies (endpoint, direction, identity, protocol, "
           "port, "
           "prefix length, precedence, proxy port, authentication, whether that is explicit, 1 + number of "
           "the "
           "rule or 0) each.");

  py::class_<PolicyTablesMaker>(module, "PolicyTablesMaker", "Makes newer and newer tables of one cluster.")
      .def(py::init<ClusterId, std::uint8_t>(), py::arg("cluster"), py::arg("identity_bits"))
      .def(
          "hear",
          [](PolicyTablesMaker& self, const std::vector<ClusterId>& clusters) { self.hear(clusters); },
          py::arg("clusters"), "The ids of the other clusters whose addresses it knows.")
      .def(
          "set_own",
          [](PolicyTablesMaker& self, const std::string& address, std::uint32_t identity, ClusterId cluster) {
            self.set_own(parsed(address), {identity, cluster, 0});
          },
          py::arg("address"), py::arg("identity"), py::arg("cluster"),
          "An address that this cluster takes for somebody else than the book says.")
      .def("forget_own", &PolicyTablesMaker::forget_own)
      .def(
          "locate",
          [](PolicyTablesMaker& self, const PrefixArguments& clusters, const PrefixArguments& identities) {
            self.locate(prefixes_of(clusters), prefixes_of(identities));
          },
          py::arg("clusters"), py::arg("identities"),
          "Where clusters are, and what addresses are that nobody in the mesh has.")
      .def("set_endpoint", &PolicyTablesMaker::set_endpoint, py::arg("identity"), py::arg("policy"))
      .def("remove_endpoint", &PolicyTablesMaker::remove_endpoint, py::arg("identity"))
      .def(
          "make",
          [](const PolicyTablesMaker& self, const AddressBook& book) {
            return std::const_pointer_cast<PolicyTables>(self.make(book));
          },
          py::arg("book"));
}

}  // namespace fleetmesh::bindings
