// A hostile driver and hostile snapshots against every simple device of the board.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <memory>

#include "device/aclint.h"
#include "device/goldfish_rtc.h"
#include "device/plic.h"
#include "device/test_finisher.h"
#include "device/uart16550.h"

namespace doppel {
namespace {

constexpr unsigned wires = 64;

/// Refuses levels of wires that do not exist.
struct Wires : InterruptSink {
  std::uint64_t level = 0;
  void set_level(unsigned source, bool now) override {
    if (source >= wires) std::abort();
    level = now ? level | 1ULL << source : level & ~(1ULL << source);
  }
};

struct Clock : Timebase {
  std::uint64_t now = 0;
  std::uint64_t ticks() override { return now; }
  void set_offset(std::uint64_t) override {}
};

struct Board {
  Wires sink;
  Clock clock;
  std::int64_t wall = 1'700'000'000'000'000'000;
  std::size_t unread = 0;
  Uart16550 uart{{&sink, 0}, [](std::span<const std::byte>) {}};
  Plic plic{{{&sink, 0}, {&sink, 1}, {&sink, 2}, {&sink, 3}}};
  Aclint aclint{clock, {{&sink, 4}, {&sink, 5}}, [](unsigned hart, std::uint64_t) {
                  if (hart >= 2) std::abort();
                }};
  GoldfishRtc rtc{{&sink, 6}, [this] { return wall; }, [](std::int64_t) {}};
  TestFinisher finisher{[](Finish, unsigned code) {
    if (code > 0xffff) std::abort();
  }};
  Device* devices[5] = {&uart, &plic, &aclint, &rtc, &finisher};

  Board() {
    uart.set_room_callback([this] { offer(); });
  }
  void offer() {
    const std::byte bytes[40] = {};
    const auto taken = uart.receive(std::span(bytes).first(std::min<std::size_t>(unread, sizeof bytes)));
    if (taken > unread) std::abort();
    unread -= taken;
  }
};

void access(Board& board, FuzzedDataProvider& input) {
  auto& device = *board.devices[input.ConsumeIntegralInRange<unsigned>(0, 4)];
  const unsigned size = 1u << input.ConsumeIntegralInRange<unsigned>(0, 3);
  const auto offset = input.ConsumeIntegralInRange<std::uint64_t>(0, device.window() - 1);
  std::uint64_t value = 0;
  if (input.ConsumeBool()) {
    device.write(offset, size, input.ConsumeIntegral<std::uint64_t>());
  } else {
    device.read(offset, size, value);
  }
}

// Low registers are where things happen; the rest of a window is mostly empty.
void access_low(Board& board, FuzzedDataProvider& input) {
  auto& device = *board.devices[input.ConsumeIntegralInRange<unsigned>(0, 4)];
  const std::uint64_t bases[] = {0, 0x2000, 0x2080, 0x200000, 0x201000, 0x4000, 0xbff8};
  const auto offset = input.PickValueInArray(bases) + 4 * input.ConsumeIntegralInRange<unsigned>(0, 8);
  std::uint64_t value = 0;
  if (offset >= device.window()) return;
  device.write(offset, 4, input.ConsumeIntegral<std::uint32_t>());
  device.read(offset, 4, value);
}

// What a device saved it must take back, and save again as it was.
void copy_to(Board& board, std::unique_ptr<Board>& copy) {
  copy = std::make_unique<Board>();
  copy->clock.now = board.clock.now;
  copy->wall = board.wall;
  for (unsigned i = 0; i < 5; i++) {
    Writer first, second;
    board.devices[i]->save(first);
    Reader in(first.data());
    if (!copy->devices[i]->restore(in)) std::abort();
    copy->devices[i]->save(second);
    const bool alarm_went_off = board.devices[i] == &board.rtc;
    if (!alarm_went_off && first.data() != second.data()) std::abort();
  }
}

void restore_hostile(Board& board, FuzzedDataProvider& input) {
  auto& device = *board.devices[input.ConsumeIntegralInRange<unsigned>(0, 4)];
  Writer out;
  device.save(out);
  auto bytes = out.take();
  if (input.ConsumeBool()) {
    const auto other = input.ConsumeBytes<std::uint8_t>(input.ConsumeIntegralInRange<std::size_t>(0, 400));
    bytes.assign(reinterpret_cast<const std::byte*>(other.data()),
                 reinterpret_cast<const std::byte*>(other.data()) + other.size());
  } else if (!bytes.empty()) {
    bytes[input.ConsumeIntegralInRange<std::size_t>(0, bytes.size() - 1)] =
        std::byte{input.ConsumeIntegral<std::uint8_t>()};
  }
  Reader in(bytes);
  (void)device.restore(in).ok();
}

void outside(Board& board, FuzzedDataProvider& input) {
  board.plic.set_level(input.ConsumeIntegralInRange<unsigned>(0, 100), input.ConsumeBool());
  board.unread += input.ConsumeIntegralInRange<unsigned>(0, 40);
  board.offer();
  board.clock.now += input.ConsumeIntegral<std::uint32_t>();
  board.wall += input.ConsumeIntegral<std::int32_t>();
  board.rtc.alarm_fired();
}

}  // namespace
}  // namespace doppel

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  FuzzedDataProvider input(data, size);
  auto board = std::make_unique<Board>();
  std::unique_ptr<Board> copy;
  while (input.remaining_bytes() > 0) {
    switch (input.ConsumeIntegralInRange<unsigned>(0, 7)) {
      case 0:
        copy_to(*board, copy);
        board.swap(copy);
        break;
      case 1:
        restore_hostile(*board, input);
        break;
      case 2:
        outside(*board, input);
        break;
      case 3:
        board->devices[input.ConsumeIntegralInRange<unsigned>(0, 4)]->reset();
        break;
      case 4:
      case 5:
        access_low(*board, input);
        break;
      default:
        access(*board, input);
        break;
    }
  }
  return 0;
}
