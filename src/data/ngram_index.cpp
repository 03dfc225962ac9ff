#include "r1/data/ngram_index.h"

#include <deque>
#include <vector>

#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "words.h"

namespace r1 {
namespace {

constexpr int64_t kShortest = 3;                   // words of a question that is matched as a whole
constexpr uint64_t kBase = 0xD6E8FEB86659FD93ULL;  // odd: multiplication is invertible mod 2^64
constexpr uint32_t kEmpty = 0xFFFFFFFF;

struct Word {
  uint64_t hash;
  size_t begin, end;
};

/// Hash of the last n words: sum_i hash_i * base^(n-1-i) mod 2^64, kept up to date in two multiplications.
class RollingHash {
 public:
  explicit RollingHash(int64_t n) : ring_(static_cast<size_t>(n)) {
    for (int64_t i = 1; i < n; ++i) leaving_factor_ *= kBase;
  }
  void push(const Word& word) {
    Word& oldest = ring_[next_];
    if (count_ >= ring_.size()) sum_ -= oldest.hash * leaving_factor_;
    sum_ = sum_ * kBase + word.hash;
    oldest = word;
    next_ = next_ + 1 == ring_.size() ? 0 : next_ + 1;
    ++count_;
  }
  bool full() const { return count_ >= ring_.size(); }
  uint64_t value() const { return words_detail::mix(sum_); }
  size_t first_byte() const { return ring_[next_].begin; }  ///< of the oldest word, once full
  size_t count() const { return count_; }                   ///< words so far

 private:
  std::vector<Word> ring_;
  size_t next_ = 0, count_ = 0;
  uint64_t sum_ = 0, leaving_factor_ = 1;
};

/// Open addressing from a 64-bit hash to a number; a bit map of a sixteenth of the load in front of it
/// answers most look-ups that find nothing from the cache.
class HashTable {
 public:
  HashTable() { resize(1 << 10); }
  /// False when the hash is there already.
  bool insert(uint64_t hash, uint32_t value) {
    if (2 * (size_ + 1) > slots_.size()) resize(2 * slots_.size());
    size_t at = hash & mask_;
    while (slots_[at].value != kEmpty) {
      if (slots_[at].hash == hash) return false;
      at = (at + 1) & mask_;
    }
    slots_[at] = {hash, value};
    mark(hash);
    ++size_;
    return true;
  }
  uint32_t find(uint64_t hash) const {
    const uint64_t bit = (hash >> 32) & bit_mask_;
    if ((bits_[bit >> 6] >> (bit & 63) & 1) == 0) return kEmpty;
    for (size_t at = hash & mask_; slots_[at].value != kEmpty; at = (at + 1) & mask_) {
      if (slots_[at].hash == hash) return slots_[at].value;
    }
    return kEmpty;
  }
  size_t size() const { return size_; }

 private:
  struct Slot {
    uint64_t hash = 0;
    uint32_t value = kEmpty;
  };
  void mark(uint64_t hash) {
    const uint64_t bit = (hash >> 32) & bit_mask_;
    bits_[bit >> 6] |= uint64_t{1} << (bit & 63);
  }
  void resize(size_t slots) {
    std::vector<Slot> old = std::move(slots_);
    slots_.assign(slots, {});
    mask_ = slots - 1;
    bits_.assign(slots * 8 / 64, 0);
    bit_mask_ = slots * 8 - 1;
    size_ = 0;
    for (const Slot& slot : old) {
      if (slot.value != kEmpty) insert(slot.hash, slot.value);
    }
  }
  std::vector<Slot> slots_;
  std::vector<uint64_t> bits_;
  uint64_t mask_ = 0, bit_mask_ = 0;
  size_t size_ = 0;
};

}  // namespace

struct NgramIndex::Impl {
  // An evaluation text in folded words, "tom has 3 apples", and where each begins in it.
  struct Item {
    EvalText where;
    std::string words;
    std::vector<uint32_t> starts;
    std::string_view range(size_t first, size_t count) const {
      const size_t end = first + count < starts.size() ? starts[first + count] - 1 : words.size();
      return std::string_view(words).substr(starts[first], end - starts[first]);
    }
  };
  struct Entry {
    uint32_t item, word;
  };
  // Short questions by the hash of their first three words; those that share them form a list.
  struct ShortQuestion {
    uint32_t item, next;
  };

  int64_t n;
  std::deque<Item> items;  // addresses stay
  std::vector<Entry> entries;
  std::vector<ShortQuestion> short_questions;
  HashTable ngrams, beginnings;
  std::vector<uint32_t> chain_heads;
  int64_t texts = 0, skipped = 0;

