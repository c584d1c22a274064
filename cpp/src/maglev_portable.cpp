// The fast fill in plain C++.
#include "fleetmesh/maglev_stages.hpp"

namespace fleetmesh::maglev {
namespace {

struct Probe {
  static constexpr std::uint32_t kLanes = 8;
  static constexpr std::uint32_t kFinish = 192;

  template <class Entry>
  static std::uint32_t list(const std::uint8_t* free, std::uint32_t size, std::uint32_t from,
                            std::uint32_t skip, std::uint32_t steps, Entry* places, std::uint32_t& length) {
    Entry lanes[kLanes];
    std::uint32_t entry = from;
    for (auto& lane : lanes) {
      lane = static_cast<Entry>(entry);
      const std::uint32_t next = entry + skip;
      entry = next - size < next ? next - size : next;
    }
    const auto stride = static_cast<Entry>(entry >= from ? entry - from : entry + size - from);
    const auto whole = static_cast<Entry>(size);
    std::uint32_t count = length;
    while (true) {
      for (const Entry lane : lanes) {
        places[count] = lane;
        count += free[lane];
      }
      if (--steps == 0 || count > kList - kLanes - 2) break;
      for (auto& lane : lanes) {
        const auto next = static_cast<Entry>(lane + stride);
        const auto back = static_cast<Entry>(next - whole);
        lane = back < next ? back : next;
      }
    }
    length = count;
    const std::uint32_t end = std::uint32_t{lanes[0]} + stride;
    return end >= size ? end - size : end;
  }
};

}  // namespace

const Fills kPortableFills{fill_in_stages<Probe>, fill_in_stages<Probe>, fill_in_stages<Probe>};

}  // namespace fleetmesh::maglev
