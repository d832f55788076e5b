#include "machine/computer.h"

#include <fcntl.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "device/virtio/entropy.h"
#include "machine/byte_size.h"
#include "machine/memory_map.h"
#include "machine/peer_network.h"
#include "storage/overlay.h"

namespace doppel {
namespace {

constexpr std::int64_t ns_per_tick = 1'000'000'000 / timebase_frequency;
constexpr unsigned software_interrupt_base =
    2 * max_harts;  // sources of Computer::set_level behind the PLIC's contexts

/// What harts offer, in the order in which the manual lists them; docs/machine.md explains the choices.
const std::vector<std::string> isa_extensions = {
    "i",      "m",      "a",     "f",        "d",         "c",           "zicbom",  "zicbop",  "zicboz",
    "zicntr", "zicond", "zicsr", "zifencei", "zihintntl", "zihintpause", "zihpm",   "zimop",   "zawrs",
    "zfa",    "zfhmin", "zca",   "zcb",      "zcd",       "zcmop",       "zba",     "zbb",     "zbc",
    "zbkb",   "zbkc",   "zbkx",  "zbs",      "sstc",      "svadu",       "svinval", "svnapot", "svpbmt"};

std::uint64_t host_memory() {
  struct sysinfo info{};
  ::sysinfo(&info);
  return std::uint64_t(info.totalram) * info.mem_unit;
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config) {
  return Computer::create(config, nullptr);
}

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config, const MachineImage& image) {
  return Computer::create(config, &image);
}

Result<std::unique_ptr<Machine>> Computer::create(const MachineConfig& config, const MachineImage* image) {
  auto computer = std::unique_ptr<Computer>(new Computer(config));
  auto& c = *computer;
  if (auto sound = c.check_config(); !sound) return sound.failure();
  if (auto opened = c.open_signature(); !opened) return opened.failure();
  if (auto known = image ? c.read_board(*image) : c.load_files(); !known) return known.failure();
  if (auto memory = c.make_memory(image); !memory) return memory.failure();
  if (auto made = c.make_board(); !made) return made.failure();
  if (auto made = c.make_virtio(image); !made) return made.failure();
  if (auto begun = image ? c.take_over(*image, 0) : c.reset(); !begun) return begun.failure();
  return std::unique_ptr<Machine>(std::move(computer));
}

Result<void> Computer::check_config() const {
  if (config_.cpus < 1 || config_.cpus > max_harts)
    return error("{} CPUs are not possible: give --cpus 1 to {}", config_.cpus, max_harts);
  if (config_.mmu != 39 && config_.mmu != 48 && config_.mmu != 57)
    return error("--mmu {} is not possible: give 39, 48 or 57", config_.mmu);
  if (config_.memory == 0) return error("a machine needs memory: give --memory, for instance 2G");
  if (config_.memory % page_size != 0)
    return error("a memory of {} bytes is not a multiple of 4096 bytes", config_.memory);
  if (config_.memory > host_memory())
    return error("{} of memory are more than the {} that this host has: give less --memory",
                 byte_size_text(config_.memory), byte_size_text(host_memory()));
  if (!config_.ports.empty() && config_.network != NetworkKind::user)
    return error("ports are published by the user-mode network: give --net user, or no --publish");
  if (!is_unicast(config_.mac)) return error("the network card's address is not that of one card: give another --mac");
  if (config_.engine == EngineKind::interpreter && config_.reports.any())
    return error("--perf-map, --jitdump and --dump tell of translated code, and the interpreter makes none");
  return {};
}

Result<void> Computer::open_signature() {
  if (config_.signature.empty()) return {};
  signature_ = FileDescriptor(open(config_.signature.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!signature_) return error("cannot write the signature to {}: {}", config_.signature, std::strerror(errno));
  return {};
}

Result<void> Computer::load_files() {
  if (config_.kernel.empty() && config_.firmware.empty())
    return error("there is nothing to boot: give an image, --kernel or --firmware");
  const auto load = [&](std::string_view what, const std::string& path) {
    return read_boot_file(what, path, config_.memory);
  };
  if (!config_.firmware.empty()) {
    auto file = load("firmware", config_.firmware);
    if (!file) return file.failure();
    auto firmware = parse_firmware(std::move(*file), config_.firmware, config_.memory);
    if (!firmware) return firmware.failure();
    firmware_ = std::move(*firmware);
  }
  if (!config_.kernel.empty()) {
    auto kernel = read_kernel(config_.kernel, {.memory_size = config_.memory, .allow_raw = firmware_.has_value()});
    if (!kernel) return kernel.failure();
    kernel_ = std::move(*kernel);
  }
  if (!config_.initrd.empty()) {
    auto file = load("initrd", config_.initrd);
    if (!file) return file.failure();
    initrd_ = std::move(*file);
  }
  if (!config_.dtb.empty()) {
    auto file = load("device tree", config_.dtb);
    if (!file) return file.failure();
    user_device_tree_ = std::move(*file);
  }
  board_.machine_mode =
      boots_in_machine_mode({.kernel = kernel_ ? &*kernel_ : nullptr, .firmware = firmware_ ? &*firmware_ : nullptr});
  if (kernel_ && kernel_->symbols.tohost && !firmware_) board_.htif = kernel_->symbols;
  files_loaded_ = true;
  return {};
}

Result<void> Computer::make_memory(const MachineImage* image) {
  if (image) {
    // All that follows counts on it: addresses of pages are multiples of their size, and devices lie elsewhere.
    const auto& memory = image->memory;
    if (memory.base != dram_base || memory.size != config_.memory || !memory.top ||
        memory.top->pages() != memory.size >> page_shift)
      return error("the saved machine's memory of {} bytes at {:#x} does not fit", memory.size, memory.base);
    memory_ = GuestMemory::create(memory);
    return {};
  }
  auto memory = GuestMemory::create(dram_base, config_.memory);
  if (!memory) return memory.failure();
  memory_ = std::move(*memory);
  return {};
}

Result<void> Computer::make_board() {
  auto loop = EventLoop::create(lock_);
  if (!loop) return loop.failure();
  loop_ = std::move(*loop);
  input_ = std::make_unique<Input>(config_.clock, *loop_, lock_);
  if (!input_->deterministic() && HostClock::usable()) host_clock_ = &HostClock::of_host(ns_per_tick);
  if (config_.console_output) {
    console_ = Console::in_process(config_.console_output);
  } else {
    auto console = Console::open(config_.console, *loop_);
    if (!console) return console.failure();
    console_ = std::move(*console);
  }
  console_->set_input([this](std::span<const std::byte> keys) { return typed(keys); });
  console_->set_quit([this] { finish({End::Kind::off, 0}); });
  console_->set_resized([this](std::uint16_t columns, std::uint16_t rows) { resize_console(columns, rows); });
  if (auto made = make_harts(); !made) return made;

  std::vector<InterruptLine> contexts, software;
  for (unsigned i = 0; i < 2 * config_.cpus; i++) contexts.push_back({this, i});
  for (unsigned i = 0; i < config_.cpus; i++) software.push_back({this, software_interrupt_base + i});
  plic_ = std::make_unique<Plic>(std::move(contexts));
  aclint_ = std::make_unique<Aclint>(static_cast<Timebase&>(*this), std::move(software),
                                     [this](unsigned hart, std::uint64_t when) { harts_[hart]->set_mtimecmp(when); });
  uart_ = std::make_unique<Uart16550>(InterruptLine{plic_.get(), uart_map.irq},
                                      [this](std::span<const std::byte> text) { print_to_console(text); });
  uart_->set_room_callback([this] { pump_typed(); });
  rtc_ = std::make_unique<GoldfishRtc>(
      InterruptLine{plic_.get(), rtc_map.irq}, [this] { return input_->wall_ns(); },
      [this](std::int64_t wall) {
        input_->cancel(rtc_timer_);
        const auto delay = wall - input_->wall_ns();
        if (wall != GoldfishRtc::no_alarm)
          rtc_timer_ = input_->at(input_->now_ns() + delay, [this] { rtc_->alarm_fired(); });
      });
  vmgenid_ = std::make_unique<Vmgenid>(InterruptLine{plic_.get(), vmgenid_map.irq});
  Vmgenid::Identifier generation;
  input_->entropy(generation);
  vmgenid_->begin(generation);
  finisher_ = std::make_unique<TestFinisher>([this](Finish kind, unsigned code) {
    finish(kind == Finish::reset ? End{End::Kind::reboot, 0}
                                 : End{End::Kind::off, kind == Finish::pass ? 0 : int(std::clamp(code, 1u, 255u))});
  });
  devices_ = {plic_.get(), uart_.get(), rtc_.get(), vmgenid_.get(), finisher_.get()};
  bus_->attach(test_finisher_map.base, test_finisher_map.size, *finisher_);
  bus_->attach(rtc_map.base, rtc_map.size, *rtc_);
  bus_->attach(vmgenid_map.base, vmgenid_map.size, *vmgenid_);
  bus_->attach(plic_map.base, plic_map.size, *plic_);
  bus_->attach(uart_map.base, uart_map.size, *uart_);
  if (board_.machine_mode) {
    devices_.push_back(aclint_.get());
    bus_->attach(clint_map.base, clint_map.size, *aclint_);
  }
  return {};
}

Result<void> Computer::make_harts() {
  bus_ = std::make_unique<Bus>(hart_lock_);
  reservations_ = std::make_unique<riscv64::ReservationTable>(config_.cpus);
  memory_->set_write_observer(
      [this](std::uint64_t address, std::uint64_t length) { return reservations_->device_store(address, length); });
  const auto paging = config_.mmu == 39   ? riscv64::Paging::sv39
                      : config_.mmu == 48 ? riscv64::Paging::sv48
                                          : riscv64::Paging::sv57;
  riscv64::HartEnvironment& environment = *this;
  for (unsigned id = 0; id < config_.cpus; id++)
    harts_.push_back(
        std::make_unique<riscv64::Hart>(riscv64::HartConfig{.id = id,
                                                            .max_paging = paging,
                                                            .host_sbi = !board_.machine_mode,
                                                            .harts = config_.cpus,
                                                            .exact_runs = config_.clock == ClockKind::instructions,
                                                            .exact_slices = config_.clock == ClockKind::instructions},
                                        *memory_, *bus_, *reservations_, environment));
  if (config_.engine != EngineKind::interpreter) {
    auto engine = Engine::create(*memory_, config_.code_cache);
    if (!engine) return engine.failure();
    engine_ = std::move(*engine);
    for (const auto& hart : harts_)
      if (auto attached = engine_->attach(*hart); !attached) return attached;
    if (config_.engine == EngineKind::optimizing) engine_->optimize();
    // Reports are of what is translated: then all is, and nothing is found.
    if (!config_.reports.any()) {
      engine_->interpret_what_is_new();
      if (auto opened = engine_->open_store(config_.code_store); !opened) return opened;
    }
    if (auto told = report_translations(*engine_, config_.reports); !told) return told;
  }
  Scheduler::Hooks hooks{.ticks_to_ns = [this](std::uint64_t ticks) -> std::uint64_t {
    const auto relative = ticks - time_offset_;
    return relative > std::uint64_t(Scheduler::latest_ns) / ns_per_tick ? std::uint64_t(INT64_MAX)
                                                                        : relative * ns_per_tick;
  }};
  if (config_.idle) hooks.idle = [this] { tell_idle(); };
  if (board_.htif) {
    make_htif();
    hooks.between = [this] { poll_htif(); };
    hooks.quantum = 5'000;  // the guest waits for us to see what it writes
  }
  scheduler_ = std::make_unique<Scheduler>(harts_, *input_, std::move(hooks));
  hart_lock_.wait = [this](std::recursive_mutex& mutex) { scheduler_->lock(mutex); };
  memory_->set_loss_observer([this](const std::string& sentence) { lose(sentence); });
  memory_->set_replacement_observer([this](std::uint64_t page) {
    if (memory_->readers(page) == 0) return;
    scheduler_->exclusive([&] {
      for (const auto& hart : harts_) hart->forget_page(page);
    });
  });
  memory_->set_standstill([this](const std::function<void()>& action) {
    scheduler_->exclusive([&] {
      action();
      for (const auto& hart : harts_) hart->forget_pages();
    });
  });
  sbi_ = std::make_unique<Sbi>(Sbi::Host{
      .memory = *memory_,
      .harts = harts_,
      .scheduler = *scheduler_,
      .reset =
          [this](Sbi::Reset kind) {
            finish(kind == Sbi::Reset::reboot ? End{End::Kind::reboot, 0}
                                              : End{End::Kind::off, kind == Sbi::Reset::failure});
          },
      .write =
          [this](std::span<const std::byte> text) {
            std::lock_guard guard(hart_lock_);
            print_to_console(text);
          },
      .read = [this](std::span<std::byte> out) { return read_typed(out); },
      .exclusive = [this](riscv64::Hart& hart,
                          const std::function<void()>& action) { scheduler_->exclusive(hart, action); },
  });
  return {};
}

void Computer::make_htif() {
  htif_ = std::make_unique<Htif>(*board_.htif, [this](std::span<const std::byte> text) { print_to_console(text); });
}

Result<void> Computer::attach_virtio(std::unique_ptr<VirtioDevice> device) {
  if (virtio_.size() == virtio_slots)
    return error("there are more devices than the board's {} virtio slots: give fewer --disk", virtio_slots);
  const auto map = virtio_map(unsigned(virtio_.size()));
  virtio_.push_back(std::make_unique<VirtioMmio>(std::move(device), InterruptLine{plic_.get(), map.irq}));
  bus_->attach(map.base, map.size, *virtio_.back());
  devices_.push_back(virtio_.back().get());
  return {};
}

Result<std::unique_ptr<Network>> Computer::make_network() {
  if (config_.network == NetworkKind::peer) return std::unique_ptr<Network>(std::make_unique<PeerNetwork>(*input_));
  auto network = make_user_network(*loop_, config_.ports);
  if (!network) return network.failure();
  return input_->wrap(std::move(*network));
}

/// A disk, from its file or as it is in an image.
Result<std::unique_ptr<LayeredDisk>> Computer::make_disk(const DiskSpec& spec, const DiskImage* image,
                                                         const std::shared_ptr<ScratchFile>& scratch) {
  std::unique_ptr<LayeredDisk> disk;
  if (image) {
    disk = std::make_unique<LayeredDisk>(*image, spec.read_only, scratch);
  } else {
    auto as_it_is = spec;
    as_it_is.read_only |= spec.snapshot;
    auto opened = open_disk(as_it_is);
    if (!opened) return opened.failure();
    disk = spec.snapshot
               ? std::make_unique<LayeredDisk>(DiskImage{*std::move(opened), nullptr}, spec.read_only, scratch)
               : std::make_unique<LayeredDisk>(*std::move(opened), scratch);
  }
  if (spec.overlay.empty()) return disk;
  auto file = make_overlay_file(spec.overlay, spec.path);
  if (!file) return file.failure();
  new_overlays_.push_back(spec.overlay);
  if (auto kept = disk->keep_in(*std::move(file), spec.overlay); !kept) return kept.failure();
  return disk;
}

/// The disks, from their files or as they are in an image.
Result<void> Computer::make_disks(const VirtioHost& host, const MachineImage* image) {
  if (config_.disks.empty()) return {};
  if (image && image->disks.size() != config_.disks.size())
    return error("the saved machine has {} disks, and this one {}", image->disks.size(), config_.disks.size());
  // Now, because later the sandbox forbids it. A machine may do without it that is never captured.
  std::shared_ptr<ScratchFile> scratch;
  const bool needed =
      std::ranges::any_of(config_.disks, [&](auto& d) { return !d.read_only && (image || d.snapshot); });
  auto made = ScratchFile::of_process();
  if (made)
    scratch = *std::move(made);
  else if (needed)
    return made.failure();
  for (const auto& spec : config_.disks) {
    auto disk = make_disk(spec, image ? &image->disks[disks_.size()] : nullptr, scratch);
    if (!disk) return disk.failure();
    auto* const content = disk->get();
    auto requests = input_->open(*std::move(disk));
    disks_.push_back({requests.get(), content});
    const auto serial = fmt::format("doppel-{}", virtio_.size());
    auto block = std::make_unique<VirtioBlock>(host, std::move(requests), serial, std::min(config_.cpus, 4u));
    blocks_.push_back(block.get());
    if (auto attached = attach_virtio(std::move(block)); !attached) return attached;
  }
  return {};
}

Result<void> Computer::make_virtio(const MachineImage* image) {
  const VirtioHost host{*memory_, [this](std::function<void()> event) { input_->later(std::move(event)); }};
  if (auto made = make_disks(host, image); !made) return made;
  if (config_.network != NetworkKind::none) {
    auto network = make_network();
    if (!network) return network.failure();
    auto card = std::make_unique<VirtioNet>(host, std::move(*network), config_.mac);
    card_ = card.get();
    if (auto attached = attach_virtio(std::move(card)); !attached) return attached;
  }
  auto console = std::make_unique<VirtioConsole>(
      host, std::vector<ConsolePortSpec>{{.name = "", .console = true, .port = this},
                                         {.name = "doppel.identity", .console = false, .port = &identity_port_}});
  virtio_console_ = console.get();
  if (auto attached = attach_virtio(std::move(console)); !attached) return attached;
  auto entropy = std::make_unique<VirtioEntropy>(host, [this](std::span<std::byte> out) { input_->entropy(out); });
  if (auto attached = attach_virtio(std::move(entropy)); !attached) return attached;
  return make_balloon(host, image);
}

/// The last device, where the board has room for it.
Result<void> Computer::make_balloon(const VirtioHost& host, const MachineImage* image) {
  if (image ? virtio_devices(*image) <= virtio_.size() : virtio_.size() == virtio_slots) return {};
  auto balloon = std::make_unique<VirtioBalloon>(host);
  balloon_ = balloon.get();
  return attach_virtio(std::move(balloon));
}

Result<std::vector<std::byte>> Computer::build_device_tree(std::optional<AddressRange> initrd) {
  if (!user_device_tree_.empty()) return patch_device_tree(user_device_tree_, config_.dtb, config_.append, initrd);
  std::vector<unsigned> slots;
  for (unsigned i = 0; i < virtio_.size(); i++) slots.push_back(i);
  return make_device_tree({.harts = config_.cpus,
                           .memory_base = dram_base,
                           .memory_size = config_.memory,
                           .isa_extensions = isa_extensions,
                           .mmu_bits = config_.mmu,
                           .cache_block_size = riscv64::cache_block_bytes,
                           .bootargs = config_.append,
                           .initrd = initrd,
                           .rng_seed = rng_seed_,
                           .kaslr_seed = kaslr_seed_,
                           .virtio_slots = slots,
                           .machine_mode = board_.machine_mode});
}

/// Power on: everything as after a reset, the guest loaded, the first hart ready to run.
Result<void> Computer::reset() {
  if (!files_loaded_)
    if (auto loaded = load_files(); !loaded) return loaded;
  std::lock_guard guard(lock_);
  rng_seed_.resize(64);
  input_->entropy(rng_seed_);
  input_->entropy(std::as_writable_bytes(std::span(&kaslr_seed_, 1)));
  for (auto* device : devices_) device->reset();
  typed_.clear();
  hvc_in_use_ = false;
  auto plan = place({.kernel = kernel_ ? &*kernel_ : nullptr,
                     .firmware = firmware_ ? &*firmware_ : nullptr,
                     .initrd = initrd_,
                     .initrd_path = config_.initrd,
                     .confined = started_ns_ != 0,
                     .make_device_tree =
                         [this](std::optional<AddressRange> initrd) {
                           auto tree = build_device_tree(initrd);
                           if (tree) device_tree_ = *tree;
                           return tree;
                         }},
                    *memory_);
  if (!plan) return plan.failure();
  plan_ = *plan;
  if (board_.htif) {
    board_.htif = plan_.symbols;
    make_htif();
  }
  for (const auto& hart : harts_) {
    scheduler_->park(*hart);  // it may have been asleep when another hart asked for the reboot
    if (!board_.machine_mode) continue;
    hart->reset(plan_.entry, riscv64::Privilege::machine, hart->id(), plan_.device_tree);
    hart->state().x[12] = plan_.dynamic_info;
    scheduler_->start(*hart);
  }
  if (!board_.machine_mode) {
    sbi_->reset(0);
    Sbi::enter_supervisor(*harts_[0], plan_.entry, plan_.device_tree);
    scheduler_->start(*harts_[0]);
  }
  return {};
}

}  // namespace doppel
