#pragma once
// The code in an ELF object that LLVM made (System V ABI, AMD64 supplement 4.4).
#include <span>
#include <string_view>

#include "codegen/region.h"

namespace doppel::optimizing {

/// Takes the code and the constants behind it out of an object file with one function, into `out.text`, and the jumps
/// to undefined functions called PREFIX and a number into `out.jumps`. False where the object refers to anything else.
bool read_object(std::span<const std::byte> file, std::string_view prefix, RegionObject& out);

}  // namespace doppel::optimizing
