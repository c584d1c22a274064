// Values of a store: what is taken is exactly what was read of it, written again.
#include <string>
#include <string_view>

#include "bytes.hpp"
#include "fleetmesh/address.hpp"
#include "fleetmesh/wire_values.hpp"

namespace fleetmesh::fuzz {
namespace {

using namespace wire;

// What a value begins with before each that is read, so that something would show of it if it were left.
constexpr std::string_view kIpBefore =
    R"({"IP":"fd00::99","Mask":null,"HostIP":"fd00::98","ID":99,"Key":9,"Metadata":"old","K8sNamespace":"old",)"
    R"("K8sPodName":"old","K8sServiceAccount":"old","NamedPorts":[{"Name":"old","Port":9,"Protocol":"old"}]})";
constexpr std::string_view kServiceBefore =
    R"({"cluster":"old","namespace":"old","name":"old","frontends":{"fd00::99":{}},"backends":{"fd00::98":)"
    R"({"old":{"Protocol":"old","Port":9}}},"hostnames":{"fd00::98":"old"},"zones":{"fd00::98":{"zone":"old",)"
    R"("forZones":[{"name":"old"}]}},"labels":{"old":"old"},"selector":{"old":"older"},"includeExternal":true,)"
    R"("shared":true,"clusterID":99})";

// The characters one by one, by their definition.
bool is_plain(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const unsigned first = static_cast<unsigned char>(text[at]);
    const std::size_t size = first < 0x80 ? 1 : first >> 5U == 6 ? 2 : first >> 4U == 14 ? 3 : 4;
    if ((size == 4 && first >> 3U != 30) || text.size() - at < size) return false;
    unsigned character = size == 1 ? first : first & (0x7fU >> size);
    for (std::size_t i = 1; i < size; ++i) {
      const unsigned next = static_cast<unsigned char>(text[at + i]);
      if (next >> 6U != 2) return false;
      character = character << 6U | (next & 63U);
    }
    const unsigned least = size == 1 ? 0x20 : size == 2 ? 0x80 : size == 3 ? 0x800 : 0x10000;
    if (character < least || character > 0x10ffff || (character >= 0xd800 && character < 0xe000))
      return false;
    if (character == '"' || character == '\\') return false;
    at += size;
  }
  return true;
}

// Compares a value with what should stand in it, from its front.
class Expected {
 public:
  explicit Expected(std::string_view value) : left_(value) {}

  bool next(std::string_view text) {
    if (!left_.starts_with(text)) return false;
    left_.remove_prefix(text.size());
    return true;
  }
  Expected& raw(std::string_view text) {
    require(next(text), "a value is what was read of it");
    return *this;
  }
  Expected& text(std::string_view text) {
    require(is_plain(text), "a text is UTF-8 without escapes");
    return raw("\"").raw(text).raw("\"");
  }
  Expected& number(std::uint64_t number) { return raw(std::to_string(number)); }
  Expected& address(std::string_view address, bool mapped) {
    const auto read = Address::parse(address);
    require(read && read->text() == address, "an address is as Go prints it");
    require(mapped || !address.starts_with("::ffff:") || address.find('.') == std::string_view::npos,
            "an address of a pod is not IPv4 within IPv6");
    return text(address);
  }
  Expected& optional(std::string_view before, std::string_view text) {
    return text.empty() ? *this : raw(before).text(text);
  }
  // `write(i)` expects entry i, its key at `key(i)`.
  template <class Key, class Write>
  Expected& map(std::size_t size, Key key, Write write) {
    if (!size) {
      require(next("{}") || next("null"), "an empty map is written in two ways");
      return *this;
    }
    for (std::size_t i = 0; i < size; ++i) {
      require(!i || key(i - 1) < key(i), "keys are in order");
      raw(i ? "," : "{");
      write(i);
    }
    return raw("}");
  }
  void end() const { require(left_.empty(), "all of a value was read"); }

