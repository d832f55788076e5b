#pragma once
#include <cstdint>
#include <functional>

#include "device/device.h"

namespace doppel {

/// How a guest ended its machine.
enum class Finish { pass, reset, fail };

/// SiFive's test finisher ("sifive,test1"): a write to its only register ends the machine or starts it again.
class TestFinisher final : public Device {
 public:
  /// `code` is 0 to 65535 for fail, and 0 otherwise. Called on the writing hart's thread, once for each such write.
  using Finished = std::function<void(Finish kind, unsigned code)>;
  explicit TestFinisher(Finished finished) : finished_(std::move(finished)) {}

  std::string_view name() const override { return "test-finisher"; }
  std::uint64_t window() const override { return 0x1000; }
  void reset() override {}
  bool read(std::uint64_t offset, unsigned size, std::uint64_t& value) override;
  bool write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
  /// It has no state.
  void save(Writer&) const override {}
  Result<void> restore(Reader&) override { return {}; }

 private:
  Finished finished_;
};

}  // namespace doppel
