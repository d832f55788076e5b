// What a client sends, in any pieces, becomes a request or a sentence; what lies in a machine's folder becomes a record
// or one.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/control_request.h"
#include "api/machine_record.h"
#include "api/statistics_record.h"

using namespace doppel;

namespace {

void read_in_pieces(std::span<const std::byte> bytes, std::size_t piece) {
  RequestReader reader;
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), piece));
    bytes = bytes.subspan(part.size());
    const auto request = reader.add(part, {});
    if (!request && request.message().empty()) std::abort();
    if (!request) return;
    if (!*request) continue;
    static_cast<void>((*request)->number("columns", 1, 0xffff));
    static_cast<void>(answer_line((*request)->arguments));
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  read_in_pieces(std::as_bytes(std::span(text)), data[0] + 1U);
  if (const auto answer = parse_answer(text)) static_cast<void>(statistics_json(read_statistics(*answer)));
  for (const bool alive : {false, true}) static_cast<void>(describe(parse_status(text, alive)));
  const auto record = parse_record(text);
  if (!record) return record.message().empty() ? std::abort(), 0 : 0;
  const auto again = parse_record(record_text(*record));
  if (!again || record_text(*again) != record_text(*record)) std::abort();
  return 0;
}
