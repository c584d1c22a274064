// Values of a store in exactly the form in which Cilium writes them, read in one pass.
//
// That is JSON of Go's encoding/json with the fields of Cilium 1.18 to 1.20 in their order: no white space,
// no escapes, maps with ascending keys, addresses as Go prints them. Whatever is written otherwise is passed
// over here, which does not mean that it is wrong: a slower reader that knows all of JSON judges it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace fleetmesh::wire {

// All texts point into the value that was read; "" where it has none.

struct NamedPort {
  std::string_view name;
  std::string_view protocol;
  std::uint16_t port = 0;
};

// An address and whose it is (Cilium pkg/identity/identity.go, `IPIdentityPair`), of a pod and no network.
struct IpValue {
  std::string_view address;
  std::string_view host;
  std::string_view metadata;
  std::string_view space;
  std::string_view pod;
  std::string_view service_account;
  std::string_view named_ports_text;  // the list as it stands there
  std::vector<NamedPort> named_ports;
  std::uint32_t identity = 0;
  std::uint8_t key = 0;
};

// So many of a list, from one of them on.
struct Span {
  std::size_t first = 0;
  std::size_t count = 0;
};

struct PortMap {
  std::string_view text;  // as it stands there
  Span ports;
};

struct Zone {
  std::string_view text;  // as it stands there
  std::string_view name;
  Span hints;
};

// Of an address: which of the maps of ports, or of the zones, it has.
struct AddressEntry {
  std::string_view address;
  std::size_t which = 0;
};

// Of the backend of that number.
struct BackendText {
  std::size_t backend = 0;
  std::string_view text;
};
struct BackendZone {
  std::size_t backend = 0;
  std::size_t which = 0;
};

struct TextEntry {
  std::string_view key;
  std::string_view text;
};
struct TextMap {
  std::string_view text;  // as it stands there
  std::vector<TextEntry> entries;
};

// A global service (Cilium pkg/clustermesh/store/store.go, `ClusterService`).
struct ServiceValue {
  std::string_view cluster;
  std::string_view space;
  std::string_view name;
  std::vector<NamedPort> ports;
  std::vector<PortMap> port_maps;  // what is written the same is mostly one
  std::vector<std::string_view> hints;
  std::vector<Zone> zones;
  std::vector<AddressEntry> frontends;
  std::vector<AddressEntry> backends;
  std::vector<BackendText> hostnames;  // in the order of the backends, as the next
  std::vector<BackendZone> backend_zones;
  TextMap labels;
  TextMap selector;
  std::uint32_t cluster_id = 0;
  bool include_external = false;
  bool shared = false;
};

// Whether the value is of that form; if not, what `into` has then means nothing. What `into` had before is
// forgotten, and its memory used again.
bool read_ip(std::string_view value, IpValue& into);
bool read_service(std::string_view value, ServiceValue& into);

}  // namespace fleetmesh::wire
