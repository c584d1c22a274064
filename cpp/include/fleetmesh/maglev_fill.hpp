// How a Maglev table is filled: the obvious way, and fast ones that give the same tables.
#pragma once

#include <cstdint>
#include <span>

namespace fleetmesh::maglev {

// A backend's permutation: entry (offset + j * skip) mod size comes j-th.
struct Walk {
  std::uint32_t offset = 0;
  std::uint32_t skip = 1;
};

// Do weights count? Cilium leaves them out if their mean, rounded down, is below 2.
bool weights_count(std::span<const std::uint16_t> weights);

// As Cilium's computeLookupTable, turn by turn and probe by probe. `weights` is empty if they don't count.
void fill_plain(std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
                std::uint16_t* table);
void fill_plain(std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
                std::uint32_t* table);

}  // namespace fleetmesh::maglev