 private:
  std::string_view left_;
};

void expect(Expected& value, const IpValue& read) {
  value.raw(R"({"IP":)").address(read.address, false).raw(R"(,"Mask":null,"HostIP":)");
  if (read.host.empty())
    value.raw("\"\"");
  else
    value.address(read.host, false);
  value.raw(R"(,"ID":)").number(read.identity).raw(R"(,"Key":)").number(read.key);
  value.raw(R"(,"Metadata":)").text(read.metadata);
  value.optional(R"(,"K8sNamespace":)", read.space).optional(R"(,"K8sPodName":)", read.pod);
  value.optional(R"(,"K8sServiceAccount":)", read.service_account);
  if (!read.named_ports.empty()) {
    value.raw(R"(,"NamedPorts":)");
    Expected again = value;
    again.raw(read.named_ports_text).raw("}").end();
    for (std::size_t i = 0; i < read.named_ports.size(); ++i) {
      const NamedPort& port = read.named_ports[i];
      value.raw(i ? "," : "[").raw(R"({"Name":)").text(port.name).raw(R"(,"Port":)").number(port.port);
      value.raw(R"(,"Protocol":)").text(port.protocol).raw("}");
    }
    value.raw("]");
  }
  value.raw("}").end();
}

void expect_ports(Expected& value, const ServiceValue& read, const PortMap& map) {
  Expected again = value;
  again.raw(map.text);
  const auto port = [&](std::size_t i) -> const NamedPort& { return read.ports[map.ports.first + i]; };
  value.map(
      map.ports.count, [&](std::size_t i) { return port(i).name; },
      [&](std::size_t i) {
        value.text(port(i).name).raw(R"(:{"Protocol":)").text(port(i).protocol).raw(R"(,"Port":)");
        value.number(port(i).port).raw("}");
      });
}

void expect_addresses(Expected& value, const ServiceValue& read, const std::vector<AddressEntry>& entries) {
  value.map(
      entries.size(), [&](std::size_t i) { return entries[i].address; },
      [&](std::size_t i) {
        value.address(entries[i].address, true).raw(":");
        expect_ports(value, read, read.port_maps[entries[i].which]);
      });
}

void expect_zone(Expected& value, const ServiceValue& read, const Zone& zone) {
  Expected again = value;
  again.raw(zone.text);
  value.raw(R"({"zone":)").text(zone.name).raw(R"(,"forZones":)");
  if (!zone.hints.count) {
    require(value.next("null") || value.next("[]"), "no hints are written in two ways");
  } else {
    for (std::size_t i = 0; i < zone.hints.count; ++i)
      value.raw(i ? "," : "[").raw(R"({"name":)").text(read.hints[zone.hints.first + i]).raw("}");
    value.raw("]");
  }
  value.raw("}");
}

void expect_texts(Expected& value, const TextMap& texts) {
  Expected again = value;
  again.raw(texts.text);
  value.map(
      texts.entries.size(), [&](std::size_t i) { return texts.entries[i].key; },
      [&](std::size_t i) { value.text(texts.entries[i].key).raw(":").text(texts.entries[i].text); });
}

void expect(Expected& value, const ServiceValue& read) {
  value.raw(R"({"cluster":)").text(read.cluster).raw(R"(,"namespace":)").text(read.space);
  value.raw(R"(,"name":)").text(read.name).raw(R"(,"frontends":)");
  expect_addresses(value, read, read.frontends);
  value.raw(R"(,"backends":)");
  expect_addresses(value, read, read.backends);
  if (value.next(R"(,"hostnames":)"))
    value.map(
        read.hostnames.size(),
        [&](std::size_t i) { return read.backends[read.hostnames[i].backend].address; },
        [&](std::size_t i) {
          value.text(read.backends[read.hostnames[i].backend].address).raw(":").text(read.hostnames[i].text);
        });
  else
    require(read.hostnames.empty(), "host names are read where there are some");
  if (value.next(R"(,"zones":)"))
    value.map(
        read.backend_zones.size(),
        [&](std::size_t i) { return read.backends[read.backend_zones[i].backend].address; },
        [&](std::size_t i) {
          value.text(read.backends[read.backend_zones[i].backend].address).raw(":");
          expect_zone(value, read, read.zones[read.backend_zones[i].which]);
        });
  else
    require(read.backend_zones.empty(), "zones are read where there are some");
  value.raw(R"(,"labels":)");
  expect_texts(value, read.labels);
  value.raw(R"(,"selector":)");
  expect_texts(value, read.selector);
  value.raw(R"(,"includeExternal":)").raw(read.include_external ? "true" : "false");
  value.raw(R"(,"shared":)").raw(read.shared ? "true" : "false");
  value.raw(R"(,"clusterID":)").number(read.cluster_id).raw("}").end();
}

template <class Value, class Read>
void check(std::string_view value, std::string_view before, Read read) {
  Value found;
  require(read(before, found), "a good value is taken");
  if (!read(value, found)) return;
  Expected expected(value);
  expect(expected, found);
  require(!read(value.substr(0, value.size() - 1), found), "a part of a value is none");
  require(!read(std::string(value) + " ", found), "nothing stands behind a value");
}

}  // namespace
}  // namespace fleetmesh::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fleetmesh;
  const std::string_view value(reinterpret_cast<const char*>(data), size);
  fuzz::check<wire::IpValue>(value, fuzz::kIpBefore, wire::read_ip);
  fuzz::check<wire::ServiceValue>(value, fuzz::kServiceBefore, wire::read_service);
  return 0;
}
