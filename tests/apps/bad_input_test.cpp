// What a user can get wrong: one message that says where, what was found and what is accepted, and the exit
// code.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "process.h"
#include "r1/model/weights.h"
#include "tiny_model.h"

namespace r1::apps {
namespace {

namespace fs = std::filesystem;
using r1::testing_support::slurp;
using r1::testing_support::TempFolder;
using testing_support::characters_json;
using testing_support::model_with_tokenizer;
using testing_support::run_r1;

struct BadInput {
  const char* name;
  std::vector<std::string> arguments;  ///< "@x" is the path of x in the folder of files
  std::string input;
  int exit_code;
  std::vector<std::string> says;  ///< parts of the message
  std::string answered = "";      ///< what came out before
  std::string stdout_path = "";
};

// Broken and whole files, made once.
class Files {
 public:
  Files() {
    const fs::path model = model_with_tokenizer(folder_, "model");
    folder_.write("text.txt", "no model\n");
    folder_.write("rows.jsonl", "{\"text\": \"x\"}\n");
    folder_.write("numbers.jsonl", "{\"n\": 1}\n");
    folder_.write("problems.jsonl", "{\"question\": \"1 + 1\", \"answer\": 2}\n");
    folder_.write("half.jsonl", "{\"question\": \"1 + 1\", \"answer\": 2}\n{\"question\": ");
    folder_.write("empty/readme", "");
    folder_.write("notes/diary.txt", "dear diary");
    folder_.write("characters.json", characters_json());
    folder_.write("many/characters.json", characters_json("!#$%&"));
    folder_.write("half.json", "{\"type\": \"characters\", \"chara");
    folder_.write("ranks.tiktoken", "YQ== 0\n");
    model_with_tokenizer(folder_, "bare");
    fs::remove(folder_ / "bare/characters.json");
    cut(model_with_tokenizer(folder_, "cut") / "model.safetensors", 0.5);
    const fs::path wider = model_with_tokenizer(folder_, "wider");
    auto config = nlohmann::json::parse(slurp(wider / "config.json"));
    config["intermediate_size"] = 32;
    folder_.write("wider/config.json", config.dump());
    model_with_tokenizer(folder_, "half_config");
    folder_.write("half_config/config.json", config.dump().substr(0, 60));
    const std::string claims = slurp(model / "model.safetensors");
    model_with_tokenizer(folder_, "claims");
    folder_.write("claims/model.safetensors",
                  std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00", 8) + claims.substr(8));
    write_nan_model(model);
    EXPECT_EQ(run_r1({"export", model, folder_ / "good.gguf"}).exit_code, 0);
    fs::copy_file(folder_ / "good.gguf", folder_ / "cut.gguf");
    cut(folder_ / "cut.gguf", 0.7);
    folder_.write("noise.gguf", "GGUF\x03" + std::string(200, '\xAB'));
  }

  std::string expand(const std::string& argument) const {
    return argument.starts_with('@') ? (folder_ / argument.substr(1)).string() : argument;
  }

 private:
  static void cut(const fs::path& file, double share) {
    fs::resize_file(file, static_cast<uintmax_t>(static_cast<double>(fs::file_size(file)) * share));
  }

  void write_nan_model(const fs::path& model) {
    const auto source = model::open_weights(model);
    model::NamedTensors tensors;
    for (const auto& spec : model::expected_parameters(source->config()))
      tensors.emplace_back(spec.name, source->load(spec.name));
    tensors.back().second.fill_(std::numeric_limits<float>::quiet_NaN());
    model::write_hf_directory(folder_ / "nan", source->config(), tensors, model::HfDtype::kF32);
  }

  TempFolder folder_;
};

std::string ids_line(int count) {
  return nlohmann::json{{"ids", std::vector<int>(static_cast<size_t>(count), 4)}}.dump() + "\n";
}

const std::vector<BadInput>& table() {
  static const std::vector<BadInput> rows = {
      // the command line
      {"no command", {}, "", 2, {"no command was given", "Usage: r1"}},
      {"unknown command",
       {"tokenise"},
       "",
       2,
       {"unknown command 'tokenise'", "did you mean tokenize?", "usage: r1"}},
      {"unknown option",
       {"logprobs", "--modle", "x"},
       "",
       2,
       {"r1 logprobs: unknown option --modle", "did you mean --model?"}},
      {"unknown option with a value",
       {"doctor", "--thread=2"},
       "",
       2,
       {"unknown option --thread;", "--threads?"}},
      {"unknown option near nothing",
       {"doctor", "--qqqqqqqq"},
       "",
       2,
       {"unknown option --qqqqqqqq; accepted: --help"}},
      {"wrong value",
       {"logprobs", "--model", "x", "--dtype", "float16"},
       "",
       2,
       {"--dtype", "float16; accepted: float32, float64"}},
      {"value out of range",
       {"generate", "--model", "x", "--top-p", "1.5"},
       "",
       2,
       {"--top-p", "is 1.5; accepted: 1e-06 to 1"}},
      {"negative value",
       {"generate", "--model", "x", "--temperature", "-1"},
       "",
       2,
       {"--temperature", "is -1; accepted: 0 to 100"}},
      {"no number", {"generate", "--model", "x", "--n", "abc"}, "", 2, {"--n", "abc"}},
      {"option without a value", {"logprobs", "--model"}, "", 2, {"--model"}},
      {"missing option", {"logprobs"}, "", 2, {"--model is required", "usage: r1 logprobs"}},
      {"missing argument", {"import", "@model"}, "", 2, {"DST is required"}},
      {"one argument too many", {"import", "@model", "x", "y"}, "", 2, {"one argument too many: 'y'"}},
      {"--system without --chat",
       {"generate", "--model", "x", "--system", "y"},
       "",
       2,
       {"--system requires --chat"}},
      {"empty stop text",
       {"generate", "--model", "x", "--stop", ""},
       "",
       2,
       {"--stop", "is empty; accepted: a text"}},
      {"no such way to split",
       {"tokenize", "--tokenizer", "x", "--pretokenizer", "gpt3"},
       "",
       2,
       {"is gpt3; accepted: gpt2"}},
      // files
      {"missing model",
       {"logprobs", "--model", "@nothing"},
       "",
       1,
       {"/nothing", "no such file or folder; accepted: a HF folder"}},
      {"file of another kind",
       {"logprobs", "--model", "@text.txt"},
       "",
       1,
       {"text.txt", "accepted: a HF folder"}},
      {"folder without a model", {"import", "@empty", "@new"}, "", 1, {"/empty", "config.json"}},
      {"truncated GGUF", {"logprobs", "--model", "@cut.gguf"}, "", 1, {"cut.gguf", "tensor"}},
      {"GGUF of noise", {"import", "@noise.gguf", "@new"}, "", 1, {"noise.gguf"}},
      {"truncated safetensors", {"logprobs", "--model", "@cut"}, "", 1, {"cut/model.safetensors"}},
      {"header that claims more than the file",
       {"logprobs", "--model", "@claims"},
       "",
       1,
       {"claims/model.safetensors", "header"}},
      {"config of another model",
       {"logprobs", "--model", "@wider"},
       "",
       1,
       {"wider", "model.layers.0.mlp.", "has shape [", "expects [", "another model than the config"}},
      {"half a config", {"logprobs", "--model", "@half_config"}, "", 1, {"half_config/config.json"}},
      {"weights that are NaN",
       {"logprobs", "--model", "@nan"},
       ids_line(3),
       1,
       {"stdin:1: ", "accepted: finite numbers"}},
      {"missing tokenizer",
       {"tokenize", "--tokenizer", "@nothing"},
       "",
       1,
       {"nothing does not exist", "accepted: a folder with tokenizer.json"}},
      {"folder without a tokenizer",
       {"generate", "--model", "@bare", "--prompt", "1"},
       "",
       1,
       {"bare holds neither tokenizer.json nor characters.json"}},
      {"half a tokenizer",
       {"tokenize", "--tokenizer", "@half.json"},
       "",
       1,
       {"half.json is not a JSON object"}},
      {"tiktoken ranks alone",
       {"tokenize", "--tokenizer", "@ranks.tiktoken"},
       "",
       1,
       {"ranks.tiktoken", "name the pre-tokenizer"}},
      // JSON lines
      {"empty stdin",
       {"tokenize", "--tokenizer", "@model"},
       "",
       1,
       {"stdin: no line; accepted: one JSON object per line"}},
      {"half a line",
       {"tokenize", "--tokenizer", "@model"},
       "{\"text\":\"1\"}\n{\"text\": \"2",
       1,
       {"stdin:2: not JSON", "column"},
       "{\"ids\":[4]}\n"},
      {"no object",
       {"logprobs", "--model", "@model"},
       "[1, 2]\n",
       1,
       {"stdin:1: a JSON array; accepted: an object"}},
      {"line that is no UTF-8",
       {"tokenize", "--tokenizer", "@model"},
       "{\"text\":\"\xFF\"}\n",
       1,
       {"stdin:1: not JSON", "UTF-8"}},
      {"unknown member",
       {"tokenize", "--tokenizer", "@model"},
       "{\"txt\":\"1\"}\n",
       1,
       {"stdin:1: unknown member \"txt\"", "Did you mean \"text\"?"}},
      {"text and bytes at once",
       {"tokenize", "--tokenizer", "@model"},
       "{\"text\":\"1\",\"text_base64\":\"MQ==\"}\n",
       1,
       {"stdin:1: ", "one of the two"}},
      {"no base64",
       {"tokenize", "--tokenizer", "@model"},
       "{\"text_base64\":\"MQ\"}\n",
       1,
       {"stdin:1: \"text_base64\" is not base64"}},
      {"text that is a number",
       {"tokenize", "--tokenizer", "@model"},
       "{\"text\":1}\n",
       1,
       {"stdin:1: the text is a JSON number"}},
      {"character without a token",
       {"tokenize", "--tokenizer", "@model"},
       "\n{\"text\":\"1!\"}\n",
       1,
       {"stdin:2: character '!' at byte 1"}},
      {"ids that are missing", {"logprobs", "--model", "@model"}, "{}\n", 1, {"stdin:1: \"ids\" is missing"}},
      {"id above the vocabulary",
       {"logprobs", "--model", "@model"},
       ids_line(2) + "{\"ids\":[1,48]}\n",
       1,
       {"stdin:2: ids[1] is 48; accepted: an integer from 0 to 47"},
       "*"},
      {"negative id",
       {"detokenize", "--tokenizer", "@model"},
       "{\"ids\":[-1]}\n",
       1,
       {"stdin:1: ids[0] is -1; accepted: an integer from 0 to 47"}},
      {"id that is no integer",
       {"detokenize", "--tokenizer", "@model"},
       "{\"ids\":[3, 1.5]}\n",
       1,
       {"stdin:1: ids[1] is 1.5"}},
      {"huge id",
       {"logprobs", "--model", "@model"},
       "{\"ids\":[1e30, 18446744073709551615]}\n",
       1,
       {"stdin:1: ids[0] is 1e+30"}},
      {"no ids", {"logprobs", "--model", "@model"}, "{\"ids\":[]}\n", 1, {"stdin:1: \"ids\" is empty"}},
      {"sequence longer than the context",
       {"logprobs", "--model", "@model"},
       ids_line(65),
       1,
       {"stdin:1: \"ids\" has 65 tokens; accepted: 1 to 64"}},
      // generate
      {"no prompt",
       {"generate", "--model", "@model"},
       "\n",
       1,
       {"stdin: no prompt; accepted: one prompt per line, or --prompt"}},
      {"prompt longer than the context",
       {"generate", "--model", "@model", "--prompt", std::string(70, '1')},
       "",
       1,
       {"71 tokens; the model's context is 64"}},
      {"empty prompt",
       {"generate", "--model", "@model", "--tokenizer", "@good.gguf", "--prompt", ""},
       "",
       1,
       {"has no token"}},
      {"chat without a template",
       {"generate", "--model", "@model", "--chat", "--prompt", "1"},
       "",
       1,
       {"has no chat template", "accepted: ChatML"}},
      {"tokenizer of another model",
       {"generate", "--model", "@model", "--tokenizer", "@many", "--prompt", "1"},
       "",
       1,
       {"many has 53 tokens", "a vocabulary of 48"}},
      // import and export
      {"destination that exists",
       {"import", "@model", "@cut"},
       "",
       1,
       {"cut exists; name another destination, or replace it with --force"}},
      {"force over no model",
       {"import", "--force", "@model", "@notes"},
       "",
       1,
       {"notes is neither a model folder", "--force does not replace it"}},
      {"destination in the source", {"import", "@model", "@model/copy"}, "", 1, {"overlap"}},
      {"destination around the source", {"export", "--force", "@good.gguf", "@."}, "", 1, {"overlap"}},
      {"vocabulary larger than the model's",
       {"export", "@model", "@new.gguf", "--tokenizer", "@many"},
       "",
       1,
       {"many has 53 tokens", "a vocabulary of 48"}},
      {"GGUF without a tokenizer",
       {"export", "@bare", "@new.gguf"},
       "",
       1,
       {"bare holds no tokenizer", "--tokenizer"}},
      {"q8_0 in a folder",
       {"export", "@model", "@new", "--type", "q8_0"},
       "",
       1,
       {"--type is q8_0", "accepted there: f32, f16, bf16"}},
      {"bf16 in GGUF",
       {"export", "@model", "@new.gguf", "--type", "bf16"},
       "",
       1,
       {"--type is bf16", "accepted there: f32, f16, q8_0"}},
      {"folder that cannot be written", {"import", "@model", "/proc/new_model"}, "", 1, {"/proc/"}},
      {"file that cannot be written",
       {"export", "@model", "/proc/new_model.gguf"},
       "",
       1,
       {"/proc/new_model.gguf"}},
      // eval
      {"eval of nothing", {"eval", "--model", "@model"}, "", 1, {"give a config", "or --data FILE"}},
      {"eval of two things", {"eval", "x.yaml", "--data", "y.jsonl", "--model", "@model"}, "", 1, {"one of the two"}},
      {"eval without the file", {"eval", "--data", "@nothing.jsonl", "--model", "@model"}, "", 1, {"nothing.jsonl"}},
      {"eval of rows that are no problems",
       {"eval", "--data", "@rows.jsonl", "--model", "@model"},
       "",
       1,
       {"rows.jsonl:1: has no field \"question\"; it has text"}},
      {"eval of half a file", {"eval", "--data", "@half.jsonl", "--model", "@model"}, "", 1, {"half.jsonl:2: no JSON"}},
      {"eval template without its place",
       {"eval", "--data", "@problems.jsonl", "--model", "@model", "--prompt", "Q:"},
       "",
       1,
       {"--prompt holds no {prompt}"}},
      {"greedy samples",
       {"eval", "--data", "@problems.jsonl", "--model", "@model", "--prompt", "{prompt}", "--samples", "4"},
       "",
       1,
       {"4 samples at temperature 0 would all be the same text"}},
      {"eval over a file",
       {"eval", "--data", "@problems.jsonl", "--model", "@model", "--out", "@text.txt"},
       "",
       1,
       {"text.txt exists; name another file for --out"}},
      {"eval settings of a config", {"eval", "x.yaml", "--chat", "--model", "@model"}, "", 1, {"go with --data"}},
      {"negative samples", {"eval", "--model", "x", "--samples", "-1"}, "", 2, {"--samples", "is -1; accepted: 0 to 1e+06"}},
      // check-data
      {"nothing to check", {"check-data", "@problems.jsonl"}, "", 1, {"name at least one of --against FILE"}},
      {"no data file", {"check-data", "--deduplicate"}, "", 2, {"files is required"}},
      {"missing data", {"check-data", "@nothing.jsonl", "--deduplicate"}, "", 1, {"nothing.jsonl: no such file"}},
      {"data of another kind", {"check-data", "@text.txt", "--deduplicate"}, "", 1, {"text.txt: is neither .jsonl"}},
      {"data cut off", {"check-data", "@half.jsonl", "--deduplicate"}, "", 1, {"half.jsonl:2: no JSON"}},
      {"evaluation file cut off", {"check-data", "@problems.jsonl", "--against", "@half.jsonl"}, "", 1, {"half.jsonl:2: no JSON"}},
      {"rows without texts", {"check-data", "@numbers.jsonl", "--deduplicate"}, "", 1, {"numbers.jsonl:1: has no field with a text", "n"}},
      {"fields that are not there",
       {"check-data", "@problems.jsonl", "--deduplicate", "--fields", "qestion"},
       "",
       1,
       {"problems.jsonl:1: has no field with a text", "question"}},
      {"output that exists",
       {"check-data", "@problems.jsonl", "--deduplicate", "--out", "@problems.jsonl"},
       "",
       1,
       {"problems.jsonl exists; name another file for --out"}},
      {"own names without the filter", {"check-data", "@problems.jsonl", "--own", "R1", "--deduplicate"}, "", 1, {"add --identity"}},
      {"n-grams of two words", {"check-data", "x.jsonl", "--ngram", "2"}, "", 2, {"--ngram", "is 2; accepted: 4 to 100"}},
      {"output that cannot be written", {"check-data", "@problems.jsonl", "--deduplicate", "--out", "/proc/new.jsonl"}, "", 1, {"/proc/new.jsonl"}},
      // standard output
      {"full disk behind a pipe",
       {"tokenize", "--tokenizer", "@model"},
       "{\"text\":\"1\"}\n",
       1,
       {"standard output", "No space left on device"},
       "",
       "/dev/full"},
      {"full disk for help",
       {"--help"},
       "",
       1,
       {"standard output", "No space left on device"},
       "",
       "/dev/full"},
      {"full disk for a text",
       {"generate", "--model", "@model", "--prompt", "1", "--max-tokens", "2"},
       "",
       1,
       {"standard output", "No space left on device"},
       "",
       "/dev/full"},
  };
  return rows;
}

TEST(BadInput, EachEndsWithOneMessageAndItsExitCode) {
  const Files files;
  for (const auto& row : table()) {
    SCOPED_TRACE(row.name);
    std::vector<std::string> arguments;
    for (const auto& argument : row.arguments) arguments.push_back(files.expand(argument));
    const auto r = run_r1(arguments, row.input, row.stdout_path);
    EXPECT_EQ(r.exit_code, row.exit_code) << r.err;
    for (const auto& part : row.says) EXPECT_HOLDS(r.err, part);
    if (row.answered == "*") {
      EXPECT_NE(r.out, "");
    } else {
      EXPECT_EQ(r.out, row.answered);
    }
    EXPECT_EQ(r.err.find("unexpected error"), std::string::npos) << r.err;
    EXPECT_EQ(r.err.find("Exception raised"), std::string::npos) << r.err;
    for (const char* made : {"@new", "@new.gguf"}) EXPECT_FALSE(fs::exists(files.expand(made)));
  }
  EXPECT_EQ(slurp(files.expand("@notes/diary.txt")), "dear diary");
}

}  // namespace
}  // namespace r1::apps
