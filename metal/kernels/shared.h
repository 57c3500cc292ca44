// Experts that several rows chose: who reads one, and for whom.
//
// A pair is a row's number times TOP plus a slot; there are at most 32, a bit each in a set. Of the pairs that share an
// expert, in their order, the first of every SHARE reads its weights, once for all of these: SHARE 4 is what registers
// hold, so that of eight rows that chose the same expert two read it.

// Of the pairs that share an expert: those for which `pair`, one of them, reads it; 0 if another one does so for it.
template <int SHARE>
METAL_FUNC uint read_by(uint pair, uint sharing) {
  const uint before = sharing & ((1u << pair) - 1u);
  return popcount(before) % SHARE ? 0u : sharing ^ before;
}

// The numbers of the first SHARE pairs of a set; the last one again where there are fewer. Returns how many there are.
template <int SHARE>
METAL_FUNC uint take_pairs(uint set, thread uint* pairs) {
  const uint count = min(uint(popcount(set)), uint(SHARE));
  UNROLL for (int i = 0; i < SHARE; ++i) {
    pairs[i] = ctz(set);
    const uint others = set & (set - 1u);
    set = others ? others : set;
  }
  return count;
}

// mxfp4_rows for the first `count` of SHARE vectors, which may be fewer: most experts are chosen by one row or two.
template <int K, int ROWS, int SHARE, int ALIGN, int PACKED, int TABLE, typename X>
METAL_FUNC void shared_rows(
    const device uint* blocks,
    const device uchar* scales,
    const device X* x,
    const thread uint* at,
    uint count,
    uint lane,
    thread float* sums) {
  if (SHARE > 2 && count > 2) {
    mxfp4_rows<K, ROWS, SHARE, ALIGN, PACKED, TABLE>(blocks, scales, x, at, lane, sums);
  } else if (SHARE > 1 && count > 1) {
    mxfp4_rows<K, ROWS, SHARE < 2 ? SHARE : 2, ALIGN, PACKED, TABLE>(blocks, scales, x, at, lane, sums);
  } else {
    mxfp4_rows<K, ROWS, 1, ALIGN, PACKED, TABLE>(blocks, scales, x, at, lane, sums);
  }
}
