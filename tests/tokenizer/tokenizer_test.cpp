// Vocabularies small enough to check by hand.
#include "r1/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <functional>

#include "r1/util/error.h"

namespace r1 {
namespace {

using Ids = std::vector<int32_t>;

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Characters, IdsAreSpecialsThenCharactersInOrder) {
  const auto t = Tokenizer::characters("01+é\n", {"<pad>", "<bos>", "<eos>"});
  EXPECT_EQ(t.kind(), "characters");
  EXPECT_EQ(t.vocab_size(), 8);
  EXPECT_EQ(t.encode("1+é\n"), (Ids{4, 5, 6, 7}));
  EXPECT_EQ(t.encode("0<eos>1"), (Ids{3, 2, 4}));
  EXPECT_EQ(t.decode(Ids{1, 4, 6, 2}), "<bos>1é<eos>");
  EXPECT_EQ(t.decode(Ids{1, 4, 6, 2}, {.skip_special = true}), "1é");
  EXPECT_EQ(t.pad_id(), 0);
  EXPECT_EQ(t.bos_id(), 1);
  EXPECT_EQ(t.eos_id(), 2);
  EXPECT_EQ(t.eos_ids(), (Ids{2}));
  EXPECT_TRUE(t.is_special(2));
  EXPECT_FALSE(t.is_special(3));
  EXPECT_FALSE(t.is_special(-1));
  EXPECT_FALSE(t.is_special(8));
  EXPECT_EQ(t.token_id("é"), 6);
  EXPECT_EQ(t.token_id("x"), std::nullopt);
  EXPECT_TRUE(t.encode("").empty());
}

TEST(Characters, UnknownCharacterIsAnErrorNamingItAndItsOffset) {
  const auto t = Tokenizer::characters("01é", {"<eos>"});
  const std::string message = message_of([&] { t.encode("0é7"); });
  EXPECT_NE(message.find("'7' at byte 3"), message.npos) << message;
  EXPECT_THROW(t.encode("0\xFF"), Error);
  EXPECT_THROW(t.encode("<eos>", {.parse_special = false}), Error);  // '<' is no character of it
  EXPECT_THROW(t.decode_token(4), Error);
  EXPECT_THROW(t.decode_token(-1), Error);
}

TEST(Characters, RefusesDuplicatesAndInvalidUtf8) {
  EXPECT_THROW(Tokenizer::characters("010"), Error);
  EXPECT_THROW(Tokenizer::characters("0\xC3"), Error);
  EXPECT_THROW(Tokenizer::characters("01", {"<a>", "<a>"}), Error);
  EXPECT_THROW(Tokenizer::characters("01", {""}), Error);
  EXPECT_THROW(Tokenizer::characters(""), Error);
}

}  // namespace
}  // namespace r1
