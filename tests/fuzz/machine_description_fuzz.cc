// Whatever a captured machine's description is made of, it is a machine that describes itself in the same way, or one
// sentence for a terminal.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "snapshot/machine_description.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto config = machine_described(std::string(reinterpret_cast<const char*>(data), size));
  if (!config) {
    const auto& sentence = config.message();
    const bool sound =
        !sentence.empty() && sentence.size() < 1000 &&
        std::ranges::none_of(sentence, [](unsigned char letter) { return letter < ' ' || letter == 0x7f; });
    return sound ? 0 : (std::abort(), 0);
  }
  config->disks.clear();  // what is described of them is what their files are, which is none of this
  const auto text = describe_machine(*config, {});
  const auto again = machine_described(text);
  if (!again || describe_machine(*again, {}) != text) std::abort();
  return 0;
}
