// The backends that one kind of frontend selects, in the order of their Maglev table.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "fleetmesh/facts.hpp"
#include "fleetmesh/maglev.hpp"

namespace fleetmesh {

struct TableCaches;

struct TableOptions {
  std::uint32_t size = maglev::kDefaultSize;
  maglev::Seed seed = maglev::Seed::parse(maglev::kDefaultSeed);

  bool operator==(const TableOptions&) const = default;
};

struct TableBackend {
  Address address;
  std::uint16_t port = 0;
  std::uint8_t protocol = 0;
  ClusterId cluster = 0;
  BackendState state = BackendState::active;
  std::uint16_t weight = kDefaultWeight;

  bool operator==(const TableBackend&) const = default;
};

// Immutable, and one object wherever the same backends are selected: viewers of a class share it, and so do
// generations between which nothing changed.
class Selection {
 public:
  // Rank i of the table is backends()[i], for the first in_use() ones. Those that follow take no new
  // connections (terminating, in maintenance), but their connections go on; they are in order of state,
  // address and port.
  std::span<const TableBackend> backends() const { return backends_; }
  std::uint32_t in_use() const { return in_use_; }
  const TableOptions& options() const { return options_; }

  // Built at the first call, by whichever thread makes it; null where nothing is in use.
  const maglev::Table* table() const { return shared_table().get(); }
  std::shared_ptr<const maglev::Table> shared_table() const;
  // Whether that was called; then it costs nothing.
  bool is_filled() const { return filled_.load(std::memory_order_acquire); }

 private:
  friend class SelectionMaker;

  std::vector<TableBackend> backends_;
  std::vector<maglev::Ranked> ranked_;     // beside backends_
  std::vector<std::uint32_t> by_cluster_;  // indexes into backends_, by cluster, address, port and protocol
  std::uint32_t in_use_ = 0;
  TableOptions options_;
  std::shared_ptr<TableCaches> caches_;
  mutable std::once_flag built_;
  mutable std::atomic<bool> filled_ = false;
  mutable std::shared_ptr<const maglev::Table> table_;
};

// Puts backends in order. What an earlier selection knows of the same backends is not worked out again, so
// that one change among thousands costs little more than copying them.
class SelectionMaker {
 public:
  struct Item {
    TableBackend backend;
    bool in_use = false;
  };

  SelectionMaker(std::shared_ptr<TableCaches> caches, const TableOptions& options)
      : caches_(std::move(caches)), options_(options) {}

  // `items` are in order of cluster, address, port and protocol; `like` may be any selection, or none.
  // Null if two of them have one address, port and protocol.
  std::shared_ptr<const Selection> make(std::span<const Item> items, const Selection* like) const;

 private:
  struct Draft;
  bool order_anew(std::span<const Item> items, Draft& draft) const;
  bool order_along(std::span<const Item> items, const Selection& like, Draft& draft) const;

  std::shared_ptr<TableCaches> caches_;
  TableOptions options_;
};

// Which part of a table changed hands, and the least that had to: backends are the same if address, port and
// protocol are. What begins to be served or ceases to be is all or nothing: `moved` and `ideal` are then 0,
// or the whole size. Throws std::invalid_argument if sizes or seeds differ, as then all connections are
// balanced anew.
maglev::Movement movement(const Selection& before, const Selection& after);

// The order of items.
std::strong_ordering by_cluster(const TableBackend& a, const TableBackend& b);

}  // namespace fleetmesh
