#include "kernels/attention/attention.h"

#include <algorithm>

#include "kernels/attention/attention_isa.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/scratch.h"
#include "kernels/parallel.h"

namespace r1::kernels {

#define R1_DECLARE(isa)                                                       \
  namespace isa {                                                             \
  void attention_tile(const AttentionTile& tile, float* out, float* lse);     \
  void attention_token(const AttentionToken& token, float* out);              \
  void attention_grad_tile(const AttentionGradTile& tile);                    \
  void turn_keys(int64_t D, const float* keys, float* values);                \
  }
R1_DECLARE(avx2)
R1_DECLARE(avx512)
#undef R1_DECLARE

namespace {

constexpr int64_t kTileQueryRows = 48;

int64_t padded(int64_t D) { return (D + 15) / 16 * 16; }
int64_t tile_tokens(const AttentionShape& s) { return std::max<int64_t>(1, kTileQueryRows / (s.num_heads / s.num_kv_heads)); }

const float* key_panel(const AttentionShape& s, const KvPages& pages, int32_t page, int64_t head) {
  return pages.keys + page * key_page_floats(s) + head * s.head_dim * kPageTokens;
}
const float* value_panel(const AttentionShape& s, const KvPages& pages, int32_t page, int64_t head, int64_t panel) {
  return pages.values + page * value_page_floats(s) + (head * padded(s.head_dim) + panel * 16) * kPageTokens;
}

AttentionTile make_tile(const AttentionShape& s, const AttentionRun& run, int64_t head, int64_t first, int64_t tokens,
                        const float* q) {
  AttentionTile t{};
  t.D = s.head_dim;
  t.Dp = padded(s.head_dim);
  t.group = s.num_heads / s.num_kv_heads;
  t.tokens = tokens;
  t.position = run.first_position + first;
  t.token_stride = s.num_heads * s.head_dim;
  t.num_pages = (t.position + tokens - 1) / kPageTokens + 1;
  t.scale = s.scale;
  t.q = q + (run.first_row + first) * t.token_stride + head * t.group * t.D;
  t.lse_stride = s.num_heads;
  return t;
}

struct Panels {
  std::vector<const float*> keys, values;
};

void list_panels(const AttentionShape& s, const KvPages& pages, const AttentionRun& run, int64_t head, int64_t num_pages,
                 Panels& out) {
  const int64_t per_page = padded(s.head_dim) / 16;
  out.keys.resize(static_cast<size_t>(num_pages));
  out.values.resize(static_cast<size_t>(num_pages * per_page));
  float* turned = s.values_are_keys ? thread_scratch(4, num_pages * per_page * 256) : nullptr;
  for (int64_t p = 0; p < num_pages; ++p) {
    out.keys[static_cast<size_t>(p)] = key_panel(s, pages, run.pages[p], head);
    if (turned != nullptr) R1_CPU_CALL(turn_keys, s.head_dim, out.keys[static_cast<size_t>(p)], turned + p * per_page * 256);
    for (int64_t d = 0; d < per_page; ++d) {
      out.values[static_cast<size_t>(p * per_page + d)] =
          turned != nullptr ? turned + (p * per_page + d) * 256 : value_panel(s, pages, run.pages[p], head, d);
    }
  }
}

// One group of runs that share a prefix, one key head: their gradients meet in the prefix's rows, so one task adds them.
void backward_group(const AttentionShape& s, const KvPages& pages, const AttentionRun* runs, int64_t num_runs,
                    int64_t head, const float* q, const float* out, const float* lse, const float* dout, float* dq,
                    float* dk, float* dv) {
  const int64_t D = s.head_dim, Dp = padded(D), per_page = Dp / 16, group = s.num_heads / s.num_kv_heads;
  const int64_t kv_stride = s.num_kv_heads * D;
  Panels panels;
  std::vector<const float*> value_t, key_rows;
  for (int64_t i = 0; i < num_runs; ++i) {
    const AttentionRun& run = runs[i];
    if (run.num_rows == 0) continue;
    const int64_t length = run.first_position + run.num_rows, num_pages = (length - 1) / kPageTokens + 1;
    list_panels(s, pages, run, head, num_pages, panels);
    float* turned = thread_scratch(1, num_pages * kPageTokens * (D + Dp));
    float* sums = thread_scratch(2, 2 * num_pages * kPageTokens * Dp);
    std::fill(sums, sums + 2 * num_pages * kPageTokens * Dp, 0.0f);
    value_t.clear();
    key_rows.clear();
    for (int64_t p = 0; p < num_pages; ++p) {
      float* vt = turned + p * kPageTokens * (D + Dp);
      float* kr = vt + kPageTokens * D;
      const float* key = panels.keys[static_cast<size_t>(p)];
      for (int64_t d = 0; d < Dp; ++d) {
        const float* value = panels.values[static_cast<size_t>(p * per_page + d / 16)] + d % 16;
        for (int64_t j = 0; j < kPageTokens; ++j) {
          if (d < D) vt[d * kPageTokens + j] = value[j * 16];
          kr[d / 16 * 256 + j * 16 + d % 16] = d < D ? key[d * kPageTokens + j] : 0.0f;
        }
      }
      value_t.push_back(vt);
      for (int64_t d = 0; d < per_page; ++d) key_rows.push_back(kr + d * 256);
    }
    const int64_t step = tile_tokens(s);
    for (int64_t first = 0; first < run.num_rows; first += step) {
      AttentionGradTile g{};
      g.forward = make_tile(s, run, head, first, std::min(step, run.num_rows - first), q);
      AttentionTile& t = g.forward;
      t.key_panels = panels.keys.data();
      t.value_panels = panels.values.data();
      t.scratch = thread_scratch(3, attention_scratch_floats(t.tokens * t.group, t.num_pages, t.Dp));
      const int64_t offset = t.q - q;
      g.out = out + offset;
      g.dout = dout + offset;
      g.dq = dq + offset;
      g.lse = lse + (run.first_row + first) * s.num_heads + head * group;
      g.value_t_panels = value_t.data();
      g.key_row_panels = key_rows.data();
      g.dk = sums;
      g.dv = sums + num_pages * kPageTokens * Dp;
      R1_CPU_CALL(attention_grad_tile, g);
    }
    for (int64_t j = 0; j < length; ++j) {
      const int64_t row = j < run.first_position ? run.prefix_row + j : run.first_row + j - run.first_position;
      float* dk_row = dk + row * kv_stride + head * D;
      float* dv_row = dv + row * kv_stride + head * D;
      const float* from_k = sums + j * Dp;
      const float* from_v = sums + (num_pages * kPageTokens + j) * Dp;
      for (int64_t d = 0; d < D; ++d) {
        dk_row[d] += from_k[d];
        dv_row[d] += from_v[d];
      }
    }
  }
}

void write_run(const AttentionShape& s, const KvPages& pages, const AttentionRun& run, const float* k, const float* v) {
  const int64_t D = s.head_dim, Dp = padded(D), stride = s.num_kv_heads * D;
  for (int64_t i = 0; i < run.num_rows; ++i) {
    const int64_t position = run.first_position + i, slot = position % kPageTokens;
    const int32_t page = run.pages[position / kPageTokens];
    if (slot == 0) {  // a fresh page: unused slots meet a weight of 0, so they must be finite
      std::fill_n(pages.keys + page * key_page_floats(s), key_page_floats(s), 0.0f);
      if (!s.values_are_keys) std::fill_n(pages.values + page * value_page_floats(s), value_page_floats(s), 0.0f);
    }
    float* key = pages.keys + page * key_page_floats(s) + slot;
    const float* k_row = k + (run.first_row + i) * stride;
    if (s.values_are_keys) {
      for (int64_t d = 0; d < stride; ++d) key[d * kPageTokens] = k_row[d];
      continue;
    }
    float* value = pages.values + page * value_page_floats(s) + slot * 16;
    const float* v_row = v + (run.first_row + i) * stride;
    for (int64_t h = 0; h < s.num_kv_heads; ++h) {
      for (int64_t d = 0; d < D; ++d) {
        key[(h * D + d) * kPageTokens] = k_row[h * D + d];
        value[h * Dp * kPageTokens + d / 16 * 256 + d % 16] = v_row[h * D + d];
      }
    }
  }
}

void attend_token(const AttentionShape& s, const KvPages& pages, const AttentionRun& run, const float* q, float* out) {
  thread_local std::vector<const float*> keys, values;
  AttentionToken t{};
  t.D = s.head_dim;
  t.Dp = padded(s.head_dim);
  t.num_heads = s.num_heads;
  t.position = run.first_position;
  t.num_pages = t.position / kPageTokens + 1;
  t.scale = s.scale;
  keys.clear();
  values.clear();
  for (int64_t p = 0; p < t.num_pages; ++p) {
    keys.push_back(pages.keys + run.pages[p] * key_page_floats(s));
    values.push_back(pages.values + run.pages[p] * value_page_floats(s));
  }
  const int64_t offset = run.first_row * s.num_heads * s.head_dim;
  t.q = q + offset;
  t.key_pages = keys.data();
  t.value_pages = values.data();
  t.scratch = thread_scratch(3, attention_scratch_floats(s.num_heads, t.num_pages, t.Dp));
  R1_CPU_CALL(attention_token, t, out + offset);
}

}  // namespace

int64_t key_page_floats(const AttentionShape& s) { return s.num_kv_heads * s.head_dim * kPageTokens; }
int64_t value_page_floats(const AttentionShape& s) {
  return s.values_are_keys ? 0 : s.num_kv_heads * padded(s.head_dim) * kPageTokens;
}

void write_kv(const AttentionShape& s, const KvPages& pages, const std::vector<AttentionRun>& runs, const float* k,
              const float* v) {
  // Consecutive runs of one page table may meet in a page: they are one task.
  std::vector<size_t> starts;
  int64_t rows = 0;
  for (size_t r = 0; r < runs.size(); ++r) {
    if (r == 0 || runs[r].pages != runs[r - 1].pages) starts.push_back(r);
    rows += runs[r].num_rows;
  }
  starts.push_back(runs.size());
  const auto task = [&](int64_t t) {
    for (size_t r = starts[static_cast<size_t>(t)]; r < starts[static_cast<size_t>(t) + 1]; ++r) {
      write_run(s, pages, runs[r], k, v);
    }
  };
  const auto num_tasks = static_cast<int64_t>(starts.size()) - 1;
  if (rows * s.num_kv_heads * s.head_dim < 16384) {
    for (int64_t t = 0; t < num_tasks; ++t) task(t);
  } else {
    parallel_for(num_tasks, task);
  }
}

void attention_cached(const AttentionShape& s, const KvPages& pages, const std::vector<AttentionRun>& runs, const float* q,
                      const float* k, const float* v, float* out) {
  const auto num_runs = static_cast<int64_t>(runs.size());
  const bool decoding = s.num_heads == s.num_kv_heads && !s.values_are_keys && num_runs >= 4 * num_threads() &&
                        std::all_of(runs.begin(), runs.end(), [](const AttentionRun& run) { return run.num_rows == 1; });
  if (!decoding) {
    write_kv(s, pages, runs, k, v);
    attention_forward(s, pages, runs, q, out, nullptr);
    return;
  }
  const int64_t piece = std::clamp<int64_t>(num_runs / (8 * num_threads()), 1, 16);
  parallel_for((num_runs + piece - 1) / piece, [&](int64_t p) {
    for (int64_t i = p * piece; i < std::min(num_runs, (p + 1) * piece); ++i) {
      write_run(s, pages, runs[static_cast<size_t>(i)], k, v);
      attend_token(s, pages, runs[static_cast<size_t>(i)], q, out);
    }
  });
}

void attention_forward(const AttentionShape& s, const KvPages& pages, const std::vector<AttentionRun>& runs,
                       const float* q, float* out, float* lse) {
  struct Task {
    int32_t run;
    int32_t head;
    int64_t first;
  };
  const int64_t step = tile_tokens(s), group = s.num_heads / s.num_kv_heads;
  std::vector<Task> tasks;
  int64_t work = 0;
  for (size_t r = 0; r < runs.size(); ++r) {
    for (int64_t h = 0; h < s.num_kv_heads; ++h) {
      for (int64_t first = 0; first < runs[r].num_rows; first += step) {
        tasks.push_back({static_cast<int32_t>(r), static_cast<int32_t>(h), first});
      }
    }
    work += runs[r].num_rows * (runs[r].first_position + runs[r].num_rows) * s.num_heads * s.head_dim;
  }
  const auto run_task = [&](int64_t i) {
    const Task& task = tasks[static_cast<size_t>(i)];
    const AttentionRun& run = runs[static_cast<size_t>(task.run)];
    AttentionTile t = make_tile(s, run, task.head, task.first, std::min(step, run.num_rows - task.first), q);
    thread_local Panels panels;
    list_panels(s, pages, run, task.head, t.num_pages, panels);
    t.key_panels = panels.keys.data();
    t.value_panels = panels.values.data();
    t.scratch = thread_scratch(3, attention_scratch_floats(t.tokens * group, t.num_pages, t.Dp));
    R1_CPU_CALL(attention_tile, t, out + (t.q - q),
                lse == nullptr ? nullptr : lse + (run.first_row + task.first) * s.num_heads + task.head * group);
  };
  const auto num_tasks = static_cast<int64_t>(tasks.size());
  if (work < 100'000) {
    for (int64_t i = 0; i < num_tasks; ++i) run_task(i);
    return;
  }
  // Decoding makes many tasks of under a microsecond: hand them out in pieces, at least eight for every thread.
  const int64_t piece = std::clamp<int64_t>(num_tasks / (8 * num_threads()), 1, 64);
  parallel_for((num_tasks + piece - 1) / piece, [&](int64_t p) {
    for (int64_t i = p * piece; i < std::min(num_tasks, (p + 1) * piece); ++i) run_task(i);
  });
}

void attention_backward(const AttentionShape& s, const KvPages& pages, const std::vector<AttentionRun>& runs,
                        const float* q, const float* out, const float* lse, const float* dout, int64_t num_rows,
                        float* dq, float* dk, float* dv) {
  std::fill(dk, dk + num_rows * s.num_kv_heads * s.head_dim, 0.0f);
  std::fill(dv, dv + num_rows * s.num_kv_heads * s.head_dim, 0.0f);
  std::vector<int64_t> starts;  // a run at position 0 opens a group
  for (size_t r = 0; r < runs.size(); ++r) {
    if (r == 0 || runs[r].first_position == 0) starts.push_back(static_cast<int64_t>(r));
  }
  starts.push_back(static_cast<int64_t>(runs.size()));
  const int64_t num_groups = static_cast<int64_t>(starts.size()) - 1;
  parallel_for(num_groups * s.num_kv_heads, [&](int64_t i) {
    const int64_t g = i / s.num_kv_heads, begin = starts[static_cast<size_t>(g)];
    backward_group(s, pages, runs.data() + begin, starts[static_cast<size_t>(g) + 1] - begin, i % s.num_kv_heads, q, out,
                   lse, dout, dq, dk, dv);
  });
}

}  // namespace r1::kernels
