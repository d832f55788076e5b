#pragma once
// Constant expressions in the sight of an instance: what global.get and ref.func in them name is in its index spaces.
#include "guest/wasm/store.h"

namespace doppel::wasm {

/// The value of a constant expression of the instance's module (4.7.3). The globals that it names are there.
Cell constant_of(const Store& store, const Instance& instance, ConstantExpression expression);

/// The nth reference of an element segment. As constant expressions read what never changes, it does not matter when
/// they are evaluated: the segment needs no copy in the instance.
Reference element_of(const Store& store, const Instance& instance, const ElementSegment& segment, std::uint32_t n);

}  // namespace doppel::wasm
