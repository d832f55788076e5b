#include "engine/code_store.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <future>

namespace doppel {
namespace {

using code_segment::IndexEntry;

// Records that are in memory: what a boot needs, and nothing of it once no code is looked for any more.
constexpr std::uint64_t most_resident = 64 << 20;
constexpr std::chrono::seconds quiet(1);
constexpr std::uint64_t few = 100;  // calls of find() in that time, as of a guest that idles
// Sections read before they are needed: behind the one in use, and the first in any case, for a guest begins alike.
constexpr std::uint32_t ahead = 32, first_ahead = 128;
constexpr std::uint64_t most_waiting = 16 << 20;  // bytes of records that wait for being written
constexpr std::uint64_t reservations = 64;        // of a cache of full size: what is reserved at once
// A guest may make any number of objects that begin alike: more than this are not looked through.
constexpr unsigned longest_chain = 64;
constexpr std::uint64_t bytes_an_object = 600;  // about
constexpr int niceness = 10;

}  // namespace

CodeStore::CodeStore(const CodeStoreOptions& options, const Sha256& identity, CodeFolder folder)
    : options_(options), identity_(identity), folder_(std::move(folder)) {
  [[maybe_unused]] const auto ignored = ::getrandom(&multiplier_, sizeof multiplier_, 0);
  multiplier_ |= 1;
  grow_heads(1 << 12);
}

Result<std::unique_ptr<CodeStore>> CodeStore::open(const CodeStoreOptions& options, const Sha256& identity) {
  auto folder = CodeFolder::open(options.folder);
  if (!folder) return folder.failure();
  std::unique_ptr<CodeStore> store(new CodeStore(options, identity, std::move(*folder)));
  store->reading_ = std::thread([store = store.get()] { store->read_index(); });
  return store;
}

CodeStore::~CodeStore() {
  if (reading_.joinable()) reading_.join();
  close();
}

void CodeStore::read_index() {
  files_ = folder_.open_files(identity_, options_.limit);
  counters_.rejected = folder_.refused();
  file_states_.resize(files_.size());
  std::uint64_t bytes = 0;
  for (const auto& file : files_) bytes += file.bytes();
  grow_heads(bytes / bytes_an_object * 2);
  for (std::size_t n = 0; n < files_.size(); n++) read_file(n);
  counters_.known = entries_.size();
}

void CodeStore::read_file(std::size_t number) {
  auto& file = files_[number];
  auto at = std::uint64_t(sizeof(code_segment::FileHeader));
  while (const auto section = read_section(file.descriptor(), at, file.bytes(), identity_)) {
    const auto index = std::uint32_t(sections_.size());
    sections_.push_back({.file = number,
                         .data_at = section->data_at,
                         .data_bytes = section->data_bytes,
                         .objects = std::uint32_t(section->index.size()),
                         .check = section->check,
                         .data = {}});
    for (const auto& entry : section->index) insert(entry, index);
    at = section->end;
  }
  if (at < file.bytes() && !(file.taken() && !file.appends())) {  // else somebody is writing there
    counters_.rejected++;
    file.cut(at);
  }
  if (!file.appends() || at != file.bytes()) return;
  own_ = &file;
  writing_ = true;
}

void CodeStore::start() {
  if (reading_.joinable()) reading_.join();
  // The process's signals are for its main thread; and the thread must be set up before the sandbox is.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  std::promise<void> ready;
  thread_ = std::thread([&] {
    pthread_setname_np(pthread_self(), "code store");
    setpriority(PRIO_PROCESS, 0, niceness);  // on Linux, of this thread
    ready.set_value();
    work();
  });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  ready.get_future().wait();
  std::lock_guard guard(lock_);
  started_ = true;
}

void CodeStore::close() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard guard(lock_);
    // A last section of next to nothing new is not worth one more section to look at in each run.
    if (filling_.index().size() * 100 >= counters_.loaded) seal();
    ending_ = true;
    started_ = false;
  }
  wake_.notify_all();
  thread_.join();
}

CodeStoreCounters CodeStore::counters() {
  std::lock_guard guard(lock_);
  return counters_;
}

// ---- The index ----

void CodeStore::grow_heads(std::size_t entries) {
  while ((1ULL << (64 - head_shift_)) < entries || head_shift_ == 64) head_shift_--;
  heads_.assign(1ULL << (64 - head_shift_), none);
  for (std::uint32_t n = 0; n < entries_.size(); n++) entries_[n].next = std::exchange(head_of(entries_[n].first), n);
}

