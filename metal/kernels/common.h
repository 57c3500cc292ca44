// What every kernel here uses: whole loops, device words, the three activation types.

// Rows and words index private arrays; a loop over them that is not fully unrolled may put these into stack memory.
#define UNROLL _Pragma("clang loop unroll(full)")

// A 32-bit word of two 16-bit floats, or of one float, in memory order.
template <typename T>
METAL_FUNC float2 two_floats(uint word);
template <>
METAL_FUNC float2 two_floats<bfloat>(uint word) {
  return float2(as_type<float>(word << 16), as_type<float>(word & 0xFFFF0000u));
}
template <>
METAL_FUNC float2 two_floats<half>(uint word) {
  const half2 values = as_type<half2>(word);
  return float2(float(values.x), float(values.y));
}

// WORDS words in the widest loads that ALIGN bytes allow. A GPU load whose address is not a multiple of its size may
// silently read from the address rounded down.
//
// PACKED: 16 bytes at once from any multiple of 4, through a type that asks no more of its address. Apple's loads of
// several words ask for the alignment of one (dougallj/applegpu), so that this is one load, which
// asks for each line once, where the compiler makes one of it: metal.trust tries it where weights lie at no multiple of 16.
template <int WORDS, int ALIGN, int PACKED = 0>
METAL_FUNC void load_words(const device void* from, thread uint* words) {
  if constexpr (ALIGN >= 16 && WORDS % 4 == 0) {
    UNROLL for (int i = 0; i < WORDS / 4; ++i) {
      const uint4 load = ((const device uint4*)from)[i];
      words[4 * i] = load.x;
      words[4 * i + 1] = load.y;
      words[4 * i + 2] = load.z;
      words[4 * i + 3] = load.w;
    }
  } else if constexpr (PACKED && WORDS % 4 == 0) {
    UNROLL for (int i = 0; i < WORDS / 4; ++i) {
      const uint4 load = uint4(((const device packed_uint4*)from)[i]);
      words[4 * i] = load.x;
      words[4 * i + 1] = load.y;
      words[4 * i + 2] = load.z;
      words[4 * i + 3] = load.w;
    }
  } else if constexpr (ALIGN >= 8 && WORDS % 2 == 0) {
    UNROLL for (int i = 0; i < WORDS / 2; ++i) {
      const uint2 load = ((const device uint2*)from)[i];
      words[2 * i] = load.x;
      words[2 * i + 1] = load.y;
    }
  } else if constexpr (WORDS == 3) {
    const uint2 load = uint2(*(const device packed_uint2*)from);  // two loads, since a packed type needs no alignment
    words[0] = load.x;
    words[1] = load.y;
    words[2] = ((const device uint*)from)[2];
  } else {
    UNROLL for (int i = 0; i < WORDS; ++i) words[i] = ((const device uint*)from)[i];
  }
}

// N consecutive elements as float.
template <typename T, int N, int ALIGN, int PACKED = 0>
METAL_FUNC void load_floats(const device T* from, thread float* values) {
  constexpr int WORDS = N * sizeof(T) / 4;
  uint words[WORDS];
  load_words<WORDS, ALIGN, PACKED>(from, words);
  UNROLL for (int i = 0; i < WORDS; ++i) {
    if constexpr (sizeof(T) == 4) {
      values[i] = as_type<float>(words[i]);
    } else {
      const float2 two = two_floats<T>(words[i]);
      values[2 * i] = two.x;
      values[2 * i + 1] = two.y;
    }
  }
}
