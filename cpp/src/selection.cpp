#include "fleetmesh/selection.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "fleetmesh/table_caches.hpp"

namespace fleetmesh {
namespace {

constexpr std::uint32_t kNowhere = ~0U;

std::strong_ordering by_place(const TableBackend& a, const TableBackend& b) {
  return std::tie(a.address, a.port, a.protocol) <=> std::tie(b.address, b.port, b.protocol);
}

maglev::Candidate candidate_of(const TableBackend& backend) {
  maglev::Candidate candidate;
  candidate.address = backend.address;
  candidate.port = backend.port;
  candidate.protocol = backend.protocol;
  candidate.weight = backend.weight;
  return candidate;
}

std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31);
}

// A sum over the parts, as their order follows from what they are.
class Digest {
 public:
  void add(std::uint64_t first, std::uint64_t second, std::uint64_t rest) {
    const std::uint64_t one = mix(first + 0x9E3779B97F4A7C15U * (rest + 1));
    sum_.first += one;
    sum_.second += mix(second ^ std::rotl(one, 32));
  }
  const maglev::Hash& sum() const { return sum_; }

 private:
  maglev::Hash sum_;
};

std::uint64_t small_fields(const TableBackend& b, bool in_use) {
  return std::uint64_t{in_use} << 48 | static_cast<std::uint64_t>(b.state) << 40 |
         static_cast<std::uint64_t>(b.cluster) << 16 | b.weight;
}

}  // namespace

std::strong_ordering by_cluster(const TableBackend& a, const TableBackend& b) {
  if (const auto order = a.cluster <=> b.cluster; order != 0) return order;
  return by_place(a, b);
}

std::shared_ptr<const maglev::Table> Selection::shared_table() const {
  std::call_once(built_, [&] {
    if (in_use_ > 0)
      table_ = caches_->tables.get(options_.size, options_.seed, std::span(ranked_).first(in_use_));
    filled_.store(true, std::memory_order_release);
  });
  return table_;
}

maglev::Movement movement(const Selection& before, const Selection& after) {
  if (before.options() != after.options())
    throw std::invalid_argument("tables of different sizes or seeds have nothing in common");
  if (&before == &after || before.in_use() == 0) return {};
  const std::uint32_t size = before.options().size;
  if (after.in_use() == 0) return {size, size};
  std::vector<const TableBackend*> places;
  for (const Selection* side : {&before, &after})
    for (const auto& backend : side->backends().first(side->in_use())) places.push_back(&backend);
  std::sort(places.begin(), places.end(),
            [](const TableBackend* a, const TableBackend* b) { return by_place(*a, *b) < 0; });
  const auto ids = [&](const Selection& side) {
    std::vector<std::uint32_t> result;
    for (const auto& backend : side.backends().first(side.in_use())) {
      const auto at = std::partition_point(places.begin(), places.end(), [&](const TableBackend* other) {
        return by_place(*other, backend) < 0;
      });
      result.push_back(static_cast<std::uint32_t>(at - places.begin()));
    }
    return result;
  };
  return maglev::movement(*before.table(), ids(before), *after.table(), ids(after));
}

struct SelectionMaker::Draft {
  std::vector<std::uint32_t> order;  // of items, those in use first
  std::vector<maglev::Ranked> ranked;
};

bool SelectionMaker::order_anew(std::span<const Item> items, Draft& draft) const {
  std::vector<const TableBackend*> places;
  std::vector<std::uint32_t> used;
  places.reserve(items.size());
  for (std::uint32_t i = 0; i < items.size(); ++i) {
    places.push_back(&items[i].backend);
    if (items[i].in_use) used.push_back(i);
  }
  const auto before = [](const TableBackend* a, const TableBackend* b) { return by_place(*a, *b) < 0; };
  if (!std::is_sorted(places.begin(), places.end(), before)) std::sort(places.begin(), places.end(), before);
  const auto same = [](const TableBackend* a, const TableBackend* b) { return by_place(*a, *b) == 0; };
  if (std::adjacent_find(places.begin(), places.end(), same) != places.end()) return false;

  std::vector<maglev::Prepared> prepared;
  std::vector<maglev::Order::Item> texts;
  prepared.reserve(used.size());
  texts.reserve(used.size());
  for (const std::uint32_t i : used) {
    prepared.push_back(maglev::prepare(candidate_of(items[i].backend), options_.seed));
    texts.push_back({&prepared.back(), items[i].backend.weight});
  }
  const maglev::Order order(texts);
  draft.order.reserve(items.size());
  for (const std::uint32_t input : order.inputs()) draft.order.push_back(used[input]);
  draft.ranked.assign(order.ranked().begin(), order.ranked().end());
  return true;
}

