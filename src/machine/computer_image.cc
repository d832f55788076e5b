// A computer as a value and back.
#include <fmt/ranges.h>

#include <algorithm>

#include "machine/computer.h"
#include "machine/memory_map.h"

namespace doppel {
namespace {

constexpr std::uint32_t record_version = 1;
constexpr unsigned identity_port = 1;  // of the virtio console
constexpr std::size_t longest_shape = 4096, longest_name = 64, longest_record = 64 << 20;

/// Runs `save` for a record of its own, with its name in front.
template <typename F>
void put_record(Writer& out, std::string_view name, F&& save) {
  Writer record;
  save(record);
  out.blob(std::as_bytes(std::span(name)));
  out.put(record_version);
  out.blob(record.data());
}

/// Runs `restore` on the next record, which must have this name and be used up.
template <typename F>
Result<void> get_record(Reader& in, std::string_view name, F&& restore) {
  const auto found = in.blob(longest_name);
  const auto version = in.get<std::uint32_t>();
  const auto bytes = in.blob(longest_record);
  if (!in.ok()) return error("the saved machine is cut short where its {} should be", name);
  if (!std::ranges::equal(found, std::as_bytes(std::span(name))))
    return error("the saved machine has another record where its {} should be: it is of another kind of machine", name);
  if (version != record_version)
    return error("the saved machine's {} has version {}: this Doppel knows version {}", name, version, record_version);
  Reader record(bytes);
  if (auto restored = restore(record); !restored) return restored;
  if (!record.ok() || record.left() != 0) return error("the saved machine's {} is damaged", name);
  return {};
}

}  // namespace

/// What must be alike in two machines for one to go on as the other.
std::string Computer::shape() const {
  std::vector<std::string_view> devices;
  for (const auto* device : devices_) devices.push_back(device->name());
  return fmt::format("riscv64, {} harts, Sv{}, {} bytes at {:#x}, {}, clock {}, {}", config_.cpus, config_.mmu,
                     config_.memory, dram_base, board_.machine_mode ? "firmware in the guest" : "firmware of Doppel",
                     unsigned(config_.clock), fmt::join(devices, " "));
}

/// How many devices over virtio the machine had that was captured.
std::size_t Computer::virtio_devices(const MachineImage& image) {
  Reader in(image.state);
  const auto shape = in.blob(longest_shape);
  const std::string_view text(reinterpret_cast<const char*>(shape.data()), shape.size());
  std::size_t count = 0;
  for (auto at = text.find("virtio-mmio"); at != text.npos; at = text.find("virtio-mmio", at + 1)) count++;
  return count;
}

void Computer::save_board(Writer& out) const {
  out.put<std::uint64_t>(board_.machine_mode);
  out.put<std::uint64_t>(board_.htif.has_value());
  if (!board_.htif) return;
  const auto& h = *board_.htif;
  for (const auto* symbol : {&h.tohost, &h.fromhost, &h.begin_signature, &h.end_signature}) {
    out.put<std::uint64_t>(symbol->has_value());
    out.put(symbol->value_or(0));
  }
}

Computer::Board Computer::restore_board(Reader& in) {
  Board board;
  board.machine_mode = in.get<std::uint64_t>() != 0;
  if (in.get<std::uint64_t>() == 0) return board;
  auto& h = board.htif.emplace();
  for (auto* symbol : {&h.tohost, &h.fromhost, &h.begin_signature, &h.end_signature}) {
    const bool there = in.get<std::uint64_t>() != 0;
    const auto address = in.get<std::uint64_t>();
    if (there) *symbol = address;
  }
  return board;
}

/// What of an image says how the board is to be made that goes on from it.
Result<void> Computer::read_board(const MachineImage& image) {
  Reader in(image.state);
  static_cast<void>(in.blob(longest_shape));
  return get_record(in, "board", [this](Reader& record) -> Result<void> {
    board_ = restore_board(record);
    return {};
  });
}

void Computer::pause_soon() {
  std::lock_guard guard(end_lock_);
  paused_ = true;
  scheduler_->halt();
}

void Computer::pause() {
  pause_soon();
  scheduler_->wait_halted();
  std::unique_lock guard(end_lock_);
  ended_.wait(guard, [&] { return !serves_ends_ || powered_off_ || !end_ || end_->kind == End::Kind::off; });
}

void Computer::resume() {
  std::lock_guard guard(end_lock_);
  paused_ = false;
  go_on();
}

void Computer::pause_when(std::int64_t guest_ns, std::function<void()> then) {
  std::lock_guard guard(lock_);
  input_->at(guest_ns, [this, then = std::move(then)] {
    pause_soon();
    then();
  });
}

/// Calls `one(name, save, restore)` for all that a machine is beside its memory, in the order in which it is restored.
template <typename F>
Result<void> Computer::for_each_record(F&& one, std::int64_t elapsed_ns) {
  const auto both = [&](std::string_view name, auto& part) {
    return one(name, [&](Writer& out) { part.save(out); }, [&](Reader& in) { return part.restore(in); });
  };
  const auto restore_same_board = [&](Reader& in) -> Result<void> {
    if (restore_board(in) != board_) return error("the saved machine has another firmware");
    return {};
  };
  if (auto done = one("board", [&](Writer& out) { save_board(out); }, restore_same_board); !done) return done;
  if (auto done = one(
          "time", [&](Writer& out) { input_->save(out); }, [&](Reader& in) { return input_->restore(in, elapsed_ns); });
      !done)
    return done;
  for (auto& hart : harts_)
    if (auto done = both(fmt::format("hart {}", hart->id()), *hart); !done) return done;
  for (std::size_t n = 0; n < devices_.size(); n++)
    if (auto done = both(fmt::format("{} {}", n, devices_[n]->name()), *devices_[n]); !done) return done;
  if (card_)
    if (auto done = both(card_->network().kind(), card_->network()); !done) return done;
  if (htif_)
    if (auto done = both("htif", *htif_); !done) return done;
  if (auto done = both("sbi", *sbi_); !done) return done;
  if (auto done = one(
          "keys", [&](Writer& out) { save_keys(out); }, [&](Reader& in) { return restore_keys(in); });
      !done)
    return done;
  return both("scheduler", *scheduler_);
}

void Computer::save_keys(Writer& out) const {
  out.put<std::uint64_t>(hvc_in_use_);
  out.put<std::uint64_t>(typed_.size());
  for (const auto key : typed_) out.put(key);
}

Result<void> Computer::restore_keys(Reader& in) {
  hvc_in_use_ = in.get<std::uint64_t>() != 0;
  const auto count = in.get<std::uint64_t>();
  if (!in.ok() || count > max_typed) return error("the saved machine's keys are damaged");
  typed_.clear();
  for (std::uint64_t n = 0; n < count; n++) typed_.push_back(in.get<std::byte>());
  return {};
}

void Computer::flush_disks() {
  for (const auto& disk : disks_)
    if (disk.content->needs_overlay()) static_cast<void>(disk.content->flush());  // what fails now fails again
}

std::vector<std::size_t> Computer::disks_without_overlay() {
  std::vector<std::size_t> all;
  for (std::size_t n = 0; n < disks_.size(); n++)
    if (disks_[n].content->needs_overlay()) all.push_back(n);
  return all;
}

Result<void> Computer::keep_disk(std::size_t disk, FileDescriptor file, const std::string& path) {
  std::lock_guard guard(lock_);
  if (disk >= disks_.size()) return error("the machine has no disk {}", disk);
  disks_[disk].requests->drain();
  return disks_[disk].content->keep_in(std::move(file), path);
}

Result<std::vector<DiskImage>> Computer::freeze_disks() {
  // What a guest flushes to such a disk is durable, and a layer in a temporary file is not.
  if (const auto kept = disks_without_overlay(); !kept.empty())
    return error("what the guest flushes to {} has nowhere to be kept once the machine is captured",
                 config_.disks[kept[0]].path);
  std::vector<DiskImage> images;
  for (const auto& disk : disks_) {
    disk.requests->drain();
    auto image = disk.content->freeze();
    if (!image) return image.failure();
    images.push_back(std::move(*image));
  }
  return images;
}

Result<void> Computer::adopt_disks(const std::vector<DiskImage>& images) {
  for (std::size_t n = 0; n < disks_.size(); n++)
    if (auto adopted = disks_[n].content->adopt(images[n]); !adopted) return adopted;
  return {};
}

/// Why the machine is nothing to go on from: a copy would go on behind its end, or with zeros for what was lost.
Result<void> Computer::check_alive() {
  std::lock_guard guard(end_lock_);
  if (lost_) return Error{loss_};
  if (serves_ends_ && end_) return error("the machine has ended: there is nothing to go on from");
  return {};
}

Result<MachineImage> Computer::capture() {
  std::lock_guard guard(lock_);
  if (auto alive = check_alive(); !alive) return alive.failure();
  MachineImage image;
  auto disks = freeze_disks();
  if (!disks) return disks.failure();
  image.disks = std::move(*disks);
  Writer out;
  const auto kind = shape();
  out.blob(std::as_bytes(std::span(kind)));
  const auto done = for_each_record([&](std::string_view name, auto&& save, auto&&) {
    put_record(out, name, save);
    return Result<void>();
  });
  if (!done) return done.failure();
  image.state = out.take();
  image.memory = memory_->freeze();
  for (const auto& hart : harts_) hart->forget_pages();
  if (lost_) return check_alive().failure();  // by what devices looked up meanwhile
  return image;
}

void Computer::become(const std::string& identity) {
  std::lock_guard guard(lock_);
  config_.identity = identity;
  input_->diverge(identity);
  Vmgenid::Identifier generation;
  input_->entropy(generation);
  vmgenid_->change(generation);
  if (card_)
    card_->set_mac(
        {0x52, 0x54, 0x00, std::uint8_t(generation[0]), std::uint8_t(generation[1]), std::uint8_t(generation[2])});
  if (virtio_console_->guest_open(identity_port)) tell_identity();
}

void Computer::IdentityPort::guest_open(bool open) {
  if (open) computer.tell_identity();
}

/// A line for who has the port open. The port's buffer takes it whole: there is never more in it than one at a time,
/// or who reads is far behind.
void Computer::tell_identity() {
  const auto line = config_.identity + "\n";
  virtio_console_->input(identity_port, std::as_bytes(std::span(line)));
}

std::vector<std::uint32_t> Computer::hot_pages() {
  std::lock_guard guard(lock_);  // devices that get pages of their own have harts forget those
  std::vector<std::uint64_t> addresses;
  for (const auto& hart : harts_) hart->add_known_pages(addresses);
  std::ranges::sort(addresses);
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  std::vector<std::uint32_t> pages;
  for (const auto address : addresses) pages.push_back(std::uint32_t((address - memory_->base()) >> page_shift));
  return pages;
}

std::int64_t Computer::sleeps_ns() {
  const auto deadline = scheduler_->next_deadline_ns();
  return deadline == INT64_MAX ? deadline : std::max<std::int64_t>(0, deadline - input_->now_ns());
}

void Computer::tell_idle() {
  std::lock_guard guard(lock_);
  if (scheduler_->next_deadline_ns() == 0) return;  // meanwhile something came, or it is another machine
  if (std::ranges::all_of(blocks_, [](const auto* block) { return block->in_flight() == 0; })) config_.idle();
}

Result<void> Computer::take_over(MachineImage image, std::int64_t elapsed_ns) {
  std::lock_guard guard(lock_);
  Reader in(image.state);
  const auto wanted = in.blob(longest_shape);
  const std::string found(reinterpret_cast<const char*>(wanted.data()), wanted.size());
  if (!in.ok()) return error("the saved machine is cut short");
  if (found != shape())
    return error("the saved machine is another kind of machine: {}, and this is: {}", found, shape());
  if (image.memory.base != memory_->base() || image.memory.size != memory_->size() || !image.memory.top ||
      image.memory.top->pages() != memory_->size() >> page_shift)
    return error("the saved machine's memory of {} bytes does not fit", image.memory.size);
  if (image.disks.size() != disks_.size())
    return error("the saved machine has {} disks, and this one {}", image.disks.size(), disks_.size());
  for (const auto& device : virtio_) device->reset();  // nothing of its old life reaches what it becomes
  {
    // Not behind it: what cannot be had of the new one may show while it is made.
    std::lock_guard ending(end_lock_);
    end_.reset();
    lost_ = false;
    loss_.clear();
  }
  memory_->adopt(std::move(image.memory));
  if (auto adopted = adopt_disks(image.disks); !adopted) return adopted;
  auto done = for_each_record(
      [&](std::string_view name, auto&&, auto&& restore) { return get_record(in, name, restore); }, elapsed_ns);
  if (done && in.left() != 0) done = error("the saved machine has more in it than this machine is made of");
  tell_offset();
  if (!done) return done;
  for (const auto& device : virtio_) device->resume();
  if (!typed_.empty()) input_->later([this] { pump_typed(); });
  return {};
}

}  // namespace doppel
