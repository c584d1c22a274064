// The fast fill for x86-64 with AVX-512 (F, BW, DQ, VL): sixteen probes in one gather.
#if defined(__x86_64__)
#include <immintrin.h>

#include "fleetmesh/maglev_stages.hpp"

namespace fleetmesh::maglev {
namespace {

struct Probe {
  static constexpr std::uint32_t kLanes = 16;
  static constexpr std::uint32_t kFinish = 256;

  static __m512i wrapped(__m512i sum, __m512i size) {
    return _mm512_min_epu32(sum, _mm512_sub_epi32(sum, size));
  }

  static void store(std::uint32_t* places, __m512i entries) { _mm512_storeu_si512(places, entries); }
  static void store(std::uint16_t* places, __m512i entries) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(places), _mm512_cvtepi32_epi16(entries));
  }

  template <class Entry>
  static std::uint32_t list(const std::uint8_t* free, std::uint32_t size, std::uint32_t from,
                            std::uint32_t skip, std::uint32_t steps, Entry* places, std::uint32_t& length) {
    const __m512i whole = _mm512_set1_epi32(static_cast<int>(size));
    std::uint32_t power = skip;
    __m512i lanes = _mm512_set1_epi32(static_cast<int>(from));
    constexpr __mmask16 kHas[4] = {0xaaaa, 0xcccc, 0xf0f0, 0xff00};
    for (const auto has : kHas) {
      const __m512i sum =
          _mm512_mask_add_epi32(lanes, has, lanes, _mm512_set1_epi32(static_cast<int>(power)));
      lanes = wrapped(sum, whole);
      power = power + power >= size ? power + power - size : power + power;
    }
    const __m512i stride = _mm512_set1_epi32(static_cast<int>(power));
    const __m512i one = _mm512_set1_epi32(1);
    std::uint32_t count = length;
    do {
      const __m512i seen = _mm512_i32gather_epi32(lanes, free, 1);
      const __mmask16 mask = _mm512_test_epi32_mask(seen, one);
      store(places + count, _mm512_maskz_compress_epi32(mask, lanes));
      count += static_cast<std::uint32_t>(__builtin_popcount(mask));
      lanes = wrapped(_mm512_add_epi32(lanes, stride), whole);
    } while (--steps != 0 && count <= kList - kLanes - 2);
    length = count;
    return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm512_castsi512_si128(lanes)));
  }
};

}  // namespace

const Fills kAvx512Fills{fill_in_stages<Probe>, fill_in_stages<Probe>, fill_in_stages<Probe>};

}  // namespace fleetmesh::maglev
#endif
