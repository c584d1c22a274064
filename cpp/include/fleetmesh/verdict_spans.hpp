// What becomes of connections, by protocol and port.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace fleetmesh::policy {

enum class Outcome : std::uint8_t { deny, redirect, allow };  // of two sides the lower counts

// Protocol << 16 | port.
using PortKey = std::uint32_t;

// Holds from its start to that of the next one; neighbours differ.
struct Span {
  PortKey start = 0;
  Outcome outcome = Outcome::deny;
  friend bool operator==(const Span&, const Span&) = default;
};

// The ports that are asked about.
struct Window {
  PortKey first = 0;
  PortKey last = 0xffffff;
};

// Spans that cover a window, each list of them kept once, under a number.
class SpanLists {
 public:
  using Id = std::uint32_t;

  explicit SpanLists(const Window& window) : window_(window) {}

  const Window& window() const { return window_; }
  const std::vector<Span>& spans(Id id) const { return lists_[id]; }
  // Of spans that are added in order, those outside of the window too.
  class Draft {
   public:
    explicit Draft(const Window& window) : window_(window) {}
    void add(PortKey start, Outcome outcome);
    void clear() { spans_.clear(); }

   private:
    friend class SpanLists;
    Window window_;
    std::vector<Span> spans_;
  };
  Id of(const Draft& draft);
  Id everywhere(Outcome outcome);
  // The lower outcome of two lists.
  Id both(Id one, Id other);
  std::size_t size() const { return lists_.size(); }
  Outcome at(Id id, PortKey key) const;
  // By number, at one port.
  std::vector<Outcome> at(PortKey key) const;

 private:
  Window window_;
  std::vector<std::vector<Span>> lists_;
  std::unordered_multimap<std::size_t, Id> known_;  // by hash
  std::unordered_map<std::uint64_t, Id> both_;
};

}  // namespace fleetmesh::policy
