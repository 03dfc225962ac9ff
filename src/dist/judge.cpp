#include "judge.h"

#include <algorithm>

#include "r1/util/strings.h"

namespace r1::dist {
namespace {

constexpr double kPatience_s = 0.3;  // before a rank that has ended on purpose is called missing: the others may be ending too

const GroupStatus* group_of(const RankStatus& rank, const std::string& name) {
  const auto found = std::find_if(rank.groups.begin(), rank.groups.end(), [&](const GroupStatus& g) { return g.name == name; });
  return found == rank.groups.end() ? nullptr : &*found;
}

const CollectiveStatus* with_number(const GroupStatus& group, int64_t number) {
  const auto found = std::find_if(group.newest.begin(), group.newest.end(), [&](const CollectiveStatus& c) { return c.number == number; });
  return found == group.newest.end() ? nullptr : &*found;
}

std::string collective_name(const RankStatus& rank, const GroupStatus& group, const CollectiveStatus& c) {
  return cat("collective ", with_commas(c.number), group.name == rank.groups.front().name ? "" : cat(" of '", group.name, "'"), ": ", c.text);
}

std::optional<std::string> lost_step(const std::vector<Witness>& ranks) {
  for (const auto& a : ranks) {
    for (const auto& group : a.status.groups) {
      for (const auto& b : ranks) {
        if (b.status.rank <= a.status.rank) continue;
        const auto* other = group_of(b.status, group.name);
        if (other == nullptr) continue;
        for (const auto& c : group.newest) {
          const auto* d = with_number(*other, c.number);
          if (d == nullptr || d->text == c.text) continue;
          return cat("the ranks have lost step: ", collective_name(a.status, group, c), " (phase '", c.phase, "') is what ", a.status.name(),
                     " is in, and ", b.status.name(), " is in ", d->text, " (phase '", d->phase, "').");
        }
      }
    }
  }
  return {};
}

std::optional<std::string> waits_in_vain(const std::vector<Witness>& ranks, double deadline_s) {
  for (const auto& a : ranks) {
    const GroupStatus* group = nullptr;
    const auto* c = a.status.waits_in(&group);
    if (c == nullptr || c->waits_s < std::min(kPatience_s, deadline_s)) continue;
    std::vector<std::string> missing;
    bool all_know = true;
    for (const auto& b : ranks) {
      const auto* other = group_of(b.status, group->name);
      if (other == nullptr || other->begun >= c->number) continue;  // another communicator's rank, or it has come
      if (b.status.state == RankStatus::State::kLeft) {
        return cat(b.status.name(), " has left the job, and ", a.status.name(), " waits for it in ", collective_name(a.status, *group, *c), ".");
      }
      if (b.status.state == RankStatus::State::kFailed) {
        return cat(b.status.name(), " has ended with an error of its own, printed above. It was ", b.status.doing(), ".");
      }
      all_know = false;
      missing.push_back(cat(b.status.name(), ", which is ", b.status.doing()));
    }
    if (c->waits_s < deadline_s) continue;
    const auto what = cat(collective_name(a.status, *group, *c), ", for which ", a.status.name(), " has waited ", short_seconds(c->waits_s),
                          " (deadline ", short_seconds(deadline_s), ")");
    if (!all_know) return cat("missing in ", what, ": ", join(missing, "; "), ".");
    return cat(what, ", does not end, though every rank is in it. A link may be down.");
  }
  return {};
}

}  // namespace

std::string lost_text(const RankStatus& rank, const std::string& why) {
  return cat(rank.name(), " is lost: ", why, ". It was ", rank.doing(), ".");
}

std::optional<std::string> find_fault(const std::vector<Witness>& ranks, const Limits& limits) {
  for (const auto& r : ranks) {
    if (r.status.state != RankStatus::State::kRuns) continue;
    if (r.gone) return lost_text(r.status, "its process has ended");
  }
  for (const auto& r : ranks) {
    if (r.status.state != RankStatus::State::kRuns || r.silent_s < limits.heartbeat_s) continue;
    return lost_text(r.status, cat("no sign of life for ", short_seconds(r.silent_s),
                                   r.stopped ? "; its process is stopped" : " (its process hangs, or a link is cut)"));
  }
  if (auto found = lost_step(ranks)) return found;
  return waits_in_vain(ranks, limits.deadline_s);
}

std::string message_of(const std::string& finding, const RankStatus& own) {
  const bool itself = finding.rfind(own.name() + " is lost", 0) == 0;  // it was stopped, and somebody let it go on
  return cat("r1: ", finding, "\n  This is ", itself ? "that rank, running again, " : cat("rank ", own.rank, ", "), own.doing(),
             ". The work since the last checkpoint is lost; go on with `r1 resume`.\n");
}

}  // namespace r1::dist
