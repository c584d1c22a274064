#include "fleetmesh/wire_values.hpp"
#include "wire_json.hpp"

namespace fleetmesh::wire {
namespace {

// So many of the last are compared with what comes, to find the same again.
constexpr std::size_t kCompared = 8;

// Passes over one that has been read before. It ends where its last brace is, so what begins like it is it.
template <class Known>
bool skip_known(Cursor& at, const std::vector<Known>& known, std::size_t& which) {
  const std::size_t fewest = known.size() > kCompared ? known.size() - kCompared : 0;
  for (which = known.size(); which-- > fewest;)
    if (at.skip(known[which].text)) return true;
  which = known.size();
  return false;
}

bool port_map(Cursor& at, ServiceValue& into, std::size_t& which) {
  if (skip_known(at, into.port_maps, which)) return true;
  const char* first = at.place();
  const std::size_t before = into.ports.size();
  const auto port = [&](std::string_view name) {
    NamedPort& found = into.ports.emplace_back(NamedPort{name, {}, 0});
    return at.skip(R"({"Protocol":")") && at.text(found.protocol) && at.skip(R"(,"Port":)") &&
           at.number(found.port) && at.skip("}");
  };
  if (!at.map(port)) return false;
  into.port_maps.push_back({at.since(first), {before, into.ports.size() - before}});
  return true;
}

bool addresses(Cursor& at, ServiceValue& into, std::vector<AddressEntry>& entries) {
  entries.clear();
  return at.map([&](std::string_view address) {
    AddressEntry& entry = entries.emplace_back(AddressEntry{address, 0});
    return is_canonical(address) && port_map(at, into, entry.which);
  });
}

// The backend of an address. Both are in ascending order, so the search goes on where the last one ended.
bool find_backend(const ServiceValue& value, std::string_view address, std::size_t& next) {
  while (next < value.backends.size() && value.backends[next].address < address) ++next;
  return next < value.backends.size() && value.backends[next].address == address;
}

bool hostnames(Cursor& at, ServiceValue& into) {
  into.hostnames.clear();
  if (!at.skip(R"(,"hostnames":)")) return true;
  std::size_t backend = 0;
  return at.map([&](std::string_view address) {
    if (!find_backend(into, address, backend)) return false;
    BackendText& found = into.hostnames.emplace_back(BackendText{backend, {}});
    return at.skip("\"") && at.text(found.text);
  });
}

bool zone(Cursor& at, ServiceValue& into, std::size_t& which) {
  if (skip_known(at, into.zones, which)) return true;
  const char* first = at.place();
  Zone found;
  found.hints.first = into.hints.size();
  const auto hint = [&] {
    return at.skip(R"({"name":")") && at.text(into.hints.emplace_back()) && at.skip("}");
  };
  if (!at.skip(R"({"zone":")") || !at.text(found.name) || !at.skip(R"(,"forZones":)") ||
      !(at.skip("null") || at.list(hint)) || !at.skip("}"))
    return false;
  found.hints.count = into.hints.size() - found.hints.first;
  found.text = at.since(first);
  into.zones.push_back(found);
  return true;
}

bool backend_zones(Cursor& at, ServiceValue& into) {
  into.hints.clear();
  into.zones.clear();
  into.backend_zones.clear();
  if (!at.skip(R"(,"zones":)")) return true;
  std::size_t backend = 0;
  return at.map([&](std::string_view address) {
    if (!find_backend(into, address, backend)) return false;
    BackendZone& found = into.backend_zones.emplace_back(BackendZone{backend, 0});
    return zone(at, into, found.which);
  });
}

bool texts(Cursor& at, TextMap& into) {
  into.entries.clear();
  const char* first = at.place();
  const auto entry = [&](std::string_view key) {
    TextEntry& found = into.entries.emplace_back(TextEntry{key, {}});
    return at.skip("\"") && at.text(found.text);
  };
  if (!at.map(entry)) return false;
  into.text = at.since(first);
  return true;
}

}  // namespace

bool read_service(std::string_view value, ServiceValue& into) {
  Cursor at(value);
  into.ports.clear();
  into.port_maps.clear();
  return at.skip(R"({"cluster":")") && at.text(into.cluster) && at.skip(R"(,"namespace":")") &&
         at.text(into.space) && at.skip(R"(,"name":")") && at.text(into.name) &&
         at.skip(R"(,"frontends":)") && addresses(at, into, into.frontends) && at.skip(R"(,"backends":)") &&
         addresses(at, into, into.backends) && hostnames(at, into) && backend_zones(at, into) &&
         at.skip(R"(,"labels":)") && texts(at, into.labels) && at.skip(R"(,"selector":)") &&
         texts(at, into.selector) && at.skip(R"(,"includeExternal":)") && at.boolean(into.include_external) &&
         at.skip(R"(,"shared":)") && at.boolean(into.shared) && at.skip(R"(,"clusterID":)") &&
         at.number(into.cluster_id) && at.skip("}") && at.done();
}

}  // namespace fleetmesh::wire
