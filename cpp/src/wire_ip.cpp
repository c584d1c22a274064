#include "fleetmesh/wire_values.hpp"
#include "wire_json.hpp"

namespace fleetmesh::wire {
namespace {

// Of a field that is left out where it is empty.
bool optional_text(Cursor& at, std::string_view before, std::string_view& into) {
  into = {};
  return !at.skip(before) || (at.text(into) && !into.empty());
}

bool named_ports(Cursor& at, IpValue& into) {
  into.named_ports.clear();
  into.named_ports_text = {};
  if (!at.skip(R"(,"NamedPorts":)")) return true;
  const char* first = at.place();
  const auto port = [&] {
    NamedPort& found = into.named_ports.emplace_back();
    return at.skip(R"({"Name":")") && at.text(found.name) && at.skip(R"(,"Port":)") &&
           at.number(found.port) && at.skip(R"(,"Protocol":")") && at.text(found.protocol) && at.skip("}");
  };
  if (!at.list(port) || into.named_ports.empty()) return false;
  into.named_ports_text = at.since(first);
  return true;
}

}  // namespace

bool read_ip(std::string_view value, IpValue& into) {
  Cursor at(value);
  return at.skip(R"({"IP":")") && at.text(into.address) && is_canonical_ip(into.address) &&
         at.skip(R"(,"Mask":null,"HostIP":")") && at.text(into.host) &&
         (into.host.empty() || is_canonical_ip(into.host)) && at.skip(R"(,"ID":)") &&
         at.number(into.identity) && at.skip(R"(,"Key":)") && at.number(into.key) &&
         at.skip(R"(,"Metadata":")") && at.text(into.metadata) &&
         optional_text(at, R"(,"K8sNamespace":")", into.space) &&
         optional_text(at, R"(,"K8sPodName":")", into.pod) &&
         optional_text(at, R"(,"K8sServiceAccount":")", into.service_account) && named_ports(at, into) &&
         at.skip("}") && at.done();
}

}  // namespace fleetmesh::wire
