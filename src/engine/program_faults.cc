#include "engine/program_faults.h"

#include <signal.h>
#include <ucontext.h>

#include <array>
#include <atomic>
#include <mutex>

namespace doppel {
namespace {

/// Read by the handler without a lock: `end` is 0 while the rest changes.
struct Range {
  std::atomic<std::uintptr_t> begin = 0, end = 0, way_out = 0;
};
std::array<Range, FaultingCode::most> ranges;
std::atomic<int> used_ranges = 0;
std::mutex mutex;
struct sigaction previous[2];  // of SIGSEGV, SIGBUS

std::uintptr_t way_out_of(std::uintptr_t pc) {
  for (int n = 0; n < used_ranges.load(std::memory_order_acquire); n++) {
    const auto end = ranges[std::size_t(n)].end.load(std::memory_order_acquire);
    if (pc < end && pc >= ranges[std::size_t(n)].begin.load(std::memory_order_relaxed))
      return ranges[std::size_t(n)].way_out.load(std::memory_order_relaxed);
  }
  return 0;
}

void pass_on(int signal, siginfo_t* info, void* context) {
  const struct sigaction& before = previous[signal == SIGBUS];
  if (before.sa_flags & SA_SIGINFO) return before.sa_sigaction(signal, info, context);
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(signal);
  struct sigaction plain{};
  plain.sa_handler = SIG_DFL;
  sigaction(signal, &plain, nullptr);  // the fault comes again, and ends the process
}

void on_fault(int signal, siginfo_t* info, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto pc = std::uintptr_t(registers[REG_RIP]);
  const auto way_out = way_out_of(pc);
  if (way_out == 0) return pass_on(signal, info, context);
  registers[REG_RAX] = greg_t(pc);
  registers[REG_RIP] = greg_t(way_out);
}

void install() {
  struct sigaction action{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGSEGV, &action, &previous[0]);
  sigaction(SIGBUS, &action, &previous[1]);
}

}  // namespace

FaultingCode::FaultingCode(std::span<const std::byte> code, const std::byte* way_out) {
  static std::once_flag installed;
  std::call_once(installed, install);
  const std::lock_guard lock(mutex);
  for (int n = 0; n < most && place_ < 0; n++)
    if (ranges[std::size_t(n)].end.load(std::memory_order_relaxed) == 0) place_ = n;
  if (place_ < 0) return;
  Range& range = ranges[std::size_t(place_)];
  const auto begin = reinterpret_cast<std::uintptr_t>(code.data());
  range.begin.store(begin, std::memory_order_relaxed);
  range.way_out.store(reinterpret_cast<std::uintptr_t>(way_out), std::memory_order_relaxed);
  range.end.store(begin + code.size(), std::memory_order_release);
  if (place_ >= used_ranges.load(std::memory_order_relaxed)) used_ranges.store(place_ + 1, std::memory_order_release);
}

FaultingCode::~FaultingCode() {
  if (place_ < 0) return;
  const std::lock_guard lock(mutex);
  ranges[std::size_t(place_)].end.store(0, std::memory_order_release);
}

}  // namespace doppel
