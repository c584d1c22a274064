#include "fleetmesh/maglev.hpp"

#include <algorithm>
#include <stdexcept>

#include "fleetmesh/maglev_fill.hpp"

namespace fleetmesh::maglev {
namespace {

void require_size(std::uint32_t size) {
  if (std::find(kSizes.begin(), kSizes.end(), size) != kSizes.end()) return;
  std::string known;
  for (const auto each : kSizes) known += (known.empty() ? "" : ", ") + std::to_string(each);
  throw std::invalid_argument("size " + std::to_string(size) + ", expected one of " + known);
}

Cpu fastest() {
  static const Cpu cpu = runnable().back();
  return cpu;
}

// Where a backend has very many turns, or weights give a few backends theirs, the plain fill guesses well.
template <class Rank>
void fill_quickest(std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
                   Rank* table) {
  constexpr std::size_t kFew = 2;
  constexpr std::size_t kFewWeighted = 10;
  if (walks.size() <= (weights.empty() ? kFew : kFewWeighted))
    fill_plain(size, walks, weights, table);
  else
    fill(fastest(), size, walks, weights, table);
}

struct Workspace {
  std::vector<Walk> walks;
  std::vector<std::uint16_t> weights;
};

}  // namespace

Table::Table(std::uint32_t size, std::span<const Ranked> ranked)
    : size_(size), count_(static_cast<std::uint32_t>(ranked.size())) {
  require_size(size);
  if (ranked.empty()) throw std::invalid_argument("no candidate, expected at least one");
  thread_local Workspace work;
  work.walks.clear();
  work.weights.clear();
  for (const auto& [hash, weight] : ranked) {
    work.walks.push_back({static_cast<std::uint32_t>(hash.first % size),
                          static_cast<std::uint32_t>(hash.second % (size - 1) + 1)});
    work.weights.push_back(weight);
  }
  if (!weights_count(work.weights)) work.weights.clear();
  if (wide()) {
    ranks32_ = std::make_unique_for_overwrite<std::uint32_t[]>(size);
    fill_quickest(size, work.walks, work.weights, ranks32_.get());
  } else {
    ranks16_ = std::make_unique_for_overwrite<std::uint16_t[]>(size);
    fill_quickest(size, work.walks, work.weights, ranks16_.get());
  }
}

std::shared_ptr<const Table> build(std::uint32_t size, std::span<const Ranked> ranked) {
  return std::make_shared<const Table>(size, ranked);
}

Hash digest_of(std::uint32_t size, const Seed& seed, std::span<const Ranked> ranked) {
  std::vector<std::uint64_t> words;
  words.reserve(1 + 3 * ranked.size());
  words.push_back(std::uint64_t{size} << 32 | seed.table);
  for (const auto& [hash, weight] : ranked) {
    words.push_back(hash.first);
    words.push_back(hash.second);
    words.push_back(weight);
  }
  return murmur3({reinterpret_cast<const char*>(words.data()), words.size() * sizeof words[0]}, 0);
}

std::shared_ptr<const Table> Tables::get(std::uint32_t size, const Seed& seed,
                                         std::span<const Ranked> ranked) {
  return tables_.get(digest_of(size, seed, ranked), [&] { return build(size, ranked); });
}

namespace {

void require_same(std::size_t before, std::size_t after) {
  if (before != after)
    throw std::invalid_argument("tables of " + std::to_string(before) + " and " + std::to_string(after) +
                                " entries, expected the same size");
}

// `ids` may repeat; the place of each in the list of different ones, from 0.
std::vector<std::uint32_t> places(std::span<const std::uint32_t> ids,
                                  const std::vector<std::uint32_t>& known) {
  std::vector<std::uint32_t> result;
  result.reserve(ids.size());
  for (const auto id : ids)
    result.push_back(
        static_cast<std::uint32_t>(std::lower_bound(known.begin(), known.end(), id) - known.begin()));
  return result;
}

std::vector<std::uint32_t> different(std::span<const std::uint32_t> first,
                                     std::span<const std::uint32_t> second) {
  std::vector<std::uint32_t> ids(first.begin(), first.end());
  ids.insert(ids.end(), second.begin(), second.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

// `before(slot)` and `after(slot)` are below `count`.
template <class Before, class After>
Movement moved(std::uint32_t size, std::size_t count, Before&& before, After&& after) {
  std::vector<std::int64_t> lost(count);
  Movement result;
  for (std::uint32_t slot = 0; slot < size; ++slot) {
    const auto from = before(slot);
    const auto to = after(slot);
    result.moved += from != to;
    ++lost[from];
    --lost[to];
  }
  for (const auto each : lost) result.ideal += static_cast<std::uint32_t>(std::max<std::int64_t>(each, 0));
  return result;
}

}  // namespace

Movement movement(std::span<const std::uint32_t> before, std::span<const std::uint32_t> after) {
  require_same(before.size(), after.size());
  const auto known = different(before, after);
  const auto from = places(before, known);
  const auto to = places(after, known);
  return moved(
      static_cast<std::uint32_t>(before.size()), known.size(), [&](std::uint32_t slot) { return from[slot]; },
      [&](std::uint32_t slot) { return to[slot]; });
}

Movement movement(const Table& before, std::span<const std::uint32_t> ids_before, const Table& after,
                  std::span<const std::uint32_t> ids_after) {
  require_same(before.size(), after.size());
  const auto known = different(ids_before, ids_after);
  const auto from = places(ids_before, known);
  const auto to = places(ids_after, known);
  return moved(
      before.size(), known.size(), [&](std::uint32_t slot) { return from[before.rank(slot)]; },
      [&](std::uint32_t slot) { return to[after.rank(slot)]; });
}

}  // namespace fleetmesh::maglev
