#include "r1/rollout/engine.h"

#include <torch/torch.h>

#include <algorithm>

#include "r1/util/error.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"
#include "stop_texts.h"

namespace r1::rollout {

const char* finish_name(Finish finish) {
  switch (finish) {
    case Finish::kEos:
      return "eos";
    case Finish::kStopText:
      return "stop";
    case Finish::kLength:
      return "length";
  }
  return "?";
}

namespace {

int64_t pages_for(int64_t tokens) { return (tokens + ops::page_tokens() - 1) / ops::page_tokens(); }

torch::Tensor token_tensor(const std::vector<int64_t>& tokens) { return torch::tensor(tokens, torch::kLong); }

}  // namespace

struct Engine::Run {
  // A prompt whose keys and values are in the cache until its last completion has started.
  struct Group {
    size_t index;
    std::vector<int32_t> pages;
    torch::Tensor first_logits_V;
    int64_t next_sample = 0;
    int64_t tokens_limit = 0;
  };
  struct Sequence {
    size_t group;
    int64_t sample;
    std::vector<int32_t> pages;
    int64_t length;    // tokens in the cache
    int64_t limit;     // completion tokens
    int64_t reserved;  // pages it may still take or holds of its own
    StopTexts stop;
    bool ended = false;
  };

  Engine& engine;
  const std::vector<Prompt>& prompts;
  const int64_t G;
  const SamplingConfig& sampling;
  const DrawOrigin& origin;
  const OnCompletion& on_completion;
  std::vector<RolloutGroup> results = {};
  std::vector<Group> open = {};  // prefilled, with samples still to start
  std::vector<Sequence> active = {};
  size_t next_prompt = 0;
  int64_t reserved = 0, finished = 0;

  model::KvCache& cache() { return *engine.cache_; }

  int64_t limit_of(size_t prompt) const {
    const auto P = static_cast<int64_t>(prompts[prompt].tokens.size());
    return std::min(sampling.max_completion_tokens, engine.model_->config().max_positions - P);
  }
  // A completion's own pages at most: all but the prompt's whole ones.
  int64_t own_pages(size_t prompt) const {
    const auto P = static_cast<int64_t>(prompts[prompt].tokens.size());
    return pages_for(P + limit_of(prompt)) - P / ops::page_tokens();
  }
  int64_t prompt_pages(size_t prompt) const { return pages_for(static_cast<int64_t>(prompts[prompt].tokens.size())); }

  void check_prompts() const {
    const int64_t context = engine.model_->config().max_positions;
    for (size_t i = 0; i < prompts.size(); ++i) {
      const auto P = static_cast<int64_t>(prompts[i].tokens.size());
      if (P == 0) throw Error(cat("prompt ", i, " has no token; at least one is needed to continue from"));
      if (P >= context) {
        throw Error(cat("prompt ", i, " has ", P, " tokens; the model's context is ", context,
                        " and a completion needs at least one of them. Shorten the prompt or leave the problem out."));
      }
    }
  }

  void make_cache() {
    const auto& config = engine.model_->config();
    int64_t largest = 0, prompt_largest = 0;
    for (size_t i = 0; i < prompts.size(); ++i) {
      largest = std::max(largest, own_pages(i));
      prompt_largest = std::max(prompt_largest, prompt_pages(i));
    }
    const int64_t page_bytes = model::KvCache::bytes_per_page(config);
    const int64_t sequences = std::min(engine.config_.max_batch, static_cast<int64_t>(prompts.size()) * G);
    const int64_t wanted = sequences * (largest + prompt_largest);
    const int64_t allowed = engine.config_.kv_cache_bytes / page_bytes;
    const int64_t least = largest + prompt_largest;
    if (allowed < least) {
      throw Error(cat("rollout.kv_cache_bytes is ", engine.config_.kv_cache_bytes, "; one sequence of this run may need ",
                      least * page_bytes, " (", least, " pages of ", ops::page_tokens(), " tokens). Raise it to that or more."));
    }
    const int64_t pages = std::min(wanted, allowed);
    if (!engine.cache_ || engine.cache_->num_pages() < pages) {
      engine.cache_.reset();
      engine.cache_ = std::make_unique<model::KvCache>(config, pages, engine.model_->head_weight().options().requires_grad(false));
    }
  }

  model::RoutingPtr new_routing() const { return engine.record_routes ? std::make_shared<model::Routing>() : nullptr; }

  // The experts of `count` rows from `first` on, behind what is there.
  static void append_routes(const model::RoutingPtr& routing, int64_t first, int64_t count, std::vector<int16_t>& out) {
    if (!routing) return;
    for (int64_t row = first; row < first + count; ++row) {
      for (const auto& experts_NK : routing->experts) {
        const int64_t K = experts_NK.size(1);
        const auto* from = experts_NK.data_ptr<int64_t>() + row * K;
        for (int64_t k = 0; k < K; ++k) out.push_back(static_cast<int16_t>(from[k]));
      }
    }
  }

