#include "fleetmesh/preference.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

namespace fleetmesh {
namespace {

// One less than what fits, as the sum of a part may be rounded up.
constexpr std::uint64_t kHighest = 65534;
constexpr std::uint64_t kLeastMean = 2;

StringId name_of(const State& state, ClusterId member) { return state.members.find(member)->name; }

std::uint16_t weight_of(const ServiceSpec& spec, StringId cluster) {
  for (const auto& [name, weight] : spec.cluster_weights)
    if (name == cluster) return weight;
  return 0;
}

// The place of a cluster in the list; those that are not in it share the last one.
std::size_t place_of(const ServiceSpec& spec, StringId cluster) {
  const auto& list = spec.prefer_clusters;
  return static_cast<std::size_t>(std::find(list.begin(), list.end(), cluster) - list.begin());
}

std::uint64_t sum(const std::vector<std::uint16_t>& weights) {
  return std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
}

// The smallest number of which every backend gets a whole part; 0 where that is above `limit`.
std::uint64_t exact_total(std::span<const Part> parts, std::uint64_t shares, std::uint64_t limit) {
  std::uint64_t total = 1;
  for (const Part& part : parts) {
    const std::uint64_t all = shares * sum(part.weights);
    for (const std::uint16_t weight : part.weights) {
      const std::uint64_t divisor = all / std::gcd(all, std::uint64_t{part.share} * weight);
      const std::uint64_t factor = divisor / std::gcd(total, divisor);
      if (factor > limit / total) return 0;
      total *= factor;
    }
  }
  return total;
}

// `total` by `weights`, in whole numbers that sum up to it; what is left over goes to those that lost most.
std::vector<std::uint16_t> divide(std::uint64_t total, const std::vector<std::uint16_t>& weights) {
  const std::uint64_t all = sum(weights);
  std::vector<std::uint16_t> result;
  if (all == 0) return result;
  std::uint64_t left = total;
  for (const std::uint16_t weight : weights) {
    result.push_back(static_cast<std::uint16_t>(total * weight / all));
    left -= result.back();
  }
  std::vector<std::size_t> order(weights.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return total * weights[a] % all > total * weights[b] % all;
  });
  for (std::size_t i = 0; i < left; ++i) ++result[order[i]];
  // Cilium gives a backend of weight 0 one entry of its table, but it stands for maintenance.
  for (auto& weight : result) weight = std::max<std::uint16_t>(weight, 1);
  return result;
}

}  // namespace

Preferred prefer_clusters(const State& state, const ServiceSpec& spec,
                          const std::vector<Candidate>& candidates, std::vector<Rule>& rules) {
  Preferred result;
  if (!spec.prefer_clusters.empty()) {
    std::size_t first = std::numeric_limits<std::size_t>::max();
    std::vector<std::size_t> places(candidates.size());
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (rules[i] != Rule::selected) continue;
      places[i] = place_of(spec, name_of(state, candidates[i].member));
      if (candidates[i].state != BackendState::active || places[i] > first) continue;
      if (places[i] < first) result = {name_of(state, candidates[i].member), 0};
      first = places[i];
      ++result.healthy;
    }
    for (std::size_t i = 0; i < candidates.size(); ++i)
      if (rules[i] == Rule::selected && places[i] > first) rules[i] = Rule::preferred_cluster;
  } else if (!spec.cluster_weights.empty()) {
    std::vector<bool> listed(candidates.size());
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (rules[i] != Rule::selected) continue;
      listed[i] = weight_of(spec, name_of(state, candidates[i].member)) > 0;
      result.healthy += listed[i] && candidates[i].state == BackendState::active;
    }
    for (std::size_t i = 0; i < candidates.size(); ++i)
      if (rules[i] == Rule::selected && !listed[i] && result.healthy > 0) rules[i] = Rule::cluster_weights;
  }
  return result;
}

void share_by_cluster(const State& state, const ServiceSpec& spec, FrontendView& view) {
  if (spec.cluster_weights.empty() || !spec.prefer_clusters.empty()) return;
  std::map<ClusterId, std::size_t> known;
  std::vector<Part> parts;
  std::vector<std::vector<Candidate*>> backends;  // beside the parts
  for (std::size_t i = 0; i < view.in_use; ++i) {
    Candidate& c = view.backends[i].backend;
    const auto [at, fresh] = known.try_emplace(c.member, parts.size());
    if (fresh) {
      parts.push_back({weight_of(spec, name_of(state, c.member)), {}});
      backends.emplace_back();
    }
    if (parts[at->second].share == 0 || c.state != BackendState::active) return;
    parts[at->second].weights.push_back(c.weight);
    backends[at->second].push_back(&c);
  }
  if (parts.size() < 2) return;
  const auto weights = apportion(parts);
  for (std::size_t p = 0; p < parts.size(); ++p)
    for (std::size_t i = 0; i < backends[p].size(); ++i) backends[p][i]->weight = weights[p][i];
}

std::vector<std::vector<std::uint16_t>> apportion(std::span<const Part> parts) {
  std::uint64_t shares = 0;
  std::uint64_t count = 0;
  for (const Part& part : parts) {
    shares += part.share;
    count += part.weights.size();
  }
  if (shares == 0) return {};  // no part
  // The backend that gets most is to get no more than what fits.
  std::uint64_t highest = std::numeric_limits<std::uint64_t>::max();
  for (const Part& part : parts) {
    const std::uint64_t all = shares * sum(part.weights);
    const std::uint64_t most =
        std::uint64_t{part.share} * *std::max_element(part.weights.begin(), part.weights.end());
    highest = std::min(highest, all / most * kHighest + all % most * kHighest / most);
  }
  std::uint64_t total = highest;
  if (const std::uint64_t exact = exact_total(parts, shares, highest)) {
    const std::uint64_t least = kLeastMean * count;
    const std::uint64_t times = (least + exact - 1) / exact;
    if (times <= highest / exact) total = exact * times;
  }
  std::vector<std::vector<std::uint16_t>> result;
  for (const Part& part : parts)
    result.push_back(divide((total * part.share + shares / 2) / shares, part.weights));
  return result;
}

}  // namespace fleetmesh