  /// Whether the words of `text` from byte `begin` on are those of the item from `first` on, `count` of them.
  static bool same_words(std::string_view text, size_t begin, const Item& item, size_t first, size_t count) {
    size_t done = 0;
    bool same = true;
    for_each_word(text.substr(begin), [&](uint64_t, size_t word_begin, size_t word_end) {
      same =
          folded_word(text.substr(begin + word_begin, word_end - word_begin)) == item.range(first + done, 1);
      ++done;
      return same && done < count;
    });
    return same && done == count;
  }
};

NgramIndex::NgramIndex(int64_t n) : impl_(std::make_unique<Impl>()) {
  if (n <= kShortest || n > 100)
    throw Error(cat("n-grams of ", n, " words; accepted: ", kShortest + 1, " to 100. The paper's is 10."));
  impl_->n = n;
}
NgramIndex::~NgramIndex() = default;
NgramIndex::NgramIndex(NgramIndex&&) noexcept = default;
NgramIndex& NgramIndex::operator=(NgramIndex&&) noexcept = default;

void NgramIndex::add(const EvalText& where, std::string_view text, bool is_question) {
  auto& impl = *impl_;
  ++impl.texts;
  Impl::Item item{where, {}, {}};
  RollingHash last_n(impl.n), first_words(kShortest);
  uint64_t beginning = 0;
  const auto number = static_cast<uint32_t>(impl.items.size());
  for_each_word(text, [&](uint64_t hash, size_t begin, size_t end) {
    if (!item.words.empty()) item.words += ' ';
    item.starts.push_back(static_cast<uint32_t>(item.words.size()));
    item.words += folded_word(text.substr(begin, end - begin));
    last_n.push({hash, begin, end});
    first_words.push({hash, begin, end});
    if (first_words.count() == static_cast<size_t>(kShortest)) beginning = first_words.value();
    if (last_n.full()) {
      const auto first = static_cast<uint32_t>(item.starts.size() - static_cast<size_t>(impl.n));
      if (impl.ngrams.insert(last_n.value(), static_cast<uint32_t>(impl.entries.size())))
        impl.entries.push_back({number, first});
    }
    return true;
  });
  const auto num_words = static_cast<int64_t>(item.starts.size());
  if (num_words < impl.n && (!is_question || num_words < kShortest)) {
    ++impl.skipped;
    return;
  }
  if (num_words < impl.n) {
    const uint32_t known = impl.beginnings.find(beginning);
    const auto question = static_cast<uint32_t>(impl.short_questions.size());
    if (known == kEmpty) {
      impl.beginnings.insert(beginning, static_cast<uint32_t>(impl.chain_heads.size()));
      impl.chain_heads.push_back(question);
      impl.short_questions.push_back({number, kEmpty});
    } else {
      impl.short_questions.push_back({number, impl.chain_heads[known]});
      impl.chain_heads[known] = question;
    }
  }
  impl.items.push_back(std::move(item));
}

std::optional<NgramIndex::Match> NgramIndex::find(std::string_view text) const {
  const auto& impl = *impl_;
  std::optional<Match> match;
  RollingHash last_n(impl.n), last_three(kShortest);
  const bool has_short = !impl.short_questions.empty();
  for_each_word(text, [&](uint64_t hash, size_t begin, size_t end) {
    last_n.push({hash, begin, end});
    if (last_n.full()) {
      if (const uint32_t found = impl.ngrams.find(last_n.value()); found != kEmpty) {
        const auto [number, first] = impl.entries[found];
        const auto& item = impl.items[number];
        const auto count = static_cast<size_t>(impl.n);
        if (Impl::same_words(text, last_n.first_byte(), item, first, count)) {
          match = Match{std::string(item.range(first, count)), &item.where};
          return false;
        }
      }
    }
    if (!has_short) return true;
    last_three.push({hash, begin, end});
    if (!last_three.full()) return true;
    const uint32_t head = impl.beginnings.find(last_three.value());
    for (uint32_t q = head == kEmpty ? kEmpty : impl.chain_heads[head]; q != kEmpty;
         q = impl.short_questions[q].next) {
      const auto& item = impl.items[impl.short_questions[q].item];
      if (Impl::same_words(text, last_three.first_byte(), item, 0, item.starts.size())) {
        match = Match{item.words, &item.where};
        return false;
      }
    }
    return true;
  });
  return match;
}

int64_t NgramIndex::num_texts() const { return impl_->texts; }
int64_t NgramIndex::num_ngrams() const { return static_cast<int64_t>(impl_->ngrams.size()); }
int64_t NgramIndex::num_short() const { return static_cast<int64_t>(impl_->short_questions.size()); }
int64_t NgramIndex::num_skipped() const { return impl_->skipped; }

}  // namespace r1
