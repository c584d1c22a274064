#include "wire_json.hpp"

#include "fleetmesh/address.hpp"

namespace fleetmesh::wire {

bool is_utf8(std::string_view text) {
  std::size_t at = 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  while (at < text.size()) {
    const unsigned first = byte(at);
    if (first < 0x80) {
      ++at;
      continue;
    }
    const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() - at < size) return false;
    for (std::size_t i = 1; i < size; ++i)
      if ((byte(at + i) & 0xc0U) != 0x80) return false;
    // What is too long, a surrogate, or past the last character shows in the second byte.
    const unsigned second = byte(at + 1);
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
      return false;
    at += size;
  }
  return true;
}

namespace {

bool is_printed(std::string_view text, bool mapped) {
  const auto address = Address::parse(text);
  if (!address) return false;
  if (address->family == Family::v4) return true;  // there is one way to write it
  if (!mapped && address->high == 0 && address->low >> 32U == 0xffff) return false;
  return address->text() == text;
}

}  // namespace

bool is_canonical(std::string_view text) { return is_printed(text, true); }
bool is_canonical_ip(std::string_view text) { return is_printed(text, false); }

}  // namespace fleetmesh::wire
