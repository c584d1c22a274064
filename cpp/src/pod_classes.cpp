#include "pod_classes.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <tuple>

namespace fleetmesh::policy {
namespace {

constexpr IdentityNumber kHost = 1;
constexpr IdentityNumber kRemoteNode = 6;
constexpr Direction kDirections[] = {Direction::egress, Direction::ingress};

void check(const Population& population) {
  const auto require = [](bool good) {
    if (!good) throw std::out_of_range("a group, eyes or a look name a place that there is not");
  };
  std::vector<std::size_t> groups(population.clusters.size());
  for (const PodGroup& group : population.groups) {
    require(group.cluster < groups.size() && group.eyes < population.eyes.size());
    require(population.eyes[group.eyes].cluster == group.cluster);
    ++groups[group.cluster];
  }
  for (const Eyes& eyes : population.eyes) {
    require(eyes.cluster < groups.size() && eyes.looks.size() == groups.size());
    for (std::size_t cluster = 0; cluster < groups.size(); ++cluster) {
      const std::uint32_t look = eyes.looks[cluster];
      require(!look ||
              (look <= population.looks.size() && population.looks[look - 1].size() == groups[cluster]));
    }
  }
}

std::vector<PodClasses::Range> ranges(const std::vector<PodClass>& classes, std::size_t count,
                                      std::uint32_t PodClass::* place) {
  std::vector<PodClasses::Range> found(count);
  for (ClassId id = 0; id < classes.size(); ++id) {
    auto& [first, end] = found[classes[id].*place];
    if (first == end) first = id;
    end = id + 1;
  }
  return found;
}

}  // namespace

PodClasses::PodClasses(const Population& population, SpanLists& lists)
    : shift_(population.cluster_shift), eyes_(population.eyes), looks_(population.looks) {
  check(population);
  clusters_ = population.clusters;
  const auto groups = read(population, lists);
  mention();
  classify(groups);
  index();
}

// Each group by itself, with what its rule sets say.
std::vector<PodClass> PodClasses::read(const Population& population, SpanLists& lists) {
  RuleSetReader reader(sides_, lists);
  std::vector<PodClass> found;
  found.reserve(population.groups.size());
  std::vector<std::uint32_t> next(clusters_.size());
  for (const PodGroup& group : population.groups) {
    PodClass made{group.cluster, group.eyes, {}, group.number, next[group.cluster]++, group.pods};
    for (const Direction direction : kDirections)
      made.sides[static_cast<std::size_t>(direction)] =
          group.policy ? reader.read(group.policy->verdicts(direction), {clusters_[group.cluster], shift_})
                       : reader.refusing();
    found.push_back(made);
  }
  return found;
}

void PodClasses::mention() {
  Slot count = 0;
  for (Sides::Id id = 0; id < sides_.size(); ++id)
    for (const Said& said : sides_[id].peers)
      if (mention_place_.find(said.peer) == kNoSlot) mention_place_.set(said.peer, count++);
  mentions_ = {count, [&](auto add) {
                 for (Sides::Id id = 0; id < sides_.size(); ++id)
                   for (const Said& said : sides_[id].peers)
                     add(mention_place_.find(said.peer), Mention{id, said.spans});
               }};
}

// Groups are one class where the same judges them, the same mention them, and nobody's eyes tell them apart.
void PodClasses::classify(const std::vector<PodClass>& groups) {
  std::vector<std::vector<const Look*>> looks(clusters_.size());
  for (const Eyes& eyes : eyes_)
    for (std::size_t cluster = 0; cluster < clusters_.size(); ++cluster)
      if (eyes.looks[cluster]) looks[cluster].push_back(&looks_[eyes.looks[cluster] - 1]);
  for (auto& each : looks) {
    std::ranges::sort(each);
    const auto twice = std::ranges::unique(each);
    each.erase(twice.begin(), twice.end());
  }
  const auto compare = [&](const PodClass& one, const PodClass& other) -> std::strong_ordering {
    const auto key = [&](const PodClass& of) {
      return std::tuple(of.cluster, of.eyes, of.sides, is_odd(of) ? of.number : 0);
    };
    if (const auto found = key(one) <=> key(other); found != 0) return found;
    for (const Look* look : looks[one.cluster])
      if (const auto found = (*look)[one.place] <=> (*look)[other.place]; found != 0) return found;
    const auto mine = mentions_of(one.number);
    const auto theirs = mentions_of(other.number);
    return std::lexicographical_compare_three_way(mine.begin(), mine.end(), theirs.begin(), theirs.end());
  };
  std::vector<std::uint32_t> order(groups.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(
      order, [&](std::uint32_t one, std::uint32_t other) { return compare(groups[one], groups[other]) < 0; });
  // By the first group of each, which in a stable order it has first.
  std::vector<std::vector<std::uint32_t>> alike;
  for (const std::uint32_t group : order) {
    if (alike.empty() || compare(groups[alike.back().front()], groups[group]) != 0) alike.emplace_back();
    alike.back().push_back(group);
  }
  std::ranges::sort(alike, {}, [&](const std::vector<std::uint32_t>& each) {
    const PodClass& first = groups[each.front()];
    return std::tuple(first.cluster, first.eyes, each.front());
  });
  class_of_.resize(groups.size());
  for (const auto& each : alike) {
    PodClass made = groups[each.front()];
    made.pods = 0;
    for (const std::uint32_t group : each) {
      made.pods += groups[group].pods;
      class_of_[group] = static_cast<ClassId>(classes_.size());
    }
    classes_.push_back(made);
  }
}

void PodClasses::index() {
  const auto each_class = [&](auto visit) {
    for (ClassId id = 0; id < classes_.size(); ++id) visit(classes_[id], id);
  };
  of_cluster_ = ranges(classes_, clusters_.size(), &PodClass::cluster);
  of_eyes_ = ranges(classes_, eyes_.size(), &PodClass::eyes);
  odd_ = {clusters_.size(), [&](auto add) {
            each_class([&](const PodClass& of, ClassId id) {
              if (is_odd(of)) add(of.cluster, id);
            });
          }};
  Slot count = 0;
  for (const PodClass& of : classes_)
    if (!is_odd(of) && number_place_.find(of.number) == kNoSlot) number_place_.set(of.number, count++);
  of_number_ = {count, [&](auto add) {
                  each_class([&](const PodClass& of, ClassId id) {
                    if (!is_odd(of)) add(number_place_.find(of.number), id);
                  });
                }};
  for (const Direction direction : kDirections) {
    const auto at = static_cast<std::size_t>(direction);
    judged_by_[at] = {sides_.size(), [&](auto add) {
                        each_class([&](const PodClass& of, ClassId id) { add(of.sides[at], id); });
                      }};
  }
}

bool PodClasses::is_odd(const PodClass& of) const { return of.number >> shift_ != clusters_[of.cluster]; }

IdentityNumber PodClasses::seen(const Eyes& eyes, const PodClass& of) const {
  if (const std::uint32_t look = eyes.looks[of.cluster]) return looks_[look - 1][of.place];
  return of.number == kHost && eyes.cluster != of.cluster ? kRemoteNode : of.number;
}

std::span<const ClassId> PodClasses::of_number(IdentityNumber number) const {
  const Slot place = number_place_.find(number);
  return place == kNoSlot ? std::span<const ClassId>{} : of_number_[place];
}

std::span<const Mention> PodClasses::mentions_of(IdentityNumber number) const {
  const Slot place = mention_place_.find(number);
  return place == kNoSlot ? std::span<const Mention>{} : mentions_[place];
}

}  // namespace fleetmesh::policy
