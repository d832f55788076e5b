#pragma once
// The functions of WASI preview 1 and of its forerunner wasi_unstable, a row each.
#include <span>
#include <string_view>

#include "process/wasi/context.h"

namespace doppel::wasi {

struct FunctionRow {
  std::string_view name;
  std::string_view parameters, results;  ///< a letter each: i an i32, I an i64
  Answer (*call)(Context& context, const GuestView& memory, std::span<const wasm::Cell> arguments);
};

/// Module wasi_snapshot_preview1: all of it.
std::span<const FunctionRow> preview1_functions();
/// Module wasi_unstable: what it has otherwise. Everything else but sock_accept is as in preview 1.
std::span<const FunctionRow> unstable_functions();

}  // namespace doppel::wasi
