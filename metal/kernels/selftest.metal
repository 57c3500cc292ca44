// decode() of 256 words that hold one byte four times: all 16 codes at all 8 places. words [256] uint; values [256, 8]
// float, in the order of decode(). A thread a word.
  const uint at = thread_position_in_grid.x;
  float weights[8];
  decode<0>(words[at], weights);
  UNROLL for (int i = 0; i < 8; ++i) values[8 * at + i] = weights[i];
