#include "case_tensors.h"
#include "device.h"
#include "device_call.h"
#include "device_kernel_cases.h"
#include "expert_products.h"
#include "kernels/moe/moe_cuda.h"
#include "reference.h"

namespace r1::ops {

using device::Bf16;
using device::Call;
using device::ExpertOrder;
using torch::Tensor;

namespace {

constexpr double kBf16 = 2, kFloat = 4;

KernelCase gate_case(at::Device place, int64_t N, const GateRule& rule) {
  const auto logits = torch::randn({N, rule.num_experts}, place), bias = torch::randn({rule.num_experts}, place) * 0.1;
  return {[=] {
            const torch::NoGradGuard no_grad;
            return device::moe_gate(logits, bias, rule, {}).weights_NK;
          },
          [=] {
            const torch::NoGradGuard no_grad;
            return ref::moe_gate(logits, bias, rule, {}).weights_NK;
          },
          "ATen", static_cast<double>(N) * (2 * kFloat * static_cast<double>(rule.num_experts) + 12 * static_cast<double>(rule.experts_per_token))};
}

KernelCase gate_backward_case(at::Device place, int64_t N, const GateRule& rule) {
  const auto logits = torch::randn({N, rule.num_experts}, place).requires_grad_(true);
  const auto graph = [=](const Routes& routes) {
    return [=, dy = torch::randn_like(routes.weights_NK)] {
      return torch::autograd::grad({routes.weights_NK}, {logits}, {dy}, /*retain_graph=*/true)[0];
    };
  };
  torch::manual_seed(1);
  const auto ours = graph(device::moe_gate(logits, {}, rule, {}));
  torch::manual_seed(1);
  return {ours, graph(ref::moe_gate(logits, {}, rule, {})), "ATen",
          static_cast<double>(N) * (2 * kFloat * static_cast<double>(rule.num_experts) + 12 * static_cast<double>(rule.experts_per_token))};
}

KernelCase order_case(at::Device place, const MoeShape& s) {
  const auto experts = random_routes(s, place);
  return {[=] { return device::order_by_expert(experts, s.E).pairs_M; },
          [=] {
            const auto sorted = experts.reshape({-1}).sort(/*stable=*/true, -1, /*descending=*/false);
            const auto edges = torch::arange(s.E + 1, experts.options());
            const auto offsets = torch::searchsorted(std::get<0>(sorted), edges, /*out_int32=*/true);
            const auto places = torch::empty_like(std::get<1>(sorted))
                                    .scatter_(0, std::get<1>(sorted), torch::arange(s.N * s.K, experts.options()));
            return std::get<1>(sorted);
          },
          "sort, searchsorted", static_cast<double>(s.N * s.K) * 24};
}

KernelCase permute_case(at::Device place, const MoeShape& s) {
  const auto x = random_bf16(place, {s.N, s.C});
  const auto order = device::order_by_expert(random_routes(s, place), s.E);
  const auto tokens = order.pairs_M.div(s.K, "floor").to(at::kLong);
  return {[=] { return device::permuted(order, x); }, [=] { return x.index_select(0, tokens); }, "index_select",
          kBf16 * static_cast<double>((s.N + s.N * s.K) * s.C)};
}

KernelCase unpermute_case(at::Device place, const MoeShape& s) {
  const auto rows = random_bf16(place, {s.N * s.K, s.C});
  const auto weights = torch::rand({s.N, s.K}, place);
  const auto order = device::order_by_expert(random_routes(s, place), s.E);
  const auto places = order.places_M.to(at::kLong);
  return {[=] { return device::unpermuted(order, rows, weights); },
          [=] {
            return torch::bmm(weights.to(at::kBFloat16).unsqueeze(1), rows.index_select(0, places).view({s.N, s.K, s.C})).squeeze(1);
          },
          "index_select, bmm", kBf16 * static_cast<double>((s.N + s.N * s.K) * s.C)};
}

// Rows sorted by expert, and matrices; sized so that the products have outputs of unit size.
struct Grouped {
  Tensor routes_NK;
  ExpertOrder order;
  Tensor x_NC, rows_MC, h_MF, gate_up_E2FC, down_ECF;

