#pragma once
// A text as its lexical structure (core specification, 6.3): tokens, and the annotations that stand between them.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guest/wasm/text/assemble.h"

namespace doppel::wasm::text {

enum class TokenKind : std::uint8_t {
  open,
  close,
  string,
  identifier,  ///< $x or $"x"
  natural,     ///< an integer without a sign
  integer,     ///< with one
  floating,
  keyword,   ///< perhaps one that nothing means, see is_keyword()
  reserved,  ///< what is none of these
  end,
};

/// A token by its place in the text, in bytes.
struct Token {
  TokenKind kind = TokenKind::end;
  std::uint32_t offset = 0, size = 0;
};

/// `(@id …)` with an id that means something (is_known_annotation()).
struct Annotation {
  std::string_view id;
  std::uint32_t offset = 0;          ///< of its parenthesis in the text
  std::uint32_t before = 0;          ///< the number of the token that follows it
  std::uint32_t begin = 0, end = 0;  ///< its own tokens, in TokenList::of_annotations
};

/// All tokens of a text, up to the end or to what is no token.
struct TokenList {
  std::string_view text;
  std::vector<Token> tokens;            ///< the last one is `end`
  std::vector<Token> of_annotations;    ///< before that of each annotation's end lies an `end` token
  std::vector<Annotation> annotations;  ///< in the text's order
  std::vector<std::uint32_t> lines;     ///< where each begins
  std::optional<std::string> error;     ///< what is wrong at the last token

  std::string_view spelling(const Token& token) const { return text.substr(token.offset, token.size); }
  /// Line and column of a byte, from 1.
  SourcePlace place(std::uint32_t offset) const;
  TextError error_at(std::uint32_t offset, std::string message) const;
};

/// Reads all of `text`, which must outlive what comes back. Texts of 1 GiB and more are refused.
TokenList tokenize(std::string_view text);

/// Whether annotations with this id are kept: custom, name and metadata.code.branch_hint.
bool is_known_annotation(std::string_view id);

/// Whether the character may be part of an identifier (6.3.5, idchar).
bool is_identifier_character(char c);

}  // namespace doppel::wasm::text