/// False where the object is there already, or there are too many that begin like it.
bool CodeStore::insert(const IndexEntry& entry, std::uint32_t section) {
  unsigned alike = 0;
  for (auto n = head_of(entry.first); n != none; n = entries_[n].next) {
    auto& other = entries_[n];
    if (other.first != entry.first) continue;
    if (++alike == longest_chain) return false;
    if (other.whole != entry.whole || other.rest != entry.rest || other.length != entry.length) continue;
    if (sections_[other.section].state != Section::State::lost) return false;
    other.section = section, other.at = entry.at;
    return true;
  }
  if (2 * entries_.size() >= heads_.size()) grow_heads(2 * heads_.size());
  auto& head = head_of(entry.first);
  entries_.push_back({.first = entry.first,
                      .whole = entry.whole,
                      .rest = entry.rest,
                      .length = entry.length,
                      .at = entry.at,
                      .section = section,
                      .next = head});
  head = std::uint32_t(entries_.size() - 1);
  return true;
}

bool CodeStore::look_for(const CodeKey& key, SourcePages& pages, CodeObject* out) {
  const auto page = pages.page(0);
  if (page.size() <= key.entry) return false;
  const auto bytes = page.subspan(key.entry);
  std::array<std::uint32_t, std::size(prefix_lengths)> firsts{};
  for (std::size_t n = 0; n < firsts.size(); n++)
    if (prefix_lengths[n] <= bytes.size()) firsts[n] = prefix_hash(key, bytes.first(prefix_lengths[n]));
  std::unique_lock guard(lock_);
  if (!started_ || entries_.empty()) return false;
  looked_for_++;
  for (const auto first : firsts) __builtin_prefetch(&head_of(first));
  for (std::size_t n = 0; n < firsts.size(); n++) {
    if (prefix_lengths[n] > bytes.size() || !find_alike(key, firsts[n], bytes, pages, out)) continue;
    if (!out) return true;
    counters_.loaded++;
    const bool ask = runs_out();
    guard.unlock();
    if (ask) wake_.notify_one();
    return true;
  }
  return false;
}

/// Looks through the objects that begin as the guest's bytes do.
bool CodeStore::find_alike(const CodeKey& key, std::uint32_t first, std::span<const std::byte> bytes,
                           SourcePages& pages, CodeObject* out) {
  std::uint32_t length = 0, whole = 0;
  for (auto n = head_of(first); n != none; n = entries_[n].next) {
    const auto& entry = entries_[n];
    if (entry.first != first || entry.length == 0 || entry.length > bytes.size()) continue;
    if (entry.length != length) length = entry.length, whole = range_hash(bytes.first(length));
    if (entry.whole == whole && (!out || take(entry, key, pages, *out))) return true;
  }
  return false;
}

bool CodeStore::take(const Entry& entry, const CodeKey& key, SourcePages& pages, CodeObject& out) {
  const auto records = records_of(entry.section);
  if (records.empty()) return false;
  const auto object = object_at(records, entry.at);
  if (!object || !object->matches(key, pages)) return false;
  object->copy_to(out);
  return true;
}

// ---- Sections in memory ----

/// The records of a section, read if need be; none when they are not what was written.
std::span<const std::byte> CodeStore::records_of(std::uint32_t number) {
  auto& section = sections_[number];
  if (section.state == Section::State::lost) return {};
  if (section.state == Section::State::filling) return filling_.data();
  if (!section.data)
    keep(number,
         read_records(memory_, files_[section.file].descriptor(), section.data_at, section.data_bytes, section.check));
  if (section.state == Section::State::lost) return {};
  if (section.state == Section::State::written) {
    read_from_ = number + 1;
    auto& file = file_states_[section.file];
    file.touch |= !std::exchange(file.touched, true);
  }
  return section.data.span();
}

void CodeStore::keep(std::uint32_t number, RecordBytes data) {
  auto& section = sections_[number];
  if (!data) return reject(number);
  if (section.state != Section::State::written || (section.data && section.data != data)) return;
  section.data = std::move(data);
  resident_.push_back(number);
  resident_bytes_ += section.data_bytes;
  while (resident_bytes_ > most_resident && resident_.size() > 1) {
    auto& oldest = sections_[resident_.front()];
    resident_.pop_front();
    resident_bytes_ -= oldest.data_bytes;
    oldest.data = {};
  }
}

/// The file is not what was written to it: nothing more is read there, and it goes.
void CodeStore::reject(std::uint32_t number) {
  const auto file = sections_[number].file;
  for (auto& section : sections_) {
    if (section.file != file || section.state != Section::State::written || section.data) continue;
    section.state = Section::State::lost;
    counters_.rejected += section.objects;
  }
  file_states_[file].cut = true;
}

// ---- New objects ----

void CodeStore::add(const CodeObject& object) {
  std::lock_guard guard(lock_);
  if (!started_ || !writing_) return;
  const auto entry = filling_.entry_of(object);
  if (!entry) return;
  if (filling_section_ == none) {
    filling_section_ = std::uint32_t(sections_.size());
    sections_.push_back({.check = {}, .data = {}, .state = Section::State::filling});
  }
  if (!insert(*entry, filling_section_)) return;
  filling_.add(object, *entry);
  if (filling_.data().size() >= options_.section || filling_.index().size() == code_segment::most_objects) seal();
}