  Grouped(at::Device place, const MoeShape& s)
      : routes_NK(random_routes(s, place)),
        order(device::order_by_expert(routes_NK, s.E)),
        x_NC(random_bf16(place, {s.N, s.C})),
        rows_MC(device::permuted(order, x_NC)),
        h_MF(random_bf16(place, {s.N * s.K, s.F})),
        gate_up_E2FC(random_bf16(place, {s.E, 2 * s.F, s.C}, 1 / std::sqrt(static_cast<double>(s.C)))),
        down_ECF(random_bf16(place, {s.E, s.C, s.F}, 1 / std::sqrt(static_cast<double>(s.F)))) {}
};

double flop_of(const MoeShape& s, int64_t matrices) { return 2.0 * static_cast<double>(s.N * s.K * s.C * s.F * matrices); }
// Weights of the experts that have rows (nearly all from a few rows an expert on), and rows in and out.
double bytes_of(const MoeShape& s, int64_t matrices) {
  return kBf16 * static_cast<double>(std::min(s.E, s.N * s.K) * matrices * s.C * s.F + s.N * s.K * (s.C + matrices * s.F));
}

KernelCase swiglu_case(at::Device place, const MoeShape& s, bool keep) {
  const Grouped g(place, s);
  return {[=] { return device::expert_swiglu(g.order, false, keep, g.x_NC, g.gate_up_E2FC).h_MF; },
          [=] { return device::expert_swiglu(g.order, true, keep, g.x_NC, g.gate_up_E2FC).h_MF; }, "permute, _grouped_mm, silu_mul",
          bytes_of(s, 2), flop_of(s, 2)};
}

KernelCase product_case(at::Device place, const MoeShape& s) {
  const Grouped g(place, s);
  return {[=] { return device::grouped_product(g.order, false, g.h_MF, g.down_ECF); },
          [=] { return device::grouped_product(g.order, true, g.h_MF, g.down_ECF); }, "_grouped_mm", bytes_of(s, 1), flop_of(s, 1)};
}

KernelCase transposed_case(at::Device place, const MoeShape& s) {
  const Grouped g(place, s);
  return {[=] { return device::grouped_transposed(g.order, false, g.rows_MC, g.down_ECF); },
          [=] { return device::grouped_transposed(g.order, true, g.rows_MC, g.down_ECF); }, "_grouped_mm", bytes_of(s, 1), flop_of(s, 1)};
}

KernelCase outer_case(at::Device place, const MoeShape& s) {
  const Grouped g(place, s);
  return {[=] { return device::grouped_outer(g.order, false, g.rows_MC, g.h_MF); },
          [=] { return device::grouped_outer(g.order, true, g.rows_MC, g.h_MF); }, "_grouped_mm", bytes_of(s, 1), flop_of(s, 1)};
}

// The whole of a layer's routed experts as the model calls it, beside the same out of ATen's parts.
KernelCase expert_mlp_case(at::Device place, const MoeShape& s, bool backward) {
  const Grouped g(place, s);
  auto x = g.x_NC.clone().requires_grad_(backward), weights = torch::rand({s.N, s.K}, place).requires_grad_(backward);
  const auto leaf_of = [&](const Tensor& part) { return part.detach().requires_grad_(backward); };
  std::vector<ExpertWeights> experts;
  for (int64_t e = 0; e < s.E; ++e) {
    const auto gate_up = g.gate_up_E2FC[e];
    experts.push_back({leaf_of(gate_up.narrow(0, 0, s.F)), leaf_of(gate_up.narrow(0, s.F, s.F)), leaf_of(g.down_ECF[e])});
  }
  const auto up_stack = leaf_of(g.gate_up_E2FC), down_stack = leaf_of(g.down_ECF);
  const auto tokens = g.order.pairs_M.div(s.K, "floor").to(at::kLong), places = g.order.places_M.to(at::kLong);
  const auto ends = g.order.ends();
  const auto plain = [=] {
    const auto gate_up = at::_grouped_mm(x.index_select(0, tokens), up_stack.transpose(1, 2), ends);
    const auto h = torch::silu(gate_up.narrow(1, 0, s.F)) * gate_up.narrow(1, s.F, s.F);
    const auto rows = at::_grouped_mm(h, down_stack.transpose(1, 2), ends).index_select(0, places).view({s.N, s.K, s.C});
    return torch::bmm(weights.to(at::kBFloat16).unsqueeze(1), rows).squeeze(1);
  };
  const auto ours = [=] { return expert_mlp(x, g.routes_NK, weights, experts); };
  const double bytes = bytes_of(s, 3), flop = flop_of(s, 3);
  if (!backward) {
    return {[=] { const torch::NoGradGuard no_grad; return ours(); }, [=] { const torch::NoGradGuard no_grad; return plain(); },
            "ATen, _grouped_mm, routes sorted before", bytes, flop};
  }
  std::vector<Tensor> wanted{x, weights};
  for (const auto& e : experts) wanted.insert(wanted.end(), {e.gate_FC, e.up_FC, e.down_CF});
  return {[=] { return torch::autograd::grad({ours().sum()}, wanted)[0]; },
          [=] { return torch::autograd::grad({plain().sum()}, {x, weights, up_stack, down_stack})[0]; },
          "ATen, _grouped_mm, routes sorted before", 3 * bytes, 3 * flop};
}

KernelCase silu_backward_case(at::Device place, const MoeShape& s) {
  const Grouped g(place, s);
  const auto gate_up = random_bf16(place, {s.N * s.K, 2 * s.F});
  const auto weights = torch::rand({s.N, s.K}, place), own = g.h_MF.clone();  // which the first call overwrites
  return {[=] { return device::expert_silu_mul_backward(g.order, gate_up, weights, own).dgate_up_M2F; },
          [=] {
            const auto gate = gate_up.narrow(1, 0, s.F), up = gate_up.narrow(1, s.F, s.F);
            const auto w = weights.reshape({-1}).index_select(0, g.order.pairs_M.to(at::kLong)).unsqueeze(1).to(at::kBFloat16);
            const auto act = torch::silu(gate), h = act * up;
            const auto dweights = (g.h_MF * h).sum(1);
            const auto dh = g.h_MF * w, wh = h * w;
            return torch::cat({at::silu_backward(dh * up, gate), dh * act}, 1);
          },
          "ATen", kBf16 * static_cast<double>(6 * s.N * s.K * s.F)};
}

}  // namespace

std::vector<KernelCaseMaker> device_expert_cases(at::Device place, CaseSize size) {
  const bool model = size == CaseSize::kModel;
  std::vector<KernelCaseMaker> cases;
  // Of DeepSeek-V3's 256 experts the 64 of one of 4 ranks; configs/models/tiny_moe.yaml.
  const MoeShape v3 = model ? MoeShape{4096, 8, 64, 7168, 2048} : MoeShape{40, 3, 4, 24, 16};
  const MoeShape tiny = model ? MoeShape{16384, 4, 16, 128, 80} : MoeShape{5, 1, 2, 16, 8};
  const MoeShape decode = model ? MoeShape{64, 8, 64, 7168, 2048} : MoeShape{3, 2, 3, 16, 8};
  const MoeShape one = model ? MoeShape{1, 8, 64, 7168, 2048} : MoeShape{1, 2, 3, 16, 8};
  const MoeShape wide = model ? MoeShape{256, 8, 64, 7168, 2048} : MoeShape{20, 2, 3, 16, 8};
  const GateRule gate = model ? GateRule{256, 8, 8, 4, true, true, true, 2.5} : GateRule{8, 2, 4, 2, true, true, true, 2.5};
  const int64_t gate_N = model ? 16384 : 7;
  const auto gate_text = shape_text({{"N", gate_N}, {"K", gate.experts_per_token}, {"E", gate.num_experts}});
  cases.insert(cases.end(), {{"moe_gate", gate_text, [=] { return gate_case(place, gate_N, gate); }},
                             {"moe_gate backward", gate_text, [=] { return gate_backward_case(place, gate_N, gate); }}});
  for (const auto& s : {v3, tiny}) {
    cases.insert(cases.end(), {{"order_by_expert", s.text(), [=] { return order_case(place, s); }},
                               {"permute_rows", s.text(), [=] { return permute_case(place, s); }},
                               {"unpermute_rows", s.text(), [=] { return unpermute_case(place, s); }},
                               {"expert_silu_mul backward", s.text(), [=] { return silu_backward_case(place, s); }}});
  }
  for (const auto& s : {v3, wide, decode, one, tiny}) {
    cases.insert(cases.end(), {{"grouped_swiglu", s.text(), [=] { return swiglu_case(place, s, false); }},
                               {"grouped_product", s.text(), [=] { return product_case(place, s); }}});
  }
  for (const auto& s : {v3, tiny}) {
    cases.insert(cases.end(), {{"grouped_product_transposed", s.text(), [=] { return transposed_case(place, s); }},
                               {"grouped_outer", s.text(), [=] { return outer_case(place, s); }},
                               {"expert_mlp forward+backward", s.text(), [=] { return expert_mlp_case(place, s, true); }}});
  }
  for (const auto& s : {v3, decode, tiny}) {
    cases.push_back({"expert_mlp", s.text(), [=] { return expert_mlp_case(place, s, false); }});
  }
  return cases;
}

}  // namespace r1::ops
