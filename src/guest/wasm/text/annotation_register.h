#pragma once
// The annotations of a module, each of which is taken by the construct that it belongs to; what is left is misplaced.
#include <cstdint>
#include <string_view>
#include <vector>

#include "guest/wasm/text/cursor.h"
#include "guest/wasm/text/token.h"

namespace doppel::wasm::text {

class AnnotationRegister {
 public:
  /// Of those that stand before the tokens [begin, end].
  AnnotationRegister(const TokenList& list, std::uint32_t begin, std::uint32_t end);

  /// The first that was not taken yet of those that stand before the token `position`; null if there is none.
  const Annotation* take(std::uint32_t position, std::string_view id);
  /// All of these.
  std::vector<const Annotation*> take_all(std::uint32_t position, std::string_view id);
  /// The first that nobody took; null if there is none.
  const Annotation* left() const;

 private:
  struct Entry {
    const Annotation* annotation;
    bool taken = false;
  };
  std::vector<Entry>::iterator first_before(std::uint32_t position);
  std::vector<Entry> entries_;
};

/// "@custom annotation: …", where the annotation is.
void fail_annotation(Cursor& cursor, const Annotation& annotation, std::string_view what);

/// The name that an annotation `(@name "…")` gives.
std::string annotated_name(Cursor& cursor, const Annotation& annotation);

}  // namespace doppel::wasm::text