/// Hands what was collected to the thread.
void CodeStore::seal() {
  const auto number = std::exchange(filling_section_, none);
  if (number == none) return;
  auto full = std::exchange(filling_, {});
  auto& section = sections_[number];
  section.state = Section::State::lost;
  if (full.index().empty() || !writing_ || waiting_bytes_ >= most_waiting) return;
  section.state = Section::State::sealed;
  section.data_bytes = std::uint32_t(full.data().size());
  section.objects = std::uint32_t(full.index().size());
  section.data = memory_.take(full.data().size());
  if (!section.data) return void(section.state = Section::State::lost);
  std::ranges::copy(full.data(), section.data.bytes.get());
  sealed_.push_back({.section = number, .index = full.index()});
  waiting_bytes_ += section.data_bytes;
  wake_.notify_one();
}

// ---- The thread ----

void CodeStore::work() {
  std::unique_lock guard(lock_);
  while (true) {
    if (do_next(guard)) continue;
    if (ending_) return;
    if (resident_.empty()) {
      wake_.wait(guard);
    } else if (const auto before = looked_for_; wake_.wait_for(guard, quiet) == std::cv_status::timeout) {
      if (looked_for_ - before < few && drop_records()) {
        guard.unlock();
        malloc_trim(0);  // else the allocator keeps what several threads have got, some 50 MB
        guard.lock();
      }
    }
  }
}

/// Takes the records of sections that are in files out of memory; false if there were none.
bool CodeStore::drop_records() {
  if (resident_.empty()) return false;
  for (const auto number : resident_) sections_[number].data = {};
  resident_.clear();
  memory_.rest();
  resident_bytes_ = 0;
  read_from_ = none;
  return true;
}

/// False when there is nothing to do.
bool CodeStore::do_next(std::unique_lock<std::mutex>& guard) {
  for (std::size_t n = 0; n < file_states_.size(); n++) {
    auto& state = file_states_[n];
    if (std::exchange(state.touch, false)) return files_[n].touch(), true;
    if (!std::exchange(state.cut, false)) continue;
    if (own_ == &files_[n]) own_ = nullptr, writing_ = false;
    return files_[n].cut(0), true;
  }
  if (!sealed_.empty()) {
    const auto next = std::move(sealed_.front());
    sealed_.pop_front();
    write(next, guard);
    waiting_bytes_ -= sections_[next.section].data_bytes;
    return true;
  }
  const auto number = ending_ ? none : section_ahead();
  if (number == none) return false;
  const auto section = sections_[number];
  guard.unlock();
  auto data =
      read_records(memory_, files_[section.file].descriptor(), section.data_at, section.data_bytes, section.check);
  guard.lock();
  keep(number, std::move(data));
  return true;
}

/// One of the next sections that is not in memory yet.
std::uint32_t CodeStore::section_ahead() {
  const auto absent = [&](std::size_t n) {
    return sections_[n].state == Section::State::written && !sections_[n].data;
  };
  if (read_from_ == none) return none;
  for (auto n = read_from_; n < sections_.size() && n - read_from_ < ahead; n++)
    if (absent(n)) return n;
  while (first_read_ < std::min<std::size_t>(sections_.size(), first_ahead))
    if (absent(first_read_++)) return first_read_ - 1;
  return none;
}

/// Whether half of those have been used, so that the thread is woken for many at once.
bool CodeStore::runs_out() const {
  if (read_from_ == none || read_from_ >= sections_.size()) return false;
  const auto& far = sections_[std::min<std::size_t>(read_from_ + ahead / 2, sections_.size() - 1)];
  return far.state == Section::State::written && !far.data;
}

void CodeStore::write(const Sealed& sealed, std::unique_lock<std::mutex>& guard) {
  const auto data = sections_[sealed.section].data;
  guard.unlock();
  const auto made = SectionBuilder::seal(identity_, multiplier_, sealed.index, data.span());
  const auto at = own_ ? own_->bytes() : 0;
  const bool written = own_ && append(made.bytes);
  guard.lock();
  auto& section = sections_[sealed.section];
  if (!written) {
    section.state = Section::State::lost;
    section.data = {};
    writing_ = false;
    own_ = nullptr;
    return;
  }
  // As it would be read; its objects are now found there again, also after they went from memory.
  section.state = Section::State::written;
  section.file = std::size_t(own_ - files_.data());
  section.data_at = at + made.data_at;
  section.check = made.check;
  counters_.stored += section.objects;
  section.data = {};
  keep(sealed.section, data);
}

bool CodeStore::append(std::span<const std::byte> bytes) {
  if (own_->bytes() + bytes.size() > reserved_) {
    const auto more = std::max<std::uint64_t>(options_.limit / reservations, bytes.size());
    if (!folder_.reserve(*own_, more)) return false;
    reserved_ = std::max(reserved_, own_->bytes()) + more;
  }
  return own_->append(bytes);
}

}  // namespace doppel
