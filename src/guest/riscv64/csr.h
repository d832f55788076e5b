#pragma once
#include <cstdint>
#include <string_view>

namespace doppel::riscv64 {

class Hart;
struct Op;

/// One control and status register: how it reads and what a write does. WARL rules are in `write`.
struct Csr {
  std::string_view name;
  std::uint64_t (*read)(Hart& hart, const Op& op) = nullptr;
  void (*write)(Hart& hart, const Op& op, std::uint64_t value) = nullptr;
  bool (*accessible)(const Hart& hart) = nullptr;  // beyond the privilege in its number; null is always

  /// The register with this number (0 to 4095), or null when there is none.
  static const Csr* find(unsigned number);
  /// Fills the table; rows live in csr.cc.
  struct Table;
};

}  // namespace doppel::riscv64
