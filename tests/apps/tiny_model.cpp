#include "tiny_model.h"

#include <nlohmann/json.hpp>

namespace r1::apps::testing_support {

namespace fs = std::filesystem;

fs::path golden_model(const std::string& name) {
  return fs::path(R1_SOURCE_DIR) / "tests/golden/model" / name;
}

std::string characters_json(const std::string& extra) {
  return nlohmann::json{
      {"type", "characters"}, {"characters", kCharacters + extra}, {"special", {"<bos>", "<eos>", "<pad>"}}}
      .dump();
}

fs::path model_with_tokenizer(const r1::testing_support::TempFolder& folder, const std::string& name,
                              const std::string& golden) {
  const fs::path path = folder / name;
  fs::create_directories(path);
  for (const auto& entry : fs::directory_iterator(golden_model(golden))) {
    if (entry.path().filename() == "expected.safetensors") continue;
    fs::copy_file(entry.path(), path / entry.path().filename());
  }
  folder.write(name + "/characters.json", characters_json());
  return path;
}

}  // namespace r1::apps::testing_support
