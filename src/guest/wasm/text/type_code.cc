#include "guest/wasm/text/type_code.h"

namespace doppel::wasm::text {

void TypeCode::encode(Encoder& out) const {
  if (is_reference()) {
    // A nullable reference to an abstract type has one byte.
    if (code == reference || heap >= 0) out.byte(code);
    out.signed_leb(heap);
  } else {
    out.byte(code);
  }
}

namespace {

void encode_all(Encoder& out, const std::vector<TypeCode>& types) {
  out.unsigned_leb(types.size());
  for (const auto& type : types) type.encode(out);
}

}  // namespace

void Signature::encode(Encoder& out) const {
  out.byte(0x60);
  encode_all(out, parameters);
  encode_all(out, results);
}

}  // namespace doppel::wasm::text
