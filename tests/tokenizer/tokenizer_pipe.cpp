// tokenizer_pipe <tokenizer> [<pretokenizer> [special ...]] < texts.bin > ids.bin
// tokenizer_pipe [--passes n] [--save <folder>] <tokenizer> [...]
//
// texts.bin: per text a little-endian uint32 length and that many bytes; ids.bin: per text a uint32 count and
// that many int32 ids. Encoding seconds (reading and writing excluded) go to standard error as JSON. With
// --save, the tokenizer is written to <folder>, read back from there, and that one is used.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "r1/tokenizer/tokenizer.h"
#include "r1/util/error.h"

namespace {

r1::Tokenizer open(const std::vector<std::string>& args) {
  if (args.size() < 2) return r1::Tokenizer::load(args.at(0));
  return r1::Tokenizer::tiktoken(args[0], args[1], {args.begin() + 2, args.end()});
}

uint32_t read_u32(const std::string& in, size_t at) {
  uint32_t n = 0;
  for (int i = 3; i >= 0; --i) n = n << 8 | static_cast<unsigned char>(in.at(at + static_cast<size_t>(i)));
  return n;
}

int run(std::vector<std::string> args) {
  using clock = std::chrono::steady_clock;
  std::string folder;
  int passes = 3;
  while (args.size() > 2 && args[0].starts_with("--")) {
    if (args[0] == "--save")
      folder = args[1];
    else
      passes = std::stoi(args[1]);
    args.erase(args.begin(), args.begin() + 2);
  }
  const auto start = clock::now();
  r1::Tokenizer tokenizer = open(args);
  if (!folder.empty()) {
    const std::string hash = tokenizer.hash();
    tokenizer.save(folder);
    tokenizer = r1::Tokenizer::load(folder);
    if (tokenizer.hash() != hash) throw r1::Error(folder + ": the tokenizer read back has another hash");
  }
  const auto loaded = clock::now();
  const std::string in{std::istreambuf_iterator<char>(std::cin), {}};
  std::vector<std::string> texts;
  size_t bytes = 0;
  for (size_t at = 0; at < in.size(); at += texts.back().size()) {
    const uint32_t length = read_u32(in, at);
    texts.push_back(in.substr(at += 4, length));
    bytes += length;
  }
  std::vector<std::vector<int32_t>> ids;
  ids.reserve(texts.size());
  double best = 1e9;
  for (int pass = 0; pass < passes; ++pass) {
    ids.clear();
    const auto t0 = std::clock();
    for (const auto& text : texts) ids.push_back(tokenizer.encode(text));
    best = std::min(best, static_cast<double>(std::clock() - t0) / CLOCKS_PER_SEC);
  }
  for (const auto& row : ids) {
    const auto n = static_cast<uint32_t>(row.size());
    std::fwrite(&n, sizeof n, 1, stdout);
    std::fwrite(row.data(), sizeof(int32_t), row.size(), stdout);
  }
  size_t round_trips = 0;
  for (size_t i = 0; i < texts.size(); ++i) round_trips += tokenizer.decode(ids[i]) == texts[i];
  std::fprintf(
      stderr,
      "{\"load_s\": %.3f, \"encode_s\": %.6f, \"bytes\": %zu, \"texts\": %zu, \"round_trips\": %zu}\n",
      std::chrono::duration<double>(loaded - start).count(), best, bytes, texts.size(), round_trips);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
