#include "r1/rollout/engine.h"

#include <torch/torch.h>

#include <algorithm>
#include <deque>
#include <optional>

#include "decode_step.h"
#include "drafter.h"
#include "r1/ops/devices.h"
#include "r1/util/error.h"
#include "r1/util/progress.h"
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
    torch::Tensor last_hidden_1C;  // of the prompt's last token, normed; while drafting alone
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
    int64_t id, slot;
    int64_t requested = 0;  // completion tokens asked for: those that the host knows and those under way
    bool ended = false;
    Draft draft = {};
  };

  Engine& engine;
  const std::vector<Prompt>& prompts;
  const int64_t G;
  const SamplingConfig& sampling;
  const DrawOrigin& origin;
  const OnCompletion& on_completion;
  const PromptSupply& supply;
  std::vector<RolloutGroup> results = {};
  std::vector<Group> open = {};  // prefilled, with samples still to start
  std::vector<Sequence> active = {};  // in order of their ids
  std::vector<int64_t> free_slots = {};
  int64_t next_id = 0;
  // The steps under way, the oldest first: their sequences in order, by id. Some may have ended meanwhile.
  std::deque<std::vector<int64_t>> under_way = {};
  std::optional<size_t> next_prompt = {};  // taken, but there was no room to open it
  bool all_taken = false;
  size_t in_order = 0;
  int64_t reserved = 0, finished = 0;
  std::optional<Drafter> drafter = {};

  model::KvCache& cache() { return *engine.cache_; }
  DecodeStep& step() { return *engine.step_; }

  int64_t limit_of(size_t prompt) const {
    const auto P = static_cast<int64_t>(prompts[prompt].tokens.size());
    return std::min(sampling.max_completion_tokens, engine.model_->config().max_positions - P);
  }
  // The prompt's pages that its completions share: its whole ones. The MTP module's row at its last position is each completion's own.
  int64_t shared_pages(int64_t prompt_tokens) const { return (prompt_tokens - (engine.may_draft() ? 1 : 0)) / ops::page_tokens(); }
  // A completion's own pages at most.
  int64_t own_pages(size_t prompt) const {
    const auto P = static_cast<int64_t>(prompts[prompt].tokens.size());
    return pages_for(P + limit_of(prompt)) - shared_pages(P);
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
    const auto weight = engine.model_->head_weight();
    const int64_t page_bytes = model::KvCache::bytes_per_page(config, engine.may_draft(), weight.scalar_type());
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
      engine.step_.reset();
      engine.cache_.reset();
      engine.cache_ = std::make_unique<model::KvCache>(config, pages, weight.options().requires_grad(false), engine.may_draft());
    }
    if (engine.may_draft()) drafter.emplace(engine.model_, cache(), sampling.rule);
    make_step();
  }

  void make_step() {
    if (!engine.step_ || engine.step_records_routes_ != engine.record_routes) {
      // A pass that waits for the host, as the exchange with dealt experts does, cannot be recorded.
      const bool by_graph = cache().layer(0).for_device && !drafter && !engine.model_->expert_ranks().dealt();
      engine.step_ = by_graph ? make_step_by_graph(engine.model_, cache(), engine.config_.max_batch, engine.record_routes)
                              : make_step_at_once(engine.model_, cache(), engine.record_routes, drafter.has_value());
      engine.step_records_routes_ = engine.record_routes;
    }
    step().begin(sampling.rule, G);
    for (int64_t slot = engine.config_.max_batch; slot-- > 0;) free_slots.push_back(slot);
  }

  // Whether a pass is to be made: where experts are dealt, the ranks that hold them make the same ones.
  bool any(bool mine) const { return engine.model_->expert_ranks().any(mine); }
  void empty_pass() { engine.model_->hidden_cached(torch::zeros({0}, torch::kLong), cache(), std::vector<ops::CacheRun>{}); }

  bool has_work() const { return next_prompt || !all_taken || !open.empty() || !active.empty(); }

  model::RoutingPtr new_routing() const { return engine.record_routes ? std::make_shared<model::Routing>() : nullptr; }

  // The experts of `count` rows from `first` on, behind what is there.
  static void append_routes(const torch::Tensor& routes_NLK, int64_t first, int64_t count, std::vector<int16_t>& out) {
    if (!routes_NLK.defined()) return;
    const int64_t each = routes_NLK.size(1) * routes_NLK.size(2);
    const auto* from = routes_NLK.data_ptr<int64_t>() + first * each;
    for (int64_t i = 0; i < count * each; ++i) out.push_back(static_cast<int16_t>(from[i]));
  }

  // Whether there is a next_prompt.
  bool take_prompt() {
    if (next_prompt) return true;
    if (all_taken) return false;
    if (supply.next) next_prompt = supply.next();
    else if (in_order < prompts.size()) next_prompt = in_order++;
    all_taken = !next_prompt;
    return !all_taken;
  }
  int64_t max_sequences() const {
    return supply.max_sequences > 0 ? std::min(supply.max_sequences, engine.config_.max_batch) : engine.config_.max_batch;
  }

  // Opens as many prompts as fit and computes them together.
  void prefill() {
    std::vector<size_t> fresh;
    int64_t tokens = 0;
    int64_t started = static_cast<int64_t>(active.size());
    for (const auto& g : open) started += G - g.next_sample;
    while (started < max_sequences() && take_prompt()) {
      const auto P = static_cast<int64_t>(prompts[*next_prompt].tokens.size());
      const int64_t needed = prompt_pages(*next_prompt) + own_pages(*next_prompt);
      if (reserved + needed > cache().num_pages() || (!fresh.empty() && tokens + P > engine.config_.prefill_tokens)) break;
      reserved += prompt_pages(*next_prompt);
      fresh.push_back(*next_prompt);
      next_prompt.reset();
      tokens += P;
      started += G;
    }
    if (!any(!fresh.empty())) return;
    if (fresh.empty()) return empty_pass();
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
    const auto tokens_N = token_tensor(ids);
    const auto hidden = engine.model_->hidden_cached(tokens_N, cache(), runs, routing);
    const auto routes_NLK = routes_of(routing);
    for (size_t i = 0; i < groups.size(); ++i) {
      append_routes(routes_NLK, runs[i].first_row, runs[i].num_rows, results[groups[i].index].prompt_routes);
    }
    const auto logits = engine.model_->logits(hidden.index_select(0, ops::to_device(token_tensor(last_rows), hidden.device())));
    engine.stats_.prompt_tokens += static_cast<int64_t>(ids.size());
    for (const auto& run : runs) {
      engine.stats_.computed.attended += model::counts_of(1, 0, static_cast<double>(run.num_rows)).attended;
    }
    engine.stats_.computed += {static_cast<double>(ids.size()), static_cast<double>(groups.size()), 0};
    torch::Tensor normed;
    if (drafter) {
      normed = engine.model_->final_norm(hidden);
      engine.stats_.computed += drafter->add_prompts(tokens_N, normed, runs);
    }
    for (size_t i = 0; i < groups.size(); ++i) {
      groups[i].first_logits_V = logits[static_cast<int64_t>(i)];
      if (drafter) groups[i].last_hidden_1C = normed.narrow(0, last_rows[i], 1).clone();
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
        Sequence s{g.index, g.next_sample++, {}, P, g.tokens_limit, own, StopTexts(sampling.stop), next_id++, free_slots.back()};
        free_slots.pop_back();
        const int64_t shared = shared_pages(P);
        for (int64_t i = 0; i < shared; ++i) {
          cache().share(g.pages[static_cast<size_t>(i)]);
          s.pages.push_back(g.pages[static_cast<size_t>(i)]);
        }
        if (P > shared * ops::page_tokens()) s.pages.push_back(cache().copy(g.pages.back()));
        if (drafter) s.draft = {P - 1, {g.last_hidden_1C}};
        fresh.push_back(std::move(s));
        any = true;
        row_of.push_back(static_cast<int64_t>(logits.size()));
      }
      if (any) logits.push_back(g.first_logits_V);
    }
    if (fresh.empty()) return;
    std::vector<DecodeRow> rows;
    under_way.emplace_back();
    for (auto& s : fresh) {
      rows.push_back(row_for(s));
      s.requested = 1;
      under_way.back().push_back(s.id);
    }
    step().first(torch::stack(logits), row_of, rows);
    for (auto& s : fresh) active.push_back(std::move(s));
    for (auto& g : open) {
      if (g.next_sample < G) continue;
      for (const int32_t page : g.pages) cache().release(page);
    }
    retire_groups();
    settle(step().steps_ahead());
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

  Completion& completion_of(const Sequence& s) { return results[s.group].completions[static_cast<size_t>(s.sample)]; }

  // Of the draw of a completion's token at `position`.
  DrawKey draw_key(const Sequence& s, int64_t position) const {
    return {.seed = origin.seed,
            .stream = Stream::kSampling,
            .stage = origin.stage,
            .step = origin.step,
            .prompt = prompts[s.group].index,
            .sample = static_cast<uint32_t>(s.sample),
            .position = static_cast<uint32_t>(position)};
  }

  // A sequence's next step; its token is left out where the host does not know it.
  DecodeRow row_for(const Sequence& s) const {
    const auto& known = results[s.group].completions[static_cast<size_t>(s.sample)].tokens;
    DecodeRow row;
    row.slot = s.slot;
    if (s.requested > 0 && static_cast<int64_t>(known.size()) == s.requested) row.token = known.back();
    row.position = s.length;
    row.pages = &s.pages;
    row.group = s.group;
    row.prefix_tokens = shared_pages(static_cast<int64_t>(prompts[s.group].tokens.size())) * ops::page_tokens();
    row.draw = draw_key(s, s.requested);
    row.draft = s.draft.token;
    return row;
  }

  // Takes over what the oldest steps gave until no more than `ahead` are under way. Returns how many tokens that were.
  int64_t settle(size_t ahead) {
    int64_t tokens = 0;
    while (under_way.size() > ahead) {
      const auto result = step().collect();
      const auto ids = std::move(under_way.front());
      under_way.pop_front();
      const auto normed = result.hidden_NC.defined() ? engine.model_->final_norm(result.hidden_NC) : torch::Tensor();
      auto s = active.begin();
      for (size_t i = 0; i < ids.size(); ++i) {
        while (s != active.end() && s->id < ids[i]) ++s;
        if (s != active.end() && s->id == ids[i]) tokens += take_over(*s, result, result.first[i], normed);
      }
      retire();
    }
    return tokens;
  }

  // A row's token. With a draft the row behind it was computed for the draft: when the token drawn is the draft, that row gives the
  // token after it.
  int64_t take_over(Sequence& s, const StepResult& result, int64_t row, const torch::Tensor& normed) {
    auto& completion = completion_of(s);
    const auto append = [&](int64_t from) {
      completion.tokens.push_back(result.drawn.tokens[static_cast<size_t>(from)]);
      completion.rollout_logprobs.push_back(result.drawn.logprobs[static_cast<size_t>(from)]);
      s.ended = has_ended(s);
    };
    const int32_t draft = s.draft.token;
    append(row);
    const bool accepted = draft >= 0 && completion.tokens.back() == draft;
    const bool gains = accepted && !s.ended;
    if (gains) append(row + 1);
    engine.stats_.speculation.drafted += draft >= 0 ? 1 : 0;
    engine.stats_.speculation.accepted += accepted ? 1 : 0;
    engine.stats_.speculation.gained += gains ? 1 : 0;
    s.draft.token = -1;
    const int64_t gained = gains ? 2 : 1;
    append_routes(result.routes_NLK, row, gained, completion.routes);
    for (int64_t k = 0; normed.defined() && k < gained; ++k) s.draft.waiting.push_back(normed.narrow(0, row + k, 1));
    s.length += gained - 1;
    s.requested += gained - 1;
    engine.stats_.generated_tokens += gained;
    return gained;
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
      free_slots.push_back(s.slot);
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

  // Rows that the module would have seen by now, had every pass drafted.
  int64_t late_rows() const {
    int64_t rows = 0;
    for (const auto& s : active) rows += std::max<int64_t>(0, static_cast<int64_t>(s.draft.waiting.size()) - 2);
    return rows;
  }

  // Drafts a token for every sequence that needs more than one.
  void propose() {
    std::vector<Drafter::Request> requests;
    for (auto& s : active) {
      const auto& tokens = completion_of(s).tokens;
      if (static_cast<int64_t>(tokens.size()) + 1 >= s.limit) continue;
      requests.push_back({&s.draft, &tokens, &s.pages, draw_uniform(draw_key(s, s.requested))});
    }
    engine.stats_.computed += drafter->propose(requests);
  }

  void decode() {
    if (active.empty()) {
      if (any(false)) empty_pass();
      return;
    }
    const double start_s = monotonic_s();
    const auto sequences = static_cast<int64_t>(active.size());
    const int64_t late = late_rows();
    const bool drafting = drafter && (engine.decide_drafting ? engine.decide_drafting(sequences) : engine.policy_.choose(sequences, late));
    if (drafting) propose();
    std::vector<DecodeRow> rows;
    std::vector<int64_t> ids;
    for (auto& s : active) {
      if (s.requested >= s.limit) continue;  // its last token is under way
      const int64_t tokens = s.draft.token < 0 ? 1 : 2;
      while (pages_for(s.length + tokens) > static_cast<int64_t>(s.pages.size())) s.pages.push_back(cache().take());
      rows.push_back(row_for(s));
      ids.push_back(s.id);
      engine.stats_.computed += model::counts_of(1, static_cast<double>(s.length), static_cast<double>(tokens));
      ++s.length;
      ++s.requested;
    }
    const bool others_decode = any(!rows.empty());
    if (rows.empty()) {
      if (others_decode) empty_pass();
      settle(0);
      return;
    }
    step().next(rows);
    under_way.push_back(std::move(ids));
    ++engine.stats_.decode_steps;
    const int64_t tokens = settle(step().steps_ahead());
    if (drafter) engine.policy_.record(sequences, drafting, late, tokens, monotonic_s() - start_s, engine.stats_.speculation);
  }
};

