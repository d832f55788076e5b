#pragma once
// SHA-256, for what an adversary may have chosen.
#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>

namespace doppel {

using Sha256 = std::array<std::byte, 32>;

/// The hash of the parts one after the other. Makes no system call, and needs nothing set up before.
Sha256 sha256(std::initializer_list<std::span<const std::byte>> parts);

}  // namespace doppel
