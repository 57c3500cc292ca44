// 8 x 8 matrices held by a simdgroup, two elements a lane.
//
// Which elements a lane holds is Apple's affair; MLX's kernels, through thread_elements(), rely on the layout used
// here.
#pragma once
#pragma clang system_header

namespace metal {

METAL_FUNC uint msl_matrix_row(uint lane) { return (lane / 4 & 4) + lane / 2 % 4; }
METAL_FUNC uint msl_matrix_column(uint lane) { return (lane / 4 & 2) * 2 + lane % 2 * 2; }

template <class T, int Rows, int Columns>
struct simdgroup_matrix {
  static_assert(Rows == 8 && Columns == 8, "Metal has 8 x 8 matrices only");
  vec<T, 2> elements;

  METAL_FUNC simdgroup_matrix() {}
  explicit METAL_FUNC simdgroup_matrix(T diagonal) {
    const uint row = msl_matrix_row(msl_current->lane), column = msl_matrix_column(msl_current->lane);
    elements[0] = row == column ? diagonal : T(0);
    elements[1] = row == column + 1 ? diagonal : T(0);
  }
  METAL_FUNC vec<T, 2>& thread_elements() { return elements; }
  METAL_FUNC const vec<T, 2>& thread_elements() const { return elements; }
};
using simdgroup_float8x8 = simdgroup_matrix<float, 8, 8>;
using simdgroup_half8x8 = simdgroup_matrix<half, 8, 8>;
using simdgroup_bfloat8x8 = simdgroup_matrix<bfloat, 8, 8>;

template <class T, int Rows, int Columns>
METAL_FUNC simdgroup_matrix<T, Rows, Columns> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, Rows, Columns> matrix;
  matrix.elements[0] = matrix.elements[1] = value;
  return matrix;
}

// Offset of element i of this lane in memory whose rows lie `stride` elements apart.
METAL_FUNC ulong msl_matrix_offset(uint i, ulong stride, vec<ulong, 2> origin, bool transposed) {
  const ulong row = msl_matrix_row(msl_current->lane), column = msl_matrix_column(msl_current->lane) + i;
  return transposed ? (origin[1] + column) * stride + origin[0] + row : (origin[1] + row) * stride + origin[0] + column;
}

#define MSL_MATRIX_LOAD(SPACE)                                                                                     \
  template <class T, class U>                                                                                      \
  METAL_FUNC void simdgroup_load(simdgroup_matrix<T, 8, 8>& matrix, const SPACE U* source, ulong stride = 8,       \
                                 vec<ulong, 2> origin = vec<ulong, 2>{0, 0}, bool transposed = false) {            \
    for (uint i = 0; i < 2; i++) matrix.elements[i] = T(source[msl_matrix_offset(i, stride, origin, transposed)]); \
  }
MSL_MATRIX_LOAD(device)
MSL_MATRIX_LOAD(threadgroup)
MSL_MATRIX_LOAD(constant)
#undef MSL_MATRIX_LOAD

#define MSL_MATRIX_STORE(SPACE)                                                                                    \
  template <class T, class U>                                                                                      \
  METAL_FUNC void simdgroup_store(const simdgroup_matrix<T, 8, 8>& matrix, SPACE U* target, ulong stride = 8,      \
                                  vec<ulong, 2> origin = vec<ulong, 2>{0, 0}, bool transposed = false) {           \
    for (uint i = 0; i < 2; i++) target[msl_matrix_offset(i, stride, origin, transposed)] = U(matrix.elements[i]); \
  }
MSL_MATRIX_STORE(device)
MSL_MATRIX_STORE(threadgroup)
#undef MSL_MATRIX_STORE

template <class A, class B>
struct msl_matrix_operands {
  vec<A, 2> a;
  vec<B, 2> b;
  float c[2];
};

// A B + C in float, k in order, one rounding a step.
template <class A, class B>
MSL_UNTRACED void msl_combine_matrices(msl_simdgroup* simdgroup, uint parity) {
  float a[8][8], b[8][8], d[8][8];
  for (uint lane = 0; lane < MSL_LANES; lane++) {
    const auto operands = msl_slot<msl_matrix_operands<A, B>>(simdgroup, parity, lane);
    const uint row = msl_matrix_row(lane), column = msl_matrix_column(lane);
    for (uint i = 0; i < 2; i++) {
      a[row][column + i] = float(operands.a[i]);
      b[row][column + i] = float(operands.b[i]);
      d[row][column + i] = operands.c[i];
    }
  }
  for (int i = 0; i < 8; i++)
    for (int k = 0; k < 8; k++)
      for (int j = 0; j < 8; j++) d[i][j] += a[i][k] * b[k][j];
  static_assert(sizeof d <= MSL_RESULT_BYTES, "a product fits into the results");
  __builtin_memcpy(simdgroup->results[parity], d, sizeof d);
}

template <class D, class A, class B, class C>
METAL_FUNC MSL_UNTRACED void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d,
                                                           const simdgroup_matrix<A, 8, 8>& a,
                                                           const simdgroup_matrix<B, 8, 8>& b,
                                                           const simdgroup_matrix<C, 8, 8>& c, MSL_SITE) {
  const msl_matrix_operands<A, B> operands{a.elements, b.elements, {float(c.elements[0]), float(c.elements[1])}};
  const uint parity = msl_exchange(operands, &msl_combine_matrices<A, B>, site);
  const auto product = (const float (*)[8])msl_current->simdgroup->results[parity];
  const uint row = msl_matrix_row(msl_current->lane), column = msl_matrix_column(msl_current->lane);
  d.elements[0] = D(product[row][column]);
  d.elements[1] = D(product[row][column + 1]);
}
template <class D, class A, class B>
METAL_FUNC void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                                   const simdgroup_matrix<B, 8, 8>& b, MSL_SITE) {
  simdgroup_multiply_accumulate(d, a, b, simdgroup_matrix<D, 8, 8>(D(0)), site);
}

}  // namespace metal
