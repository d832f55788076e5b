#include "storage/scratch_file.h"

#include <algorithm>
#include <utility>

#include "storage/temporary_file.h"

namespace doppel {
namespace {

constexpr std::uint32_t most_slots = 0xffff'ff00;  // 16 TiB; numbers beyond have meanings in block maps

}  // namespace

void SlotRuns::add(Run run) {
  slots_ += run.count;
  auto next = runs_.lower_bound(run.first);
  if (next != runs_.end() && run.first + run.count == next->first) {
    run.count += next->second;
    next = runs_.erase(next);
  }
  if (next != runs_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == run.first) {
      before->second += run.count;
      return;
    }
  }
  runs_.emplace_hint(next, run.first, run.count);
}

SlotRuns::Run SlotRuns::take(std::uint32_t most) {
  if (runs_.empty()) return {};
  const auto [first, count] = *runs_.begin();
  const Run taken{first, std::min(count, most)};
  runs_.erase(runs_.begin());
  if (taken.count < count) runs_.emplace_hint(runs_.begin(), first + taken.count, count - taken.count);
  slots_ -= taken.count;
  return taken;
}

Result<std::shared_ptr<ScratchFile>> ScratchFile::create() {
  auto file = make_temporary_file("the temporary file of forked disks");
  if (!file) return file.failure();
  return std::make_shared<ScratchFile>(std::move(*file));
}

Result<std::shared_ptr<ScratchFile>> ScratchFile::of_process() {
  static std::mutex lock;
  static std::shared_ptr<ScratchFile> only;
  std::lock_guard guard(lock);
  if (only) return only;
  auto made = create();
  if (made) only = *made;
  return made;
}

Result<ScratchFile::Run> ScratchFile::allocate(std::uint32_t most) {
  std::lock_guard guard(lock_);
  Run run = warm_.take(most);
  if (run.count == 0) run = holes_.take(most);
  if (run.count == 0) {
    const auto end = std::uint32_t(owners_.size());
    if (end >= most_slots) return error("the temporary file of forked disks has reached its largest size");
    run = {end, std::min(most, most_slots - end)};
    owners_.resize(end + run.count);
  }
  std::fill_n(owners_.begin() + run.first, run.count, 1u);
  return run;
}

void ScratchFile::share(std::span<const Run> runs) {
  std::lock_guard guard(lock_);
  for (const auto& run : runs)
    for (std::uint32_t n = 0; n < run.count; n++) owners_[run.first + n]++;
}

void ScratchFile::release(std::span<const Run> runs) {
  SlotRuns freed;
  {
    std::lock_guard guard(lock_);
    for (const auto& run : runs)
      for (std::uint32_t n = 0; n < run.count; n++)
        if (--owners_[run.first + n] == 0) warm_.add({run.first + n, 1});
    if (warm_.slots() <= most_unpunched) return;
    freed = std::exchange(warm_, {});
  }
  punch(freed);
}

/// Gives the space of many free slots back at once: one by one it would cost more than to use them again.
void ScratchFile::punch(SlotRuns& freed) {
  // Where the file system has no holes the space stays the file's, and is used again.
  for (const auto& [first, count] : freed.runs())
    static_cast<void>(file_->punch_hole(first * slot_bytes, count * slot_bytes));
  std::lock_guard guard(lock_);
  for (const auto& [first, count] : freed.runs()) holes_.add({first, count});
}

std::uint64_t ScratchFile::used() const {
  std::lock_guard guard(lock_);
  return owners_.size() - warm_.slots() - holes_.slots();
}

}  // namespace doppel
