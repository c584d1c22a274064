// Addresses, beside the C library's reading of them, and lists of names.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "bytes.hpp"
#include "fleetmesh/address.hpp"
#include "fleetmesh/interner.hpp"

namespace fleetmesh::fuzz {
namespace {

void check_address(std::string_view text) {
  const auto address = Address::parse(text);
  if (address) {
    const std::string written = address->text();
    require(Address::parse(written) == address, "an address is read as it was written");
    require(Address::parse(written)->text() == written, "an address is written one way");
  }
  if (text.find('\0') != std::string_view::npos) return;  // where the C library would stop reading
  const std::string ended(text);
  std::array<std::uint8_t, 16> bytes{};
  if (text.find(':') == std::string_view::npos) {
    const bool known = inet_pton(AF_INET, ended.c_str(), bytes.data()) == 1;
    require(known == address.has_value(), "IPv4 addresses are those of the C library");
    if (!known) return;
    std::uint32_t number = 0;
    for (std::size_t i = 0; i < 4; ++i) number = number << 8U | bytes[i];
    require(*address == Address::v4(number), "IPv4 addresses mean what the C library says");
  } else {
    const bool known = inet_pton(AF_INET6, ended.c_str(), bytes.data()) == 1;
    require(known == address.has_value(), "IPv6 addresses are those of the C library");
    if (known) require(*address == Address::v6(bytes.data()), "IPv6 addresses mean what the C library says");
  }
}

void check_list(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const auto end = text.find('\n');
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  const bool joins =
      std::none_of(parts.begin(), parts.end(), [](const auto& part) { return part.find('\0') != part.npos; });
  Interner strings;
  try {
    const StringId id = strings.list(parts);
    require(joins, "a name with NUL is in no list");
    const bool empty = parts.size() == 1 && parts[0].empty();  // an empty name alone is no list
    require(empty ? id == 0 : strings.parts(id) == parts, "a list is read as it was written");
    for (const auto& part : parts) require(list_holds(strings.text(id), part), "a list holds its parts");
    require(!list_holds(strings.text(id), "\n"), "a list holds nothing else");
    StringId again = 0;
    require(strings.find(strings.text(id), again) && again == id, "a text has one number");
  } catch (const std::invalid_argument&) {
    require(!joins, "only NUL keeps names out of a list");
  }
}

}  // namespace
}  // namespace fleetmesh::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fleetmesh::fuzz::check_address(text);
  fleetmesh::fuzz::check_list(text);
  return 0;
}
