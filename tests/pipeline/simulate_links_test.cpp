// Bytes and seconds of a simulated cluster's links: small cases by hand, and DeepEP's published table.
#include "simulate_links.h"

#include <gtest/gtest.h>

#include "simulate_decoding.h"

namespace r1::pipeline {
namespace {

ModelParts small_model() {
  ModelParts m;
  m.config.hidden_size = 4;
  m.experts = 8;
  m.experts_per_token = 2;
  return m;
}

Machine h800() {
  Machine machine{Hardware::load(R1_SOURCE_DIR "/configs/hardware/h800.yaml"), {}};
  machine.cluster = *machine.hardware.cluster;
  return machine;
}

ModelParts deepseek_v3() { return ModelParts::of(model::ModelConfig::parse(ConfigNode::load(R1_SOURCE_DIR "/configs/models/deepseek_v3_671b.yaml"))); }

TEST(SimulateLinks, ExchangeOfASmallMixtureIsWhatTheHandSays) {
  // 10 tokens of width 4 in 2 bytes: 80 bytes. Experts on 4 ranks in 2 nodes: with 2 experts a token meets 2 (1 - 1/4) = 1.5 nodes,
  // half of them its own, so 60 bytes leave the node; of its 2 copies half go to another rank of a node: 80 bytes.
  const auto bytes = exchange_bytes(10, small_model(), 4, 2, 0, 2);
  EXPECT_DOUBLE_EQ(bytes.network, 60);
  EXPECT_DOUBLE_EQ(bytes.nvlink, 80);
  const auto limited = exchange_bytes(10, small_model(), 4, 2, 1, 2);
  EXPECT_DOUBLE_EQ(limited.network, 40) << "one node for each token, half the time another one";
  const auto one_node = exchange_bytes(10, small_model(), 2, 2, 0, 2);
  EXPECT_DOUBLE_EQ(one_node.network, 0);
  EXPECT_DOUBLE_EQ(one_node.nvlink, 80);
}

TEST(SimulateLinks, ScatterOfASmallGroupIsWhatTheHandSays) {
  // 800 bytes over 8 ranks in nodes of 4: 600 within the node; of the 200 that are left one half goes to the other node.
  const auto bytes = scatter_bytes(800, 8, 4);
  EXPECT_DOUBLE_EQ(bytes.nvlink, 600);
  EXPECT_DOUBLE_EQ(bytes.network, 100);
  EXPECT_DOUBLE_EQ(scatter_bytes(800, 1, 4).nvlink, 0);
  EXPECT_DOUBLE_EQ(scatter_bytes(800, 2, 1).network, 400);
}

TEST(SimulateLinks, V3sTokenMeetsFourNodesOfEight) {
  EXPECT_NEAR(nodes_of_token(8, 8, 0), 5.25, 0.01);
  EXPECT_DOUBLE_EQ(nodes_of_token(8, 8, 4), 4);
  // 4,096 tokens x 4 nodes x 7/8 x 7,168 bytes of FP8.
  EXPECT_DOUBLE_EQ(exchange_bytes(4096, deepseek_v3(), 64, 8, 4, 1).network, 4096.0 * 4 * 7 / 8 * 7168);
}

TEST(SimulateLinks, TheSlowerLinkDecides) {
  auto machine = h800();
  machine.cluster.exchange_share = 1;
  EXPECT_DOUBLE_EQ(machine.seconds({160e9, 0}), 1);
  EXPECT_DOUBLE_EQ(machine.seconds({160e9, 100e9}), 2);
}

// DeepEP's documentation, H800, 128 tokens on each rank: microseconds. dispatch_s and combine_s were read off its rows of 16 to 64 ranks.
TEST(SimulateLinks, DecodingsExchangeIsThatOfDeepEpsTable) {
  const auto machine = h800();
  const auto model = deepseek_v3();
  struct Row {
    double ranks, dispatch_us, combine_us, tolerance;
  };
  for (const auto& row : {Row{8, 77, 114, 0.20}, {16, 118, 195, 0.05}, {32, 155, 273, 0.05}, {64, 173, 314, 0.05}, {128, 192, 369, 0.15}, {256, 194, 360, 0.15}}) {
    const SamplerLayout layout{row.ranks, 8, 0};
    EXPECT_NEAR(1e6 * decode_exchange(machine, model, layout, 128, false) / row.dispatch_us, 1, row.tolerance) << row.ranks;
    EXPECT_NEAR(1e6 * decode_exchange(machine, model, layout, 128, true) / row.combine_us, 1, row.tolerance) << row.ranks;
  }
}

}  // namespace
}  // namespace r1::pipeline