  // Opens as many prompts as fit and computes them together.
  void prefill() {
    std::vector<size_t> fresh;
    int64_t tokens = 0;
    int64_t started = static_cast<int64_t>(active.size());
    for (const auto& g : open) started += G - g.next_sample;
    while (next_prompt < prompts.size() && started < engine.config_.max_batch) {
      const auto P = static_cast<int64_t>(prompts[next_prompt].tokens.size());
      const int64_t needed = prompt_pages(next_prompt) + own_pages(next_prompt);
      if (reserved + needed > cache().num_pages() || (!fresh.empty() && tokens + P > engine.config_.prefill_tokens)) break;
      reserved += prompt_pages(next_prompt);
      fresh.push_back(next_prompt++);
      tokens += P;
      started += G;
    }
    if (fresh.empty()) return;
    std::vector<int64_t> ids;
    std::vector<ops::CacheRun> runs;
    std::vector<int64_t> last_rows;
    std::vector<Group> groups;
    groups.reserve(fresh.size());
    for (const size_t p : fresh) {
      const auto& prompt = prompts[p].tokens;
      Group g;
      g.index = p;
      g.tokens_limit = limit_of(p);
      for (int64_t i = 0; i < prompt_pages(p); ++i) g.pages.push_back(cache().take());
      groups.push_back(std::move(g));
      runs.push_back({static_cast<int64_t>(ids.size()), static_cast<int64_t>(prompt.size()), 0, &groups.back().pages});
      ids.insert(ids.end(), prompt.begin(), prompt.end());
      last_rows.push_back(static_cast<int64_t>(ids.size()) - 1);
    }
    const auto routing = new_routing();
    const auto hidden = engine.model_->hidden_cached(token_tensor(ids), cache(), runs, routing);
    for (size_t i = 0; i < groups.size(); ++i) {
      append_routes(routing, runs[i].first_row, runs[i].num_rows, results[groups[i].index].prompt_routes);
    }
    const auto logits = engine.model_->logits(hidden.index_select(0, token_tensor(last_rows)));
    engine.stats_.prompt_tokens += static_cast<int64_t>(ids.size());
    for (const auto& run : runs) {
      engine.stats_.computed.attended += model::counts_of(1, 0, static_cast<double>(run.num_rows)).attended;
    }
    engine.stats_.computed += {static_cast<double>(ids.size()), static_cast<double>(groups.size()), 0};
    for (size_t i = 0; i < groups.size(); ++i) {
      groups[i].first_logits_V = logits[static_cast<int64_t>(i)];
      open.push_back(std::move(groups[i]));
    }
  }

  // Starts samples of open prompts: each draws its first token from the prompt's logits.
  void start() {
    std::vector<Sequence> fresh;
    std::vector<torch::Tensor> logits;
    std::vector<int64_t> row_of;
    for (auto& g : open) {
      const int64_t own = own_pages(g.index);
      const auto P = static_cast<int64_t>(prompts[g.index].tokens.size());
      bool any = false;
      while (g.next_sample < G && static_cast<int64_t>(active.size() + fresh.size()) < engine.config_.max_batch &&
             reserved + own <= cache().num_pages()) {
        reserved += own;
        Sequence s{g.index, g.next_sample++, {}, P, g.tokens_limit, own, StopTexts(sampling.stop), false};
        const int64_t whole = P / ops::page_tokens();
        for (int64_t i = 0; i < whole; ++i) {
          cache().share(g.pages[static_cast<size_t>(i)]);
          s.pages.push_back(g.pages[static_cast<size_t>(i)]);
        }
        if (P % ops::page_tokens() != 0) s.pages.push_back(cache().copy(g.pages.back()));
        fresh.push_back(std::move(s));
        any = true;
        row_of.push_back(static_cast<int64_t>(logits.size()));
      }
      if (any) logits.push_back(g.first_logits_V);
    }
    if (fresh.empty()) return;
    draw(fresh, torch::stack(logits), row_of);
    for (auto& s : fresh) active.push_back(std::move(s));
    for (auto& g : open) {
      if (g.next_sample < G) continue;
      for (const int32_t page : g.pages) cache().release(page);
    }
    retire_groups();
    retire();
  }

  // Completions hold the prompt's whole pages but reserve only their own: the prompt's reservation lasts as long as any
  // of them.
  struct Held {
    size_t group;
    int64_t pages;
    int64_t users;
  };
  std::vector<Held> held = {};

  void retire_groups() {
    for (auto it = open.begin(); it != open.end();) {
      if (it->next_sample < G) {
        ++it;
        continue;
      }
      held.push_back({it->index, prompt_pages(it->index), 0});
      it = open.erase(it);
    }
    // Users are counted anew: few groups are held at a time.
    for (auto& h : held) {
      h.users = std::count_if(active.begin(), active.end(), [&](const Sequence& s) { return s.group == h.group; });
    }
  }

