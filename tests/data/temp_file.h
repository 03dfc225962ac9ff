#pragma once
#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace r1 {

/// A file with the given content in the test's own temporary folder.
inline std::filesystem::path temp_file(const std::string& name, const std::string& content) {
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const auto folder =
      std::filesystem::path(::testing::TempDir()) / "r1_data" / test->test_suite_name() / test->name();
  std::filesystem::create_directories(folder);
  std::ofstream(folder / name, std::ios::binary) << content;
  return folder / name;
}

/// The message of the Error that `call` throws; "" with a failure when it throws none.
template <typename Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

}  // namespace r1

#define EXPECT_HAS(text, part) \
  EXPECT_NE((text).find(part), std::string::npos) << (text) << "\nlacks " << (part)
