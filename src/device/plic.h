#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "device/device.h"

namespace doppel {

/// The platform-level interrupt controller in SiFive's layout with level-triggered gateways (RISC-V PLIC
/// specification 1.0).
class Plic final : public Device, public InterruptSink {
 public:
  /// Numbers of sources; source 0 means "none", so devices use 1 to 95 (the device tree's riscv,ndev is 95).
  static constexpr unsigned sources = 96;
  static constexpr unsigned max_priority = 7;
  static constexpr unsigned max_contexts = 64;

  /// One output a context: hart 0's M mode, its S mode, hart 1's M mode … At most max_contexts; more are not used.
  explicit Plic(std::vector<InterruptLine> outputs);

  /// A device's wire. Unknown sources are ignored.
  void set_level(unsigned source, bool level) override;

  std::string_view name() const override { return "plic"; }
  std::uint64_t window() const override { return 0x600000; }
  void reset() override;
  /// Aligned 4-byte accesses; one of 8 bytes is two of 4, the lower first; others are access faults.
  bool read(std::uint64_t offset, unsigned size, std::uint64_t& value) override;
  bool write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
  void save(Writer& out) const override;
  Result<void> restore(Reader& in) override;

 private:
  static constexpr unsigned words = sources / 32;
  using Bits = std::array<std::uint32_t, words>;
  struct Context {
    Bits enabled = {};
    std::uint32_t threshold = 0;
  };
  struct State {
    Bits level = {};    ///< what the wires say
    Bits pending = {};  ///< requests that the gateways passed on and nobody claimed
    Bits claimed = {};  ///< claimed and not completed: the gateway passes nothing on
    std::array<std::uint8_t, sources> priority = {};
  };

  std::uint32_t read_word(std::uint64_t offset);
  void write_word(std::uint64_t offset, std::uint32_t value);
  std::uint32_t read_context(unsigned context, std::uint64_t reg);
  void write_context(unsigned context, std::uint64_t reg, std::uint32_t value);
  unsigned best(const Context& context) const;
  std::uint32_t claim(Context& context);
  void complete(const Context& context, std::uint32_t source);
  void pass_requests();
  /// Sets the outputs that changed, or all of them.
  void update_outputs(bool all = false);

  State state_;
  std::vector<Context> contexts_;
  std::vector<InterruptLine> outputs_;
  std::uint64_t driven_ = 0;  ///< what the outputs were set to last, a bit a context; follows from the state
};

}  // namespace doppel
