// Ports as prefixes of protocol and port, which a longest match can tell apart, and as spans.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

namespace fleetmesh::policy {

inline constexpr std::uint8_t kProtocolLength = 8;
inline constexpr std::uint8_t kPortLength = 24;
inline constexpr std::uint32_t kEndOfPorts = 1U << kPortLength;
inline constexpr std::uint32_t kNoEntry = std::numeric_limits<std::uint32_t>::max();

inline std::uint16_t masked(std::uint16_t port, std::uint8_t length) {
  const std::uint32_t bits = length > kProtocolLength ? length - kProtocolLength : 0U;
  return static_cast<std::uint16_t>(port & (0xffff0000U >> bits));
}

// Whether whatever the inner matches the outer does too. Of anything with length, protocol and port.
template <class Outer, class Inner>
bool covers(const Outer& outer, const Inner& inner) {
  if (outer.length > inner.length) return false;
  if (!outer.length) return true;
  return outer.protocol == inner.protocol && masked(inner.port, outer.length) == outer.port;
}

// What is broader stands before what it covers.
template <class Prefix>
bool before_in_order(const Prefix& one, const Prefix& other) {
  return std::tie(one.protocol, one.port, one.length) < std::tie(other.protocol, other.port, other.length);
}

template <class Prefix>
bool same_ports(const Prefix& one, const Prefix& other) {
  return std::tie(one.protocol, one.port, one.length) == std::tie(other.protocol, other.port, other.length);
}

// The prefix of that length that covers another one, of a sorted list; null where it is not there.
template <class Prefix>
const Prefix* covering(const std::vector<Prefix>& sorted, const Prefix& inner, std::uint8_t length) {
  Prefix wanted = inner;
  wanted.length = length;
  wanted.protocol = length ? inner.protocol : std::uint8_t{0};
  wanted.port = length ? masked(inner.port, length) : std::uint16_t{0};
  const auto at = std::lower_bound(sorted.begin(), sorted.end(), wanted, before_in_order<Prefix>);
  return at != sorted.end() && same_ports(*at, wanted) ? &*at : nullptr;
}

// A range as aligned prefixes.
template <class Visit>
void each_prefix(std::uint16_t first, std::uint16_t last, Visit visit) {
  for (std::uint32_t at = first; at <= last;) {
    std::uint32_t size = at ? at & -at : 65536;
    while (size > 1 && at + size - 1 > last) size /= 2;
    visit(static_cast<std::uint16_t>(at), static_cast<std::uint8_t>(kPortLength - __builtin_ctz(size)));
    at += size;
  }
}

struct Span {
  std::uint32_t start = 0;  // protocol and port
  std::uint32_t which = kNoEntry;
};

// From where on which of the sorted prefixes is the longest; the first span starts at 0.
template <class Prefix>
std::vector<Span> spans(const std::vector<Prefix>& sorted) {
  struct Open {
    std::uint32_t end;
    std::uint32_t which;
  };
  std::vector<Span> found;
  std::vector<Open> open;
  const auto say = [&](std::uint32_t start, std::uint32_t which) {
    if (start == kEndOfPorts) return;
    if (!found.empty() && found.back().start == start)
      found.back().which = which;
    else
      found.push_back({start, which});
  };
  const auto close = [&](std::uint32_t until) {
    while (!open.empty() && open.back().end <= until) {
      const std::uint32_t end = open.back().end;
      open.pop_back();
      say(end, open.empty() ? kNoEntry : open.back().which);
    }
  };
  say(0, kNoEntry);
  for (std::uint32_t which = 0; which < sorted.size(); ++which) {
    const std::uint32_t start = std::uint32_t{sorted[which].protocol} << 16U | sorted[which].port;
    close(start);
    say(start, which);
    open.push_back({start + (kEndOfPorts >> sorted[which].length), which});
  }
  close(kEndOfPorts);
  return found;
}

}  // namespace fleetmesh::policy
