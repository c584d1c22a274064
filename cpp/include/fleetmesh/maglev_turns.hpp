// Whose turn it is, where weights count.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fleetmesh::maglev {

// Cilium looks, from backend `turn mod count` on, for one whose count of turns is not ahead of its weight.
// When a backend has had a turn it is known when it will next be ready, so it waits in a calendar, and the
// ready ones are a bitmap.
class Turns {
 public:
  void start(std::uint32_t size, std::span<const std::uint16_t> weights);
  // The backends of the next turns.
  void next(std::uint32_t* backends, std::uint32_t count);

 private:
  struct Backend {
    std::uint32_t ready = 0;  // the turn, counted from 1, from which it is ready
    std::uint32_t slack = 0;  // what is left over of the weight in that turn
    std::uint32_t whole = 0;  // the sum of weights over this weight,
    std::uint32_t part = 0;   // and the remainder
    std::uint32_t weight = 0;
    std::uint32_t after = 0;  // the next in the same turn of the calendar
  };

  template <std::uint32_t kWords>
  void next_few(std::uint32_t* backends, std::uint32_t count);
  void next_many(std::uint32_t* backends, std::uint32_t count);
  std::uint32_t first_ready(std::uint32_t from) const;
  static std::uint32_t take(Backend& backend, std::uint32_t size, std::uint32_t next);
  void set(std::uint32_t i);
  void clear(std::uint32_t i);

  std::uint32_t size_ = 0;
  std::uint32_t count_ = 0;
  std::uint32_t words_ = 0;
  std::uint32_t turn_ = 0;
  std::uint32_t from_ = 0;  // turn_ mod count_
  std::vector<Backend> backends_;
  std::vector<std::uint64_t> ready_;     // one bit a backend
  std::vector<std::uint64_t> nonempty_;  // one bit a word of ready_
  std::vector<std::uint64_t> due_;       // few backends: bits of those that become ready, by turn
  std::vector<std::uint32_t> calendar_;  // many: the first of those
};

}  // namespace fleetmesh::maglev
