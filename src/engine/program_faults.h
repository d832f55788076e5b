#pragma once
// Faults of the host in generated code: a signal's handler that lets it go on at its program's way out. Faults
// elsewhere go to the handler that was there before.
#include <cstdint>
#include <span>

namespace doppel {

/// Code whose faults of memory are traps, as long as this exists. From any thread.
class FaultingCode {
 public:
  /// `way_out` is jumped to with the address of the instruction that faulted in rax. At most `most` can exist.
  FaultingCode(std::span<const std::byte> code, const std::byte* way_out);
  ~FaultingCode();
  FaultingCode(const FaultingCode&) = delete;
  FaultingCode& operator=(const FaultingCode&) = delete;
  /// False where there are too many already.
  bool known() const { return place_ >= 0; }

  static constexpr int most = 1024;

 private:
  int place_ = -1;
};

}  // namespace doppel
