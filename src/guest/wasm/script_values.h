#pragma once
// Whether what a program gives is what a script of the specification's tests expects.
#include <span>
#include <string>

#include "guest/wasm/text/script.h"
#include "guest/wasm/value.h"

namespace doppel::wasm {

bool matches(const text::ScriptValue& expected, Cell actual);
/// Whether they are as many, and each matches.
bool matches(std::span<const text::ScriptValue> expected, std::span<const Cell> actual);

/// For messages: the bits of each.
std::string spelling(std::span<const Cell> values);
std::string spelling(std::span<const text::ScriptValue> values);

}  // namespace doppel::wasm
