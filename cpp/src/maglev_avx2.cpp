// The fast fill for x86-64 with AVX2: eight probes in one gather.
#if defined(__x86_64__)
#include <immintrin.h>

#include "fleetmesh/maglev_stages.hpp"

namespace fleetmesh::maglev {
namespace {

// For each of 256 masks, the lanes of its bits, then any.
struct Packing {
  alignas(64) std::uint64_t lanes[256]{};
  constexpr Packing() {
    for (std::uint32_t mask = 0; mask < 256; ++mask) {
      std::uint32_t at = 0;
      for (std::uint32_t lane = 0; lane < 8; ++lane)
        if ((mask >> lane & 1) != 0) lanes[mask] |= std::uint64_t{lane} << 8 * at++;
    }
  }
};
constexpr Packing kPacking;

struct Probe {
  static constexpr std::uint32_t kLanes = 8;
  static constexpr std::uint32_t kFinish = 192;

  static __m256i wrapped(__m256i sum, __m256i size) {
    return _mm256_min_epu32(sum, _mm256_sub_epi32(sum, size));
  }

  static void store(std::uint32_t* places, __m256i entries) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(places), entries);
  }
  static void store(std::uint16_t* places, __m256i entries) {
    const __m256i halves = _mm256_permute4x64_epi64(_mm256_packus_epi32(entries, entries), 0b1000);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(places), _mm256_castsi256_si128(halves));
  }

  template <class Entry>
  static std::uint32_t list(const std::uint8_t* free, std::uint32_t size, std::uint32_t from,
                            std::uint32_t skip, std::uint32_t steps, Entry* places, std::uint32_t& length) {
    const __m256i whole = _mm256_set1_epi32(static_cast<int>(size));
    std::uint32_t power = skip;
    __m256i lanes = _mm256_set1_epi32(static_cast<int>(from));
    const __m256i number = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (int bit = 0; bit < 3; ++bit) {
      const __m256i has = _mm256_srai_epi32(_mm256_slli_epi32(number, 31 - bit), 31);
      lanes = wrapped(
          _mm256_add_epi32(lanes, _mm256_and_si256(has, _mm256_set1_epi32(static_cast<int>(power)))), whole);
      power = power + power >= size ? power + power - size : power + power;
    }
    const __m256i stride = _mm256_set1_epi32(static_cast<int>(power));
    std::uint32_t count = length;
    do {
      const __m256i seen = _mm256_i32gather_epi32(reinterpret_cast<const int*>(free), lanes, 1);
      const auto mask =
          static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_slli_epi32(seen, 31))));
      const __m256i order =
          _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(&kPacking.lanes[mask])));
      store(places + count, _mm256_permutevar8x32_epi32(lanes, order));
      count += static_cast<std::uint32_t>(__builtin_popcount(mask));
      lanes = wrapped(_mm256_add_epi32(lanes, stride), whole);
    } while (--steps != 0 && count <= kList - kLanes - 2);
    length = count;
    return static_cast<std::uint32_t>(_mm256_cvtsi256_si32(lanes));
  }
};

}  // namespace

const Fills kAvx2Fills{fill_in_stages<Probe>, fill_in_stages<Probe>, fill_in_stages<Probe>};

}  // namespace fleetmesh::maglev
#endif
