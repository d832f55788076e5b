// The first pass over a module: which identifiers there are, and what index each has. What is not well-formed is passed
// over: later passes see it again.
#include "guest/wasm/text/assembly.h"

namespace doppel::wasm::text {

namespace {

class Declarations {
 public:
  explicit Declarations(Assembly& assembly) : assembly_(assembly), cursor_(assembly.cursor) {}

  void field() {
    const auto word = cursor_.word_after_open();
    cursor_.take();
    const auto begin = cursor_.position();
    if (!word.empty()) cursor_.take();
    if (const auto kind = extern_kind(word)) {
      assembly_.bind(assembly_.externs_of(*kind));
      segments_within();
    } else if (word == "import") {
      import();
    } else if (word == "type") {
      assembly_.bind(assembly_.type_space);
    } else if (word == "rec") {
      group();
    } else if (word == "elem") {
      assembly_.bind(assembly_.elements);
    } else if (word == "data") {
      assembly_.bind(assembly_.data);
    }
    cursor_.move_to(begin);
    cursor_.skip_group();
  }

 private:
  void import() {
    cursor_.take();
    cursor_.take();
    const auto kind = extern_kind(cursor_.word_after_open());
    if (!kind) return;
    cursor_.take();
    cursor_.take();
    assembly_.bind(assembly_.externs_of(*kind));
  }

  void group() {
    while (cursor_.take_open("type")) {
      assembly_.bind(assembly_.type_space);
      cursor_.skip_group();
    }
  }

  /// `(table … (elem …))` and `(memory … (data …))` have a segment in them.
  void segments_within() {
    while (!cursor_.at(TokenKind::close) && !cursor_.at_end()) {
      if (cursor_.at_open("elem")) assembly_.elements.add();
      if (cursor_.at_open("data")) assembly_.data.add();
      if (cursor_.take().kind == TokenKind::open) cursor_.skip_group();
    }
  }

  Assembly& assembly_;
  Cursor& cursor_;
};

}  // namespace

void declare_fields(Assembly& assembly) {
  auto& cursor = assembly.cursor;
  const auto begin = cursor.position();
  Declarations declarations(assembly);
  while (cursor.at(TokenKind::open)) declarations.field();
  cursor.move_to(begin);
}

}  // namespace doppel::wasm::text
