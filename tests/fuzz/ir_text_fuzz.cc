// The parser of IR on any text, and the verifier on what it takes: no text may do more than be refused with a sentence,
// and what was read is the same when it is printed and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  const auto code = ir::parse({reinterpret_cast<const char*>(data), size});
  if (!code) {
    require(code.message().starts_with("line ") && code.message().find('\n') == std::string::npos);
    return 0;
  }
  const auto again = ir::parse(ir::print(*code));
  require(again.ok() && *again == *code);
  if (const auto sound = ir::verify(*code); !sound) require(!sound.failure().message.empty());
  return 0;
}
