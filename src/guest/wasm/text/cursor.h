#pragma once
// A place in a list of tokens, from which parsers take what they expect. After an error it stands at the end for ever,
// so that they need to look at errors only where they would not come to an end otherwise.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "guest/wasm/text/token.h"

namespace doppel::wasm::text {

class Cursor {
 public:
  /// Over the tokens [begin, end); the list must outlive it.
  Cursor(const TokenList& list, std::uint32_t begin, std::uint32_t end);
  /// Over the tokens of an annotation.
  static Cursor over(const TokenList& list, const Annotation& annotation);

  const TokenList& list() const { return *list_; }
  std::uint32_t position() const { return at_; }
  void move_to(std::uint32_t position);
  /// The token that comes after `ahead` others; the end's where there is none.
  const Token& peek(std::uint32_t ahead = 0) const;
  std::string_view spelling(const Token& token) const { return list_->spelling(token); }
  std::string_view spelling() const { return spelling(peek()); }

  bool at(TokenKind kind) const { return peek().kind == kind; }
  bool at_keyword(std::string_view word, std::uint32_t ahead = 0) const;
  /// Whether `(word` comes next.
  bool at_open(std::string_view word) const;
  bool at_end() const { return at(TokenKind::end); }
  /// Whether an identifier or a number comes next.
  bool at_index() const { return at(TokenKind::identifier) || at(TokenKind::natural); }

  Token take();
  /// Takes it if it comes next.
  bool take_keyword(std::string_view word);
  bool take_open(std::string_view word);
  /// "unexpected token" if it does not come next.
  bool expect(TokenKind kind);
  bool expect_keyword(std::string_view word);
  bool expect_open(std::string_view word);
  bool close() { return expect(TokenKind::close); }
  /// The word behind a parenthesis; empty if there is none.
  std::string_view word_after_open() const;

  /// A string's bytes.
  std::string string();
  /// A string that is well-formed UTF-8.
  std::string name();
  /// A natural number of `bits` bits, "i32 constant out of range" beyond.
  std::uint64_t natural(unsigned bits);
  /// The name of the identifier that comes next, without `$` and escapes.
  std::string identifier();
  /// The same of any token that is one.
  std::string identifier_at(const Token& token) const;

  /// Takes what is left up to the parenthesis that closes where this is, and this; false if there is none.
  bool skip_group();

  void unexpected();
  void fail(std::string message) { fail_at(peek(), std::move(message)); }
  void fail_at(const Token& token, std::string message) { fail_at(token.offset, std::move(message)); }
  void fail_at(std::uint32_t offset, std::string message);
  void fail(TextError error);
  bool failed() const { return error_.has_value(); }
  const std::optional<TextError>& error() const { return error_; }

 private:
  Cursor(const TokenList& list, const std::vector<Token>& tokens, std::uint32_t begin, std::uint32_t end);
  const TokenList* list_;
  const std::vector<Token>* tokens_;
  std::uint32_t at_, end_;
  Token end_token_;
  std::optional<TextError> error_;
};

}  // namespace doppel::wasm::text
