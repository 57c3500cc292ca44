// Lane order: how activations are laid out for the MXFP4 matvec, in which a lane takes one block of 32 values a pass.
//
// [pass][word 0..3][lane][8 values]: a block is four words of 8 values, and the 16 bytes (half) that the lanes of a
// simdgroup load for one word lie side by side. In natural order a load would touch four times the lines, and this
// traffic, not that of the weights, is what separates fast geometries from slow ones. The last pass is as wide as the
// blocks left, so that lane order is a permutation of the vector. Within a word the values stand in the order in which
// decode() gives the weights: 0 4 1 5 2 6 3 7. metal/lanes.py has the same permutation in Python.

// Lanes that pass number `pass` uses, for vectors of K values.
template <int K>
METAL_FUNC uint lanes_of(uint pass) {
  return min(32u, uint(K / 32) - 32 * pass);
}

// Where the eight values k = 8 * word .. 8 * word + 7 begin.
template <int K>
METAL_FUNC uint lane_order8(uint word) {
  const uint block = word / 4, pass = block / 32;
  return (128 * pass + (word % 4) * lanes_of<K>(pass) + block % 32) * 8;
}

// Where value k is.
template <int K>
METAL_FUNC uint lane_order(uint k) {
  const uint n = k % 8;
  return lane_order8<K>(k / 8) + (n < 4 ? 2 * n : 2 * n - 7);
}

// Eight values from an address that is a multiple of ALIGN bytes.
template <int ALIGN, int PACKED, typename T>
METAL_FUNC void load_word(const device T* from, thread float* v) {
  load_floats<T, 8, ALIGN, PACKED>(from, v);
}

// Eight values, given in natural order, to the places of one word.
METAL_FUNC void store_word(device half* to, const thread float* v) {
  *(device uint4*)to = uint4(
      as_type<uint>(half2(v[0], v[4])),
      as_type<uint>(half2(v[1], v[5])),
      as_type<uint>(half2(v[2], v[6])),
      as_type<uint>(half2(v[3], v[7])));
}
METAL_FUNC void store_word(device float* to, const thread float* v) {
  ((device float4*)to)[0] = float4(v[0], v[4], v[1], v[5]);
  ((device float4*)to)[1] = float4(v[2], v[6], v[3], v[7]);
}