// Both are in order of cluster, so that what they have in common is found side by side.
bool SelectionMaker::order_along(std::span<const Item> items, const Selection& like, Draft& draft) const {
  std::vector<std::uint32_t> at_rank(like.in_use_, kNowhere);
  std::vector<std::uint32_t> fresh;
  auto known = like.by_cluster_.begin();
  for (std::uint32_t i = 0; i < items.size(); ++i) {
    const TableBackend& backend = items[i].backend;
    while (known != like.by_cluster_.end() && by_cluster(like.backends_[*known], backend) < 0) ++known;
    const bool found = known != like.by_cluster_.end() && by_cluster(like.backends_[*known], backend) == 0;
    if (!items[i].in_use) continue;
    if (found && *known < like.in_use_)
      at_rank[*known] = i;
    else
      fresh.push_back(i);
  }
  if (fresh.size() * 8 > items.size()) return order_anew(items, draft);

  draft.order.reserve(items.size());
  draft.ranked.reserve(items.size());
  for (std::uint32_t rank = 0; rank < like.in_use_; ++rank) {
    if (at_rank[rank] == kNowhere) continue;
    draft.order.push_back(at_rank[rank]);
    draft.ranked.push_back({like.ranked_[rank].hash, items[at_rank[rank]].backend.weight});
  }
  for (const std::uint32_t i : fresh) {
    const auto prepared = maglev::prepare(candidate_of(items[i].backend), options_.seed);
    const auto at = std::partition_point(draft.order.begin(), draft.order.end(), [&](std::uint32_t other) {
      return maglev::text_of(candidate_of(items[other].backend)) < prepared.text;
    });
    if (at != draft.order.end() && by_place(items[*at].backend, items[i].backend) == 0) return false;
    draft.ranked.insert(draft.ranked.begin() + (at - draft.order.begin()),
                        {prepared.hash, items[i].backend.weight});
    draft.order.insert(at, i);
  }
  return true;
}

std::shared_ptr<const Selection> SelectionMaker::make(std::span<const Item> items,
                                                      const Selection* like) const {
  Draft draft;
  const bool usable = like && like->options_.seed == options_.seed;
  if (!(usable ? order_along(items, *like, draft) : order_anew(items, draft))) return nullptr;
  const auto in_use = static_cast<std::uint32_t>(draft.order.size());
  for (std::uint32_t i = 0; i < items.size(); ++i)
    if (!items[i].in_use) draft.order.push_back(i);
  std::sort(draft.order.begin() + in_use, draft.order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const TableBackend& x = items[a].backend;
    const TableBackend& y = items[b].backend;
    return x.state != y.state ? x.state < y.state : by_place(x, y) < 0;
  });

  Digest digest;
  digest.add(options_.size, std::uint64_t{options_.seed.packet_v4} << 32 | options_.seed.packet_v6,
             options_.seed.table);
  for (std::uint32_t rank = 0; rank < draft.order.size(); ++rank) {
    const TableBackend& b = items[draft.order[rank]].backend;
    if (rank < in_use) {
      const maglev::Hash& hash = draft.ranked[rank].hash;
      digest.add(hash.first, hash.second, small_fields(b, true));
    } else {
      digest.add(b.address.high + static_cast<unsigned>(b.address.family), b.address.low,
                 mix(std::uint64_t{b.port} << 8 | b.protocol) ^ small_fields(b, false));
    }
  }

  return caches_->selections.get(digest.sum(), [&] {
    auto made = std::make_shared<Selection>();
    made->options_ = options_;
    made->caches_ = caches_;
    made->in_use_ = in_use;
    made->ranked_ = std::move(draft.ranked);
    made->backends_.reserve(items.size());
    made->by_cluster_.resize(items.size());
    for (std::uint32_t rank = 0; rank < draft.order.size(); ++rank) {
      made->backends_.push_back(items[draft.order[rank]].backend);
      made->by_cluster_[draft.order[rank]] = rank;
    }
    return made;
  });
}

}  // namespace fleetmesh