  void draw(std::vector<Sequence>& sequences, const torch::Tensor& logits, const std::vector<int64_t>& row_of) {
    std::vector<double> uniforms;
    for (const auto& s : sequences) {
      const auto& done = results[s.group].completions[static_cast<size_t>(s.sample)].tokens;
      uniforms.push_back(draw_uniform({.seed = origin.seed,
                                       .stream = Stream::kSampling,
                                       .stage = origin.stage,
                                       .step = origin.step,
                                       .prompt = prompts[s.group].index,
                                       .sample = static_cast<uint32_t>(s.sample),
                                       .position = static_cast<uint32_t>(done.size())}));
    }
    const auto drawn = ops::sample_tokens(logits, row_of, uniforms, sampling.rule);
    for (size_t i = 0; i < sequences.size(); ++i) {
      auto& completion = results[sequences[i].group].completions[static_cast<size_t>(sequences[i].sample)];
      completion.tokens.push_back(drawn.tokens[i]);
      completion.rollout_logprobs.push_back(drawn.logprobs[i]);
      sequences[i].ended = has_ended(sequences[i]);
    }
    engine.stats_.generated_tokens += static_cast<int64_t>(sequences.size());
  }

  bool has_ended(Sequence& s) {
    auto& completion = results[s.group].completions[static_cast<size_t>(s.sample)];
    const int32_t token = completion.tokens.back();
    const auto& eos = engine.tokenizer_.eos_ids();
    if (sampling.stop_at_eos && std::find(eos.begin(), eos.end(), token) != eos.end()) {
      completion.finish = Finish::kEos;
      return true;
    }
    // A control token's name is no text: "<pad>" must not end a completion that stops at "a".
    if (s.stop.any() && !engine.tokenizer_.is_special(token) && s.stop.append(engine.tokenizer_.decode_token(token))) {
      completion.finish = Finish::kStopText;
      return true;
    }
    completion.finish = Finish::kLength;
    return static_cast<int64_t>(completion.tokens.size()) >= s.limit;
  }

  void retire() {
    std::vector<Sequence> going_on;
    for (auto& s : active) {
      if (!s.ended) {
        going_on.push_back(std::move(s));
        continue;
      }
      for (const int32_t page : s.pages) cache().release(page);
      reserved -= s.reserved;
      ++finished;
      const auto sample_number = static_cast<size_t>(s.sample);
      if (on_completion) on_completion(s.group, sample_number, results[s.group].completions[sample_number]);
      for (auto& h : held) h.users -= h.group == s.group ? 1 : 0;
    }
    active = std::move(going_on);
    std::erase_if(held, [&](const Held& h) {
      if (h.users == 0) reserved -= h.pages;
      return h.users == 0;
    });
  }

  void decode() {
    if (active.empty()) return;
    std::vector<int64_t> ids, row_of;
    std::vector<ops::CacheRun> runs;
    for (auto& s : active) {
      if (pages_for(s.length + 1) > static_cast<int64_t>(s.pages.size())) s.pages.push_back(cache().take());
      runs.push_back({static_cast<int64_t>(ids.size()), 1, s.length, &s.pages});
      row_of.push_back(static_cast<int64_t>(ids.size()));
      ids.push_back(results[s.group].completions[static_cast<size_t>(s.sample)].tokens.back());
      ++s.length;
      engine.stats_.computed += {1, 1, static_cast<double>(s.length)};
    }
    const auto routing = new_routing();
    const auto logits = engine.model_->logits(engine.model_->hidden_cached(token_tensor(ids), cache(), runs, routing));
    for (size_t i = 0; i < active.size(); ++i) {
      append_routes(routing, static_cast<int64_t>(i), 1, results[active[i].group].completions[static_cast<size_t>(active[i].sample)].routes);
    }
    ++engine.stats_.decode_steps;
    draw(active, logits, row_of);
    retire();
  }
};

Engine::Engine(model::Transformer model, Tokenizer tokenizer, EngineConfig config)
    : model_(std::move(model)), tokenizer_(std::move(tokenizer)), config_(config) {}
Engine::~Engine() = default;

std::vector<RolloutGroup> Engine::sample(const std::vector<Prompt>& prompts, int64_t G, const SamplingConfig& sampling,
                                         const DrawOrigin& origin, const std::function<void(int64_t, int64_t)>& progress,
                                         const OnCompletion& on_completion) {
  const torch::NoGradGuard no_grad;
  Run run{*this, prompts, G, sampling, origin, on_completion};
  run.check_prompts();
  if (prompts.empty()) return {};
  run.make_cache();
  for (const auto& prompt : prompts) {
    run.results.push_back({prompt, std::vector<Completion>(static_cast<size_t>(G)), {}});
  }
  const int64_t total = static_cast<int64_t>(prompts.size()) * G;
  while (run.finished < total) {
    run.prefill();
    run.start();
    run.decode();
    if (progress) progress(run.finished, total);
  }
  return std::move(run.results);
}

}  // namespace r1::rollout
