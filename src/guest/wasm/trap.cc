#include <array>

#include "guest/wasm/value.h"

namespace doppel::wasm {
namespace {
constexpr auto spellings = std::to_array<std::string_view>({
#define TRAP(name, text) text,
#include "guest/wasm/traps.inc"
});
}  // namespace

std::string_view spelling(Trap trap) { return spellings[std::size_t(trap)]; }

}  // namespace doppel::wasm
