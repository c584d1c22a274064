#include "fleetmesh/reachability.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "pod_classes.hpp"
#include "reach_rows.hpp"

namespace fleetmesh::policy {
namespace {

std::vector<Outcome>& lower(std::vector<Outcome>& one, const std::vector<Outcome>& other) {
  std::ranges::transform(one, other, one.begin(), [](Outcome a, Outcome b) { return std::min(a, b); });
  return one;
}

Direction opposite(Direction direction) {
  return direction == Direction::egress ? Direction::ingress : Direction::egress;
}

const Side& side_of(const PodClasses& classes, const PodClass& of, Direction direction) {
  return classes.sides()[of.sides[static_cast<std::size_t>(direction)]];
}

}  // namespace

Reachability::Reachability(const Population& population, const Window& window)
    : lists_(window), classes_(std::make_unique<const PodClasses>(population, lists_)) {}

Reachability::~Reachability() = default;

const std::vector<Reachability::ClassId>& Reachability::class_of() const { return classes_->class_of(); }

std::size_t Reachability::classes() const { return classes_->all().size(); }

std::pair<std::size_t, std::size_t> Reachability::size() const {
  return {classes_->sides().size(), classes_->mentions()};
}

std::pair<std::uint32_t, std::uint32_t> Reachability::sides(ClassId of) const {
  const PodClass& found = classes_->all()[of];
  return {found.sides[0], found.sides[1]};
}

SpanLists::Id Reachability::spans(ClassId source, ClassId destination) {
  const auto said = [&](ClassId own, ClassId other, Direction direction) {
    const PodClass& by = classes_->all()[own];
    const Eyes& eyes = classes_->eyes()[by.eyes];
    const IdentityNumber number = classes_->seen(eyes, classes_->all()[other]);
    return side_of(*classes_, by, direction).of(number, kind_of(number, classes_->numbering(eyes)));
  };
  const std::scoped_lock lock(mutex_);
  return lists_.both(said(source, destination, Direction::egress),
                     said(destination, source, Direction::ingress));
}

Outcome Reachability::outcome(ClassId source, ClassId destination, PortKey key) {
  const SpanLists::Id id = spans(source, destination);
  const std::scoped_lock lock(mutex_);
  return lists_.at(id, key);
}

Reachability::Cells Reachability::cells(ClassId of, Direction direction) {
  const std::scoped_lock lock(mutex_);
  std::vector<SpanLists::Id> codes(lists_.size());
  std::iota(codes.begin(), codes.end(), 0U);
  ReachRows<SpanLists::Id> rows(*classes_, std::move(codes));
  const PodClass& end = classes_->all()[of];
  std::vector<SpanLists::Id> own;
  std::vector<SpanLists::Id> others;
  rows.said_of_all(side_of(*classes_, end, direction), classes_->eyes()[end.eyes], own);
  rows.said_by_all(opposite(direction), end, others);
  Cells cells;
  std::unordered_map<SpanLists::Id, std::size_t> places;
  for (ClassId id = 0; id < own.size(); ++id) {
    if (id == of && end.pods == 1) continue;
    const SpanLists::Id spans = lists_.both(own[id], others[id]);
    const auto [place, fresh] = places.try_emplace(spans, cells.size());
    if (fresh) cells.push_back({spans, {}});
    cells[place->second].second.push_back(id);
  }
  return cells;
}

std::vector<Outcome> Reachability::around(const End& end, Direction direction, PortKey key) {
  if (end.numbers.size() != classes_->eyes().size() || (end.judged && end.eyes >= end.numbers.size()))
    throw std::out_of_range("an end has a number for each pair of eyes");
  const std::scoped_lock lock(mutex_);
  std::vector<Outcome> own(classes(), Outcome::allow);
  if (end.judged) {
    const Eyes& eyes = classes_->eyes()[end.eyes];
    Sides sides;
    RuleSetReader reader(sides, lists_);
    const Sides::Id id = end.policy ? reader.read(end.policy->verdicts(direction), classes_->numbering(eyes))
                                    : reader.refusing();
    ReachRows<Outcome>(*classes_, lists_.at(key)).said_of_all(sides[id], eyes, own);
  }
  std::vector<Outcome> others;
  ReachRows<Outcome>(*classes_, lists_.at(key)).said_by_all(opposite(direction), end.numbers, others);
  return lower(own, others);
}

std::vector<Outcome> Reachability::around(ClassId end, Direction direction, PortKey key) const {
  ReachRows<Outcome> rows(*classes_, outcomes(key));
  const PodClass& of = classes_->all()[end];
  std::vector<Outcome> own;
  std::vector<Outcome> others;
  rows.said_of_all(side_of(*classes_, of, direction), classes_->eyes()[of.eyes], own);
  rows.said_by_all(opposite(direction), of, others);
  return lower(own, others);
}

std::vector<Outcome> Reachability::outcomes(PortKey key) const {
  const std::scoped_lock lock(mutex_);
  return lists_.at(key);
}

std::vector<Span> Reachability::span_list(SpanLists::Id id) const {
  const std::scoped_lock lock(mutex_);
  if (id >= lists_.size()) throw std::out_of_range("there is no list of spans " + std::to_string(id));
  return lists_.spans(id);
}

std::array<std::uint64_t, 3> Reachability::count(PortKey key) const {
  ReachRows<Outcome> rows(*classes_, outcomes(key));
  const auto& all = classes_->all();
  std::vector<std::uint32_t> pods;
  for (const PodClass& of : all) pods.push_back(of.pods);
  std::array<std::uint64_t, 3> found = {};
  std::vector<Outcome> own;
  std::vector<Outcome> others;
  for (ClassId source = 0; source < all.size(); ++source) {
    const PodClass& of = all[source];
    rows.said_of_all(side_of(*classes_, of, Direction::egress), classes_->eyes()[of.eyes], own);
    rows.said_by_all(Direction::ingress, of, others);
    std::array<std::uint64_t, 3> here = {};
    for (ClassId id = 0; id < all.size(); ++id) {
      const Outcome outcome = std::min(own[id], others[id]);
      here[1] += outcome == Outcome::redirect ? pods[id] : 0;
      here[2] += outcome == Outcome::allow ? pods[id] : 0;
      here[0] += pods[id];
    }
    here[0] -= here[1] + here[2];
    // No pod is a pair with itself.
    --here[static_cast<std::size_t>(std::min(own[source], others[source]))];
    for (std::size_t outcome = 0; outcome < 3; ++outcome) found[outcome] += of.pods * here[outcome];
  }
  return found;
}

}  // namespace fleetmesh::policy
