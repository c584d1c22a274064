// The pods of a mesh by classes: who they are to whom, and which sides say what of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "fleetmesh/number_map.hpp"
#include "fleetmesh/reachability.hpp"
#include "sides.hpp"

namespace fleetmesh::policy {

using ClassId = Reachability::ClassId;

struct PodClass {
  std::uint32_t cluster = 0;
  std::uint32_t eyes = 0;
  std::array<Sides::Id, 2> sides = {};  // by direction
  IdentityNumber number = 0;
  std::uint32_t place = 0;  // of its first group, among those of the cluster
  std::uint32_t pods = 0;
};

// A side that has somebody among its peers.
struct Mention {
  Sides::Id side = 0;
  SpanLists::Id spans = 0;
  friend auto operator<=>(const Mention&, const Mention&) = default;
};

// Lists of values by a number from 0, one behind the other.
template <class T>
class Lists {
 public:
  Lists() = default;
  // `each` calls the function that it is given with (number, value) for all of them; it is asked twice.
  template <class Each>
  Lists(std::size_t count, Each each) : starts_(count + 1) {
    each([&](std::size_t number, const T&) { ++starts_[number + 1]; });
    for (std::size_t at = 0; at < count; ++at) starts_[at + 1] += starts_[at];
    values_.resize(starts_[count]);
    std::vector<std::size_t> next(starts_.begin(), starts_.end() - 1);
    each([&](std::size_t number, const T& value) { values_[next[number]++] = value; });
  }
  std::span<const T> operator[](std::size_t number) const {
    return std::span(values_).subspan(starts_[number], starts_[number + 1] - starts_[number]);
  }
  std::size_t size() const { return values_.size(); }

 private:
  std::vector<std::size_t> starts_;
  std::vector<T> values_;
};

class PodClasses {
 public:
  using Range = std::pair<ClassId, ClassId>;  // the first, and behind the last

  PodClasses(const Population& population, SpanLists& lists);

  const std::vector<PodClass>& all() const { return classes_; }
  const std::vector<ClassId>& class_of() const { return class_of_; }
  const Sides& sides() const { return sides_; }
  std::size_t mentions() const { return mentions_.size(); }
  const std::vector<Eyes>& eyes() const { return eyes_; }
  std::size_t clusters() const { return clusters_.size(); }
  Numbering numbering(const Eyes& eyes) const { return {clusters_[eyes.cluster], shift_}; }

  // For whom somebody takes a class.
  IdentityNumber seen(const Eyes& eyes, const PodClass& of) const;
  // Those of a cluster stand together, and in it those who see with the same eyes.
  Range of_cluster(std::size_t place) const { return of_cluster_[place]; }
  Range of_eyes(std::size_t place) const { return of_eyes_[place]; }
  // Those of a cluster whose number is not one of its own, such as its nodes' networks.
  std::span<const ClassId> odd(std::size_t cluster) const { return odd_[cluster]; }
  // All others by their number.
  std::span<const ClassId> of_number(IdentityNumber number) const;
  std::span<const Mention> mentions_of(IdentityNumber number) const;
  std::span<const ClassId> judged_by(Sides::Id side, Direction direction) const {
    return judged_by_[static_cast<std::size_t>(direction)][side];
  }

 private:
  std::vector<PodClass> read(const Population& population, SpanLists& lists);
  bool is_odd(const PodClass& of) const;
  void mention();
  void classify(const std::vector<PodClass>& groups);
  void index();

  std::vector<std::uint32_t> clusters_;
  std::uint32_t shift_;
  std::vector<Eyes> eyes_;
  std::vector<Look> looks_;
  Sides sides_;
  NumberMap mention_place_;
  Lists<Mention> mentions_;  // by that place
  std::vector<ClassId> class_of_;
  std::vector<PodClass> classes_;
  NumberMap number_place_;
  Lists<ClassId> of_number_;  // by that place
  std::vector<Range> of_cluster_;
  std::vector<Range> of_eyes_;
  Lists<ClassId> odd_;
  std::array<Lists<ClassId>, 2> judged_by_;
};

}  // namespace fleetmesh::policy
