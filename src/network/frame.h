#pragma once
#include <cstddef>
#include <span>

namespace doppel {

/// Whether a frame from the guest, no fragment, could make the user-mode stack open a host socket: all of IP except TCP
/// segments that belong to a connection (SYN not set).
bool may_open_socket(std::span<const std::byte> frame);

}  // namespace doppel
