#pragma once
// Joins what the optimizing generator compiled with this one's ways out of a block.
#include "codegen/fast/generator.h"
#include "codegen/region.h"

namespace doppel::fast {

/// The object's code with its exits behind it, ready for code memory; it is entered at its begin.
GeneratedCode link_region(const RegionObject& object, const GuestLayout& layout);

}  // namespace doppel::fast
