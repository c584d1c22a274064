// What one end's side says of all classes, and what all their sides say of one end.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "pod_classes.hpp"

namespace fleetmesh::policy {

// Rows of what stands for a list of spans: its number, or its outcome at a port.
template <class Code>
class ReachRows {
 public:
  // `codes`: by number of a list.
  ReachRows(const PodClasses& classes, std::vector<Code> codes)
      : classes_(classes), codes_(std::move(codes)) {}

  // What a side says of each class, which it sees with these eyes.
  void said_of_all(const Side& side, const Eyes& eyes, std::vector<Code>& row) const {
    row.resize(classes_.all().size());
    const Numbering numbering = classes_.numbering(eyes);
    std::optional<std::pair<IdentityNumber, Code>> last;  // most whom it does not hear are one and the same
    const auto say = [&](ClassId id) {
      const IdentityNumber number = classes_.seen(eyes, classes_.all()[id]);
      if (!last || last->first != number)
        last = {number, codes_[side.of(number, kind_of(number, numbering))]};
      row[id] = last->second;
    };
    for (std::size_t cluster = 0; cluster < classes_.clusters(); ++cluster) {
      const auto [first, end] = classes_.of_cluster(cluster);
      if (eyes.looks[cluster]) {
        for (ClassId id = first; id < end; ++id) say(id);
        continue;
      }
      const PeerKind kind = cluster == eyes.cluster ? kOwnKind : kMeshKind;
      std::fill(row.begin() + first, row.begin() + end, codes_[side.others[kind]]);
      for (const ClassId id : classes_.odd(cluster)) say(id);
    }
    for (const Said& said : side.peers)
      for (const ClassId id : classes_.of_number(said.peer))
        if (!eyes.looks[classes_.all()[id].cluster]) row[id] = codes_[said.spans];
  }

  // What the sides of all classes say of somebody, whom those with each pair of eyes take for these numbers.
  void said_by_all(Direction direction, const std::vector<IdentityNumber>& numbers, std::vector<Code>& row) {
    row.resize(classes_.all().size());
    std::vector<IdentityNumber> known;
    for (std::size_t place = 0; place < numbers.size(); ++place) {
      const auto [first, end] = classes_.of_eyes(place);
      const PeerKind kind = kind_of(numbers[place], classes_.numbering(classes_.eyes()[place]));
      const auto& others = of_others(direction, kind);
      std::copy(others.begin() + first, others.begin() + end, row.begin() + first);
      if (std::ranges::find(known, numbers[place]) == known.end()) known.push_back(numbers[place]);
    }
    for (const IdentityNumber number : known)
      for (const Mention& mention : classes_.mentions_of(number))
        for (const ClassId id : classes_.judged_by(mention.side, direction))
          if (numbers[classes_.all()[id].eyes] == number) row[id] = codes_[mention.spans];
  }

  // The same of a class.
  void said_by_all(Direction direction, const PodClass& of, std::vector<Code>& row) {
    std::vector<IdentityNumber> numbers;
    for (const Eyes& eyes : classes_.eyes()) numbers.push_back(classes_.seen(eyes, of));
    said_by_all(direction, numbers, row);
  }

 private:
  static constexpr PeerKind kOwnKind = 1;  // kAggregateCluster's place in kAggregates
  static constexpr PeerKind kMeshKind = 2;
  static_assert(kAggregates[kOwnKind] == kAggregateCluster &&
                kAggregates[kMeshKind] == kAggregateClusterMesh);

  // What all sides say of those of a kind whom they don't mention; made when it is first asked for.
  const std::vector<Code>& of_others(Direction direction, PeerKind kind) {
    const auto at = static_cast<std::size_t>(direction);
    auto& row = others_[at][kind];
    if (row.empty())
      for (const PodClass& of : classes_.all())
        row.push_back(codes_[classes_.sides()[of.sides[at]].others[kind]]);
    return row;
  }

  const PodClasses& classes_;
  std::vector<Code> codes_;
  std::array<std::array<std::vector<Code>, kPeerKinds>, 2> others_;
};

}  // namespace fleetmesh::policy
