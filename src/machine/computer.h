#pragma once
// The RISC-V board put together: what machine.h promises.
#include <array>
#include <deque>

#include "device/aclint.h"
#include "device/goldfish_rtc.h"
#include "device/plic.h"
#include "device/test_finisher.h"
#include "device/uart16550.h"
#include "device/virtio/balloon.h"
#include "device/virtio/block.h"
#include "device/virtio/console.h"
#include "device/virtio/mmio.h"
#include "device/virtio/net.h"
#include "device/vmgenid.h"
#include "machine/boot.h"
#include "machine/bus.h"
#include "machine/console.h"
#include "machine/device_tree.h"
#include "machine/host_clock.h"
#include "machine/htif.h"
#include "machine/machine.h"
#include "machine/sbi.h"
#include "machine/scheduler.h"
#include "storage/layered_disk.h"

namespace doppel {

class Computer final : public Machine,
                       private riscv64::HartEnvironment,
                       private Timebase,
                       private InterruptSink,
                       private ConsolePort {
 public:
  static Result<std::unique_ptr<Machine>> create(const MachineConfig& config, const MachineImage* image);
  ~Computer() override;

  Result<MachineOutcome> run() override;
  void pause() override;
  void resume() override;
  void pause_soon() override;
  std::int64_t guest_ns() override { return input_->now_ns(); }
  void pause_when(std::int64_t guest_ns, std::function<void()> then) override;
  void flush_disks() override;
  std::vector<std::size_t> disks_without_overlay() override;
  Result<void> keep_disk(std::size_t disk, FileDescriptor file, const std::string& path) override;
  Result<MachineImage> capture() override;
  Result<void> take_over(MachineImage image, std::int64_t elapsed_ns) override;
  std::vector<std::uint32_t> hot_pages() override;
  std::int64_t sleeps_ns() override;
  void become(const std::string& identity) override;
  void set_mac(const MacAddress& mac) override;
  std::size_t type(std::span<const std::byte> keys) override;
  void resize_console(std::uint16_t columns, std::uint16_t rows) override;
  Result<void> set_memory_target(std::uint64_t bytes) override;
  void power_off() override;
  MachineStatistics statistics() override;
  const std::vector<std::byte>& device_tree() const override { return device_tree_; }

 private:
  struct End {
    enum class Kind : std::uint8_t { off, reboot } kind;
    int status;
  };
  /// What the boot files decide about the board, and the kind of its firmware.
  struct Board {
    bool machine_mode = false;
    std::optional<HtifSymbols> htif;
    bool operator==(const Board&) const = default;
  };
  explicit Computer(const MachineConfig& config) : config_(config) {}

  // computer.cc: making
  Result<void> check_config() const;
  Result<void> open_signature();
  Result<void> load_files();
  Result<void> make_memory(const MachineImage* image);
  Result<void> make_board();
  void make_htif();
  Result<std::unique_ptr<Network>> make_network();
  Result<void> make_virtio(const MachineImage* image);
  Result<void> make_balloon(const VirtioHost& host, const MachineImage* image);
  Result<std::unique_ptr<LayeredDisk>> make_disk(const DiskSpec& spec, const DiskImage* image,
                                                 const std::shared_ptr<ScratchFile>& scratch);
  Result<void> make_disks(const VirtioHost& host, const MachineImage* image);
  Result<void> make_harts();
  Result<void> attach_virtio(std::unique_ptr<VirtioDevice> device);
  Result<std::vector<std::byte>> build_device_tree(std::optional<AddressRange> initrd);
  Result<void> reset();
  void finish(End end);
  void go_on();
  void count(MachineStatistics& all);
  bool await_end();
  Result<void> reboot();
  Result<int> serve_ends();
  Result<void> write_signature();
  void print_to_console(std::span<const std::byte> text) {
    if (!lost_) console_->write(text);
  }
  void lose(const std::string& sentence);
  void poll_htif();
  void tell_idle();

  // computer_image.cc
  std::string shape() const;
  static std::size_t virtio_devices(const MachineImage& image);
  Result<void> read_board(const MachineImage& image);
  Result<void> check_alive();
  Result<std::vector<DiskImage>> freeze_disks();
  Result<void> adopt_disks(const std::vector<DiskImage>& images);
  template <typename F>
  Result<void> for_each_record(F&& one, std::int64_t elapsed_ns = 0);
  void save_board(Writer& out) const;
  static Board restore_board(Reader& in);
  void save_keys(Writer& out) const;
  Result<void> restore_keys(Reader& in);
  /// What the guest's ticks are ahead of those of the host's monotonic clock.
  std::uint64_t ticks_ahead() const;
  void tell_offset();

  // What is typed on the console, on its way to whichever device the guest reads.
  std::size_t typed(std::span<const std::byte> keys);
  void pump_typed();
  std::size_t read_typed(std::span<std::byte> out);

  // riscv64::HartEnvironment
  std::uint64_t ticks(const riscv64::Hart&) override { return ticks(); }
  void tell_time(ir::TimeFormula& time) override;
  void supervisor_call(riscv64::Hart& hart) override { sbi_->call(hart); }
  void exclusive(riscv64::Hart& hart, const std::function<void()>& action) override {
    scheduler_->exclusive(hart, action);
  }
  void safepoint(riscv64::Hart&) override { scheduler_->safepoint(); }
  void wake(riscv64::Hart& hart) override { scheduler_->wake(hart); }
  std::span<const std::unique_ptr<riscv64::Hart>> harts() override { return harts_; }
  // Timebase
  std::uint64_t ticks() override;
  void set_offset(std::uint64_t offset) override;
  // InterruptSink: the PLIC's contexts (2 a hart: M, S) and behind them the ACLINT's software interrupts
  void set_level(unsigned source, bool level) override;
  /// The port from which the guest reads which copy it is.
  struct IdentityPort final : ConsolePort {
    explicit IdentityPort(Computer& computer) : computer(computer) {}
    std::size_t output(std::span<const std::byte> data) override { return data.size(); }
    void guest_open(bool open) override;
    Computer& computer;
  };
  void tell_identity();
  // ConsolePort: the guest's hvc0
  std::size_t output(std::span<const std::byte> data) override;
  void input_room() override { pump_typed(); }

  MachineConfig config_;
  std::recursive_mutex lock_;  // the device lock
  DeviceLock hart_lock_{lock_};
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Input> input_;
  HostClock* host_clock_ = nullptr;  // with the host's clock and a counter that is one
  std::unique_ptr<Console> console_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<Bus> bus_;
  std::unique_ptr<riscv64::ReservationTable> reservations_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::unique_ptr<riscv64::Hart>> harts_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Sbi> sbi_;

  std::unique_ptr<Plic> plic_;
  std::unique_ptr<Aclint> aclint_;
  std::unique_ptr<Uart16550> uart_;
  std::unique_ptr<GoldfishRtc> rtc_;
  std::unique_ptr<Vmgenid> vmgenid_;
  std::unique_ptr<TestFinisher> finisher_;
  std::vector<std::unique_ptr<VirtioMmio>> virtio_;
  VirtioConsole* virtio_console_ = nullptr;
  std::vector<VirtioBlock*> blocks_;
  VirtioNet* card_ = nullptr;         // null: no network
  VirtioBalloon* balloon_ = nullptr;  // null: no slot was left, or it was captured before there were balloons
  struct DiskParts {
    AsyncDisk* requests;  // the device's
    LayeredDisk* content;
  };
  std::vector<DiskParts> disks_;
  std::vector<std::string> new_overlays_;  // go again when the machine comes to nothing
  std::vector<Device*> devices_;           // all of them, in the order in which they reset
  std::unique_ptr<Htif> htif_;
  std::uint64_t rtc_timer_ = 0;

  bool files_loaded_ = false;
  std::optional<LoadedKernel> kernel_, firmware_;
  std::vector<std::byte> initrd_, user_device_tree_, device_tree_, rng_seed_;
  std::uint64_t kaslr_seed_ = 0;
  BootPlan plan_;
  FileDescriptor signature_;
  Board board_;
  std::atomic<std::uint64_t> time_offset_ = 0;

  static constexpr std::size_t max_typed = 4096;
  std::deque<std::byte> typed_;
  IdentityPort identity_port_{*this};
  bool hvc_in_use_ = false;  // the guest has written to hvc0: keys go there

  std::thread io_thread_;
  std::mutex end_lock_;
  std::condition_variable ended_;
  std::optional<End> end_;
  std::string loss_;                // why memory could not be had; under end_lock_
  std::atomic<bool> lost_ = false;  // from then on nothing of the guest gets out
  bool paused_ = false;             // under end_lock_, as what follows
  bool started_ = false;            // run() lets harts run, but not before it is in the sandbox
  bool serves_ends_ = false;        // run() takes care of the guest's ends
  bool powered_off_ = false;        // by the machine's owner
  std::atomic<std::int64_t> started_ns_ = 0, ran_ns_ = 0;
};

}  // namespace doppel