Engine::Engine(model::Transformer model, Tokenizer tokenizer, EngineConfig config)
    : model_(std::move(model)), tokenizer_(std::move(tokenizer)), config_(config), policy_(config.speculation) {}
Engine::~Engine() = default;

// On a device a step is a graph one ahead of the host, which drafts would hold up: only where they are asked for.
bool Engine::may_draft() const {
  if (!model_->config().has_mtp() || config_.speculation == Speculation::kOff) return false;
  if (model_->expert_ranks().dealt()) return false;  // ranks would have to agree on when to draft
  return config_.speculation == Speculation::kAlways || !ops::on_device(model_->head_weight());
}

std::vector<RolloutGroup> Engine::sample(const std::vector<Prompt>& prompts, int64_t G, const SamplingConfig& sampling,
                                         const DrawOrigin& origin, const std::function<void(int64_t, int64_t)>& progress,
                                         const OnCompletion& on_completion, const PromptSupply& supply) {
  const torch::NoGradGuard no_grad;
  Run run{*this, prompts, G, sampling, origin, on_completion, supply};
  run.check_prompts();
  if (prompts.empty()) return {};
  run.make_cache();
  for (const auto& prompt : prompts) {
    run.results.push_back({prompt, std::vector<Completion>(static_cast<size_t>(G)), {}});
  }
  const int64_t total = static_cast<int64_t>(prompts.size()) * G;
  while (run.any(run.has_work())) {
    run.prefill();
    run.start();
    run.decode();
    if (progress) progress(run.finished, total);
  }
  run.settle(0);
  return std::move(run.results);
}

}  // namespace r1::rollout
