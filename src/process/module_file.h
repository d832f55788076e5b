#pragma once
// Modules in files: binary, or in the text format.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "guest/wasm/module.h"

namespace doppel {

/// Reads, parses and validates a module, but for the bodies of functions in large ones, which are validated when they
/// are first called: see docs/wasm.md. Error: one sentence with the place.
Result<std::shared_ptr<const wasm::Module>> load_module(const std::string& path);

/// The same, and every body in any case.
Result<std::shared_ptr<const wasm::Module>> load_valid_module(const std::string& path);

/// Modules with more bytes of code than this are validated function by function. Smaller ones take less than some
/// milliseconds.
inline constexpr std::uint32_t eagerly_validated_bytes = 1 << 18;

/// All bytes of a file or pipe, at most as many as a module may have. Error: one sentence.
Result<std::vector<std::uint8_t>> read_whole_file(const std::string& path);

/// Whether the file at `path` is one that load_module() takes, by its first bytes or, for text, by its name.
bool names_module(const std::string& path);

}  // namespace doppel
