#include "fleetmesh/address.hpp"

#include <array>
#include <cstdio>

namespace fleetmesh {
namespace {

std::optional<std::uint32_t> parse_v4(std::string_view text) {
  std::uint32_t number = 0;
  for (int part = 0; part < 4; ++part) {
    if (part > 0) {
      if (text.empty() || text.front() != '.') return std::nullopt;
      text.remove_prefix(1);
    }
    std::uint32_t byte = 0;
    std::size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
      byte = byte * 10 + static_cast<std::uint32_t>(text[digits] - '0');
      if (++digits > 3 || byte > 255) return std::nullopt;
    }
    if (digits == 0 || (digits > 1 && text.front() == '0')) return std::nullopt;
    text.remove_prefix(digits);
    number = number << 8 | byte;
  }
  if (!text.empty()) return std::nullopt;
  return number;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

using Groups = std::array<std::uint16_t, 8>;

// Fills `groups` from the front of `text`. At most one run of zero groups may be left out ("::").
std::optional<Groups> parse_v6(std::string_view text) {
  Groups groups{};
  std::size_t count = 0;
  std::size_t gap = groups.size() + 1;
  if (text.starts_with("::")) {
    gap = 0;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    if (count == groups.size()) return std::nullopt;
    std::size_t digits = 0;
    unsigned value = 0;
    while (digits < text.size() && hex_digit(text[digits]) >= 0) {
      if (digits == 4) return std::nullopt;
      value = value << 4 | static_cast<unsigned>(hex_digit(text[digits++]));
    }
    if (digits == 0) return std::nullopt;
    if (digits < text.size() && text[digits] == '.') {
      const auto tail = parse_v4(text);
      if (!tail || count > groups.size() - 2) return std::nullopt;
      groups[count++] = static_cast<std::uint16_t>(*tail >> 16);
      groups[count++] = static_cast<std::uint16_t>(*tail);
      text = {};
      break;
    }
    groups[count++] = static_cast<std::uint16_t>(value);
    text.remove_prefix(digits);
    if (text.empty()) break;
    if (text.front() != ':' || text.size() == 1) return std::nullopt;
    text.remove_prefix(1);
    if (text.front() == ':') {
      if (gap <= groups.size()) return std::nullopt;
      gap = count;
      text.remove_prefix(1);
    }
  }
  if (gap > groups.size()) return count == groups.size() ? std::optional(groups) : std::nullopt;
  if (count == groups.size()) return std::nullopt;
  Groups full{};
  for (std::size_t i = 0; i < gap; ++i) full[i] = groups[i];
  for (std::size_t i = gap; i < count; ++i) full[full.size() - (count - i)] = groups[i];
  return full;
}

}  // namespace

std::optional<Address> Address::parse(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    const auto number = parse_v4(text);
    return number ? std::optional(v4(*number)) : std::nullopt;
  }
  const auto groups = parse_v6(text);
  if (!groups) return std::nullopt;
  Address address{Family::v6, 0, 0};
  for (std::size_t i = 0; i < 4; ++i) {
    address.high = address.high << 16 | (*groups)[i];
    address.low = address.low << 16 | (*groups)[i + 4];
  }
  return address;
}

Address Address::v6(const std::uint8_t* bytes) {
  Address address{Family::v6, 0, 0};
  for (int i = 0; i < 8; ++i) {
    address.high = address.high << 8 | bytes[i];
    address.low = address.low << 8 | bytes[i + 8];
  }
  return address;
}

std::string Address::text() const {
  if (family == Family::v4) {
    std::string result;
    for (int shift = 24; shift >= 0; shift -= 8) {
      const auto byte = static_cast<unsigned>(low >> shift & 255);
      if (byte >= 100) result += static_cast<char>('0' + byte / 100);
      if (byte >= 10) result += static_cast<char>('0' + byte / 10 % 10);
      result += static_cast<char>('0' + byte % 10);
      if (shift > 0) result += '.';
    }
    return result;
  }
  if (high == 0 && low >> 32 == 0xffff) return "::ffff:" + v4(static_cast<std::uint32_t>(low)).text();
  std::array<char, 8> buffer{};
  std::array<unsigned, 8> groups{};
  for (std::size_t i = 0; i < 4; ++i) {
    groups[i] = static_cast<unsigned>(high >> (48 - 16 * i) & 0xffff);
    groups[i + 4] = static_cast<unsigned>(low >> (48 - 16 * i) & 0xffff);
  }
  std::size_t gap = 8;
  std::size_t longest = 1;  // a single zero group is written out
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t run = 0;
    while (i + run < 8 && groups[i + run] == 0) ++run;
    if (run > longest) {
      longest = run;
      gap = i;
    }
  }
  std::string result;
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == gap) {
      result += "::";
      i += longest - 1;
      continue;
    }
    if (!result.empty() && result.back() != ':') result += ':';
    const int length = std::snprintf(buffer.data(), buffer.size(), "%x", groups[i]);
    result.append(buffer.data(), static_cast<std::size_t>(length));
  }
  return result;
}

}  // namespace fleetmesh
