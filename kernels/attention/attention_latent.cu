// Attention over a latent cache: MLA's absorbed form (arXiv:2405.04434 section 2.1.2).
//   out[n,h,:] = sum_{j <= position of n} p_j c_j,  p = softmax_j(scale q[n,h] . [c_j ; k^R_j])
// q [N, H, 576], out [N, H, 512]. A token's cache is one row of 576 numbers that all H heads share: the latent
// (512) and the rotary key (64); the query already carries W_UK, the output still has W_UV to come, so the value
// is the key's first 512 numbers.
//
// paged_tile.h's block with 64 query rows and 8 warps: a warp holds the sums of 32 rows x 128 columns (128
// registers), computes 32 x 16 scores, and reads keys and values from the same rows of shared memory. V3's 128
// heads are two blocks of the same keys, neighbours in the grid; V2-Lite's 16 heads fill a quarter of one,
// whose other row tiles are skipped.
//
// Bytes 1,152 a key, FLOPs 2 H (576 + 512) a key: 242 per byte at H = 128, 30 at H = 16. R = 64 runs of 4,096
// keys: 302 MB, 90 us at 3.35 TB/s; at H = 128 73 GFLOP, 93 us at 780 TFLOP/s. mma.sync without wgmma, fed by
// ldmatrix, is bound by shared memory: 64 rows x 64 keys take about 3,500 cycles of ldmatrix for the scores
// and 1,300 for the sums, so 190 us at H = 128 and 95 us at H = 16 (all estimated).
// Shared memory, dynamic: two stages of keys 225 KiB, for sm_90; one 153 KiB, for sm_80 (163).
#include "kernels/attention/paged_tile.h"

namespace r1::kernels::cuda {
namespace {

using LatentTile = paged::PagedTile<576, 512, 2, 4, 2, true>;

}  // namespace

void launch_latent(const PagedWork& work, int64_t items, int64_t query_rows, cudaStream_t stream) {
  if (device::shared_limit() >= LatentTile::shared_bytes(2)) return launch_paged<LatentTile, 2>(work, "latent_attention", items, query_rows, stream);
  launch_paged<LatentTile, 1>(work, "latent_attention", items, query_rows, stream);
}

}  // namespace r1::kernels::cuda
