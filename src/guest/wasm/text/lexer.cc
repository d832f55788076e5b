#include <algorithm>
#include <array>

#include "guest/wasm/byte_reader.h"
#include "guest/wasm/text/literal.h"
#include "guest/wasm/text/token.h"
#include "guest/wasm/text/utf8.h"

namespace doppel::wasm::text {

namespace {

constexpr std::uint32_t most_bytes = 1U << 30;

constexpr std::array<bool, 256> identifier_characters = [] {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; c++) table[c] = true;
  for (int c = 'a'; c <= 'z'; c++) table[c] = table[c - 'a' + 'A'] = true;
  for (const char c : std::string_view("!#$%&'*+-./:<=>?@\\^_`|~")) table[std::uint8_t(c)] = true;
  return table;
}();

bool is_identifier(std::string_view text) { return std::ranges::all_of(text, is_identifier_character); }

TokenKind kind_of_run(std::string_view run) {
  if (run[0] == '$') {
    const bool quoted = run.size() > 1 && run[1] == '"' && string_length(run.substr(1)).size == run.size() - 1;
    return quoted || is_identifier(run) ? TokenKind::identifier : TokenKind::reserved;
  }
  if (run[0] == '"') return string_length(run).size == run.size() ? TokenKind::string : TokenKind::reserved;
  if (!is_identifier(run)) return TokenKind::reserved;
  if (const auto kind = number_kind(run); kind != TokenKind::reserved) return kind;
  return run[0] >= 'a' && run[0] <= 'z' ? TokenKind::keyword : TokenKind::reserved;
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {
    list_.text = text;
    list_.lines.push_back(0);
  }

  TokenList run() {
    if (text_.size() >= most_bytes) return refuse_size();
    while (!list_.error && at_ < text_.size()) step();
    if (!list_.error && depth_ > 0) fail("unclosed annotation");
    if (depth_ > 0) list_.annotations.resize(list_.annotations.size() - (known_ ? 1 : 0));
    put(list_.tokens, TokenKind::end, 0);
    return std::move(list_);
  }

 private:
  std::string_view rest() const { return text_.substr(at_); }
  bool follows(std::string_view what) const { return rest().starts_with(what); }

  TokenList refuse_size() {
    list_.text = {};
    fail("text of 1 GiB or more");
    put(list_.tokens, TokenKind::end, 0);
    return std::move(list_);
  }
  void fail(std::string_view message) { list_.error = message; }
  void fail_at(std::size_t at, std::string_view message) {
    at_ = at;
    fail(message);
  }
  void put(std::vector<Token>& where, TokenKind kind, std::size_t size) {
    where.push_back({kind, std::uint32_t(at_), std::uint32_t(size)});
    at_ += size;
  }
  /// Within an annotation that means nothing, tokens are only looked at.
  void put(TokenKind kind, std::size_t size) {
    if (depth_ == 0)
      put(list_.tokens, kind, size);
    else if (known_ && depth_ >= 1 && nested_ == 0)
      put(list_.of_annotations, kind, size);
    else
      at_ += size;
  }

  void step();
  void skip_line_comment();
  void skip_block_comment();
  void skip_character();
  void open();
  void close();
  void open_annotation();
  void run_of_characters();
  std::size_t run_length() const;

  std::string_view text_;
  std::size_t at_ = 0;
  std::uint32_t depth_ = 0;   ///< parentheses open in the outermost annotation, with its own
  std::uint32_t nested_ = 0;  ///< of these, from the outermost annotation within it on; 0: none
  bool known_ = false;
  TokenList list_;
};

void Lexer::step() {
  const char c = text_[at_];
  if (c == ' ' || c == '\t' || c == '\r') {
    at_++;
  } else if (c == '\n') {
    list_.lines.push_back(std::uint32_t(++at_));
  } else if (follows(";;")) {
    skip_line_comment();
  } else if (follows("(;")) {
    skip_block_comment();
  } else if (c == '(') {
    open();
  } else if (c == ')') {
    close();
  } else if (std::string_view(",;[]{}").find(c) != std::string_view::npos) {
    put(TokenKind::reserved, 1);
  } else {
    run_of_characters();
  }
}

void Lexer::skip_character() {
  const auto size = utf8_character(rest());
  if (size == 0) return fail("malformed UTF-8 encoding");
  if (text_[at_] == '\n') list_.lines.push_back(std::uint32_t(at_ + 1));
  at_ += size;
}

void Lexer::skip_line_comment() {
  while (at_ < text_.size() && text_[at_] != '\n' && text_[at_] != '\r' && !list_.error) skip_character();
}

void Lexer::skip_block_comment() {
  const auto begin = at_;
  std::uint32_t depth = 0;
  do {
    if (follows("(;")) {
      depth++;
      at_ += 2;
    } else if (follows(";)")) {
      depth--;
      at_ += 2;
    } else if (at_ == text_.size()) {
      return fail_at(begin, "unclosed comment");
    } else {
      skip_character();
    }
  } while (depth > 0 && !list_.error);
}

void Lexer::open() {
  if (follows("(@")) return open_annotation();
  put(TokenKind::open, 1);
  if (depth_ > 0) depth_++;
  if (nested_ > 0) nested_++;
}

void Lexer::close() {
  if (depth_ == 1 && known_) {
    put(list_.of_annotations, TokenKind::end, 0);
    list_.annotations.back().end = std::uint32_t(list_.of_annotations.size());
  }
  if (depth_ == 1)
    at_++;
  else
    put(TokenKind::close, 1);
  if (depth_ > 0) depth_--;
  if (nested_ > 0) nested_--;
}

void Lexer::open_annotation() {
  const auto begin = at_;
  at_ += 2;
  const auto length = run_length();
  auto id = rest().substr(0, length);
  if (depth_ > 0) {
    // Within another one it needs no id, and is nothing but a parenthesis.
    depth_++;
    nested_++;
    at_ += length;
    return;
  }
  if (length == 0) {
    const auto string = follows("\"") ? string_length(rest()) : StringLength{};
    const bool malformed = string.error.starts_with("malformed");
    return fail_at(begin, malformed ? string.error : "empty annotation id");
  }
  at_ += length;
  if (id.starts_with('"')) {
    id = id.substr(1, id.size() - 2);
    if (id.empty()) return fail_at(begin, "empty annotation id");
    if (!is_utf8(decode_string(text_.substr(at_ - length, length)))) return fail_at(begin, "malformed UTF-8 encoding");
  }
  depth_++;
  known_ = is_known_annotation(id);
  if (!known_) return;
  const auto first = std::uint32_t(list_.of_annotations.size());
  list_.annotations.push_back({id, std::uint32_t(begin), std::uint32_t(list_.tokens.size()), first, first});
}

/// The longest run of identifier characters and strings, which a token is unless it is a parenthesis.
std::size_t Lexer::run_length() const {
  auto n = at_;
  while (n < text_.size()) {
    if (is_identifier_character(text_[n])) {
      n++;
    } else if (text_[n] == '"') {
      const auto string = string_length(text_.substr(n));
      if (string.size == 0) break;
      n += string.size;
    } else {
      break;
    }
  }
  return n - at_;
}

void Lexer::run_of_characters() {
  const auto length = run_length();
  const auto run = rest().substr(0, length);
  if (run == "$") {
    const auto string = string_length(text_.substr(at_ + 1));
    const bool quoted = at_ + 1 < text_.size() && text_[at_ + 1] == '"';
    return fail(quoted && string.error.starts_with("malformed") ? string.error : "empty identifier");
  }
  if (length > 0) {
    const auto kind = kind_of_run(run);
    if (kind == TokenKind::identifier && run[1] == '"') {
      if (run.size() == 3) return fail("empty identifier");
      if (!is_utf8(decode_string(run.substr(1)))) return fail("malformed UTF-8 encoding");
    }
    return put(kind, length);
  }
  if (text_[at_] == '"') {
    const auto string = string_length(rest());
    return fail_at(at_ + string.error_at, string.error);
  }
  fail(utf8_character(rest()) == 0 ? "malformed UTF-8 encoding" : "illegal character");
}

constexpr std::string_view known_annotations[] = {"custom", "name", "metadata.code.branch_hint"};

}  // namespace

bool is_identifier_character(char c) { return identifier_characters[std::uint8_t(c)]; }

bool is_known_annotation(std::string_view id) {
  return std::ranges::find(known_annotations, id) != std::end(known_annotations);
}

TokenList tokenize(std::string_view text) { return Lexer(text).run(); }

SourcePlace TokenList::place(std::uint32_t offset) const {
  const auto after = std::ranges::upper_bound(lines, offset);
  const auto line = std::uint32_t(after - lines.begin());
  return {0, line, offset - *(after - 1) + 1};
}

TextError TokenList::error_at(std::uint32_t offset, std::string message) const {
  const auto at = place(offset);
  return {at.line, at.column, std::move(message)};
}

}  // namespace doppel::wasm::text
