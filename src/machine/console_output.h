#pragma once
// Bytes to a descriptor that may be slow, stuck or gone, without stopping the machine sooner than must be.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "machine/host_signals.h"

namespace doppel {

/// One destination. Called under the device lock.
class ConsoleOutput {
 public:
  static constexpr std::size_t limit = 1 << 20;  // bytes in the buffer before write() waits

  /// `descriptor` is never made non-blocking, which others who share it would notice: a terminal or a pipe is opened a
  /// second time, a socket is asked not to wait. `patience_ms`: how long a full buffer waits for progress; -1 is for
  /// ever.
  ConsoleOutput(FileDescriptor descriptor, EventLoop& loop, HostSignals& signals, int patience_ms = -1);
  ConsoleOutput(const ConsoleOutput&) = delete;
  /// Drops what is buffered.
  ~ConsoleOutput();

  void write(std::span<const std::byte> data);
  /// Waits until the buffer is empty, the destination is gone or a signal ends the machine.
  void drain();
  /// Nobody takes the output any more; write() drops it.
  bool gone() const { return gone_; }
  bool empty() const { return sent_ == buffer_.size(); }

 private:
  void flush();
  std::size_t put(std::span<const std::byte> data);
  bool wait_for_room();
  void give_up();
  void watch();

  FileDescriptor descriptor_;
  EventLoop& loop_;
  HostSignals& signals_;
  int patience_ms_;
  bool socket_ = false, may_block_ = false;
  bool gone_ = false, watched_ = false;
  std::vector<std::byte> buffer_;
  std::size_t sent_ = 0;  // bytes of the buffer that are written
};

}  // namespace doppel
