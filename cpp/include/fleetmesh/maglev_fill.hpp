// How a Maglev table is filled: the obvious way, and fast ones that give the same tables.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fleetmesh::maglev {

// A backend's permutation: entry (offset + j * skip) mod size comes j-th.
struct Walk {
  std::uint32_t offset = 0;
  std::uint32_t skip = 1;
};

// Do weights change anything? Cilium leaves them out if their mean, rounded down, is below 2; and equal
// weights give everyone the turn that is theirs without.
bool weights_count(std::span<const std::uint16_t> weights);

// As Cilium's computeLookupTable, turn by turn and probe by probe. `weights` is empty if they don't count.
void fill_plain(std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
                std::uint16_t* table);
void fill_plain(std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
                std::uint32_t* table);

// Which instructions the fast fill is compiled with. All give the same table.
enum class Cpu : std::uint8_t { portable, avx2, avx512 };

const char* name_of(Cpu cpu);
// Those that this machine can run, the fastest last.
std::vector<Cpu> runnable();

// `size` is one of kSizes.
void fill(Cpu cpu, std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
          std::uint16_t* table);
void fill(Cpu cpu, std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
          std::uint32_t* table);

}  // namespace fleetmesh::maglev
