#include "snapshot/time_sharing.h"

#include <algorithm>

#include "base/clock.h"
#include "snapshot/fleet.h"

namespace doppel {

Result<std::unique_ptr<TimeSharing>> TimeSharing::create(const MachineConfig& config, const MachineImage& image,
                                                         unsigned workers, Printed printed) {
  auto made = std::unique_ptr<TimeSharing>(new TimeSharing(std::move(printed)));
  auto all = make_workers(config, image, workers);
  if (!all) return all.failure();
  made->workers_ = *std::move(all);
  for (auto& worker : made->workers_) made->threads_.emplace_back([m = made.get(), &worker] { m->work(*worker); });
  return made;
}

TimeSharing::~TimeSharing() {
  {
    std::lock_guard guard(lock_);
    quit_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

std::size_t TimeSharing::add(MachineImage image, std::string identity) {
  std::lock_guard guard(lock_);
  const auto now = monotonic_ns();
  auto& member = *members_.emplace_back(std::make_unique<Member>());
  member.image = std::move(image), member.identity = std::move(identity), member.captured_ns = now;
  queue(members_.size() - 1, now);
  return members_.size() - 1;
}

void TimeSharing::type(std::size_t machine, std::string_view keys) {
  std::lock_guard guard(lock_);
  auto& member = *members_[machine];
  member.keys += keys;
  if (member.running || member.ended) return;
  due_.erase({member.due_ns, machine});
  queue(machine, monotonic_ns());
}

void TimeSharing::queue(std::size_t number, std::int64_t due_ns) {
  members_[number]->due_ns = due_ns;
  due_.emplace(due_ns, number);
  changed_.notify_one();
}

TimeSharing::Counters TimeSharing::counters() {
  std::lock_guard guard(lock_);
  auto now = counters_;
  counters_.latest_ns = 0;
  now.machines = members_.size();
  now.shared_pages = shared_.pages();
  for (const auto& member : members_) now.private_states += member->image.state.size();
  return now;
}

/// Waits for a machine whose time has come; null at the end.
TimeSharing::Member* TimeSharing::next(std::unique_lock<std::mutex>& guard, std::size_t& number) {
  while (!quit_) {
    const auto now = monotonic_ns();
    const auto first = due_.begin();
    const bool busy = first != due_.end() && first->first <= now;
    if (now >= next_look_ns_ + (busy ? late_look_ns : 0) && look_for_equal_pages(guard, now)) continue;
    if (busy) {
      number = first->second;
      counters_.latest_ns = std::max(counters_.latest_ns, now - first->first);
      due_.erase(first);
      if (!due_.empty()) changed_.notify_one();  // this worker goes away: somebody else minds the next
      return members_[number].get();
    }
    const auto until = std::min(first == due_.end() ? INT64_MAX : first->first, next_look_ns_);
    changed_.wait_for(guard, std::chrono::nanoseconds(until - now));
  }
  return nullptr;
}

/// Of the next machine that has run since it was last looked at. False: of none.
bool TimeSharing::look_for_equal_pages(std::unique_lock<std::mutex>& guard, std::int64_t now) {
  for (std::size_t tries = 0; tries < members_.size(); tries++) {
    const auto number = look_next_++ % members_.size();
    auto& member = *members_[number];
    if (member.running || member.ended || !member.changed || member.looked_ns + look_again_ns > now) continue;
    due_.erase({member.due_ns, number});
    member.running = true, member.changed = false, member.looked_ns = now;
    next_look_ns_ = now + between_looks_ns;
    guard.unlock();
    const auto saved = shared_.share(member.image.memory, number);
    guard.lock();
    counters_.saved_pages += saved;
    member.running = false;
    queue(number, member.keys.empty() ? member.due_ns : monotonic_ns());
    return true;
  }
  next_look_ns_ = now + round_ns;
  return false;
}

void TimeSharing::work(Worker& worker) {
  std::unique_lock guard(lock_);
  std::size_t number = 0;
  while (auto* member = next(guard, number)) {
    member->running = member->changed = true;
    counters_.turns++;
    guard.unlock();
    give_turn(worker, number, *member);
    guard.lock();
  }
}

void TimeSharing::give_turn(Worker& worker, std::size_t number, Member& member) {
  std::optional<std::string> identity;
  std::string keys;
  MachineImage before;  // counters() looks at the member's
  std::int64_t elapsed_ns = 0;
  {
    std::lock_guard guard(lock_);
    identity = std::exchange(member.identity, {});
    keys = std::exchange(member.keys, {});
    before = std::exchange(member.image, {});
    elapsed_ns = monotonic_ns() - member.captured_ns;
  }
  // An image of ours is one that this configuration gave: only the host's memory can have failed it.
  bool ended = !worker.take_over(std::move(before), identity, elapsed_ns).ok();
  const auto taken = ended ? 0 : worker.machine().type(std::as_bytes(std::span(keys)));
  const auto rest = ended ? Worker::Rest::ended : worker.run_until_it_waits(slice);
  ended = ended || rest == Worker::Rest::ended;
  if (!worker.printed().empty()) printed_(number, worker.printed());
  const auto sleeps = worker.machine().sleeps_ns();
  auto image = ended ? Result<MachineImage>(MachineImage()) : worker.capture();
  std::lock_guard guard(lock_);
  member.captured_ns = monotonic_ns();
  member.running = false;
  member.keys.insert(0, keys, taken);
  member.ended = ended || !image;
  counters_.ended += member.ended;
  if (member.ended) return;
  member.image = *std::move(image);
  const bool again = rest == Worker::Rest::runs || !member.keys.empty();
  const auto due = sleeps == INT64_MAX ? sleeps : member.captured_ns + sleeps;
  queue(number, again ? member.captured_ns : due);
}

}  // namespace doppel
