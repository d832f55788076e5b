#include "guest/wasm/text/cursor.h"

#include <fmt/format.h>

#include "guest/wasm/byte_reader.h"
#include "guest/wasm/text/keyword.h"
#include "guest/wasm/text/literal.h"

namespace doppel::wasm::text {

Cursor::Cursor(const TokenList& list, const std::vector<Token>& tokens, std::uint32_t begin, std::uint32_t end)
    : list_(&list), tokens_(&tokens), at_(begin), end_(end) {
  end_token_.offset = tokens[end].offset;
}

Cursor::Cursor(const TokenList& list, std::uint32_t begin, std::uint32_t end) : Cursor(list, list.tokens, begin, end) {}

Cursor Cursor::over(const TokenList& list, const Annotation& annotation) {
  return {list, list.of_annotations, annotation.begin, annotation.end - 1};
}

void Cursor::move_to(std::uint32_t position) {
  if (!failed()) at_ = position;
}

const Token& Cursor::peek(std::uint32_t ahead) const {
  return ahead < end_ - at_ ? (*tokens_)[at_ + ahead] : end_token_;
}

bool Cursor::at_keyword(std::string_view word, std::uint32_t ahead) const {
  const auto& token = peek(ahead);
  return token.kind == TokenKind::keyword && spelling(token) == word;
}

bool Cursor::at_open(std::string_view word) const { return at(TokenKind::open) && at_keyword(word, 1); }

Token Cursor::take() {
  const auto token = peek();
  if (at_ < end_) at_++;
  return token;
}

bool Cursor::take_keyword(std::string_view word) {
  if (!at_keyword(word)) return false;
  at_++;
  return true;
}

bool Cursor::take_open(std::string_view word) {
  if (!at_open(word)) return false;
  at_ += 2;
  return true;
}

bool Cursor::expect(TokenKind kind) {
  if (at(kind)) {
    take();
    return true;
  }
  unexpected();
  return false;
}

bool Cursor::expect_keyword(std::string_view word) {
  if (take_keyword(word)) return true;
  unexpected();
  return false;
}

bool Cursor::expect_open(std::string_view word) {
  return at(TokenKind::open) ? (take(), expect_keyword(word)) : expect(TokenKind::open);
}

std::string_view Cursor::word_after_open() const {
  const auto& token = peek(1);
  return at(TokenKind::open) && token.kind == TokenKind::keyword ? spelling(token) : std::string_view();
}

std::string Cursor::string() {
  const auto token = peek();
  return expect(TokenKind::string) ? decode_string(spelling(token)) : std::string();
}

std::string Cursor::name() {
  const auto token = peek();
  auto bytes = string();
  if (!is_utf8(bytes)) fail_at(token, "malformed UTF-8 encoding");
  return bytes;
}

std::uint64_t Cursor::natural(unsigned bits) {
  const auto token = peek();
  if (!expect(TokenKind::natural)) return 0;
  const auto value = parse_natural(spelling(token));
  if (value && (bits == 64 || *value >> bits == 0)) return *value;
  fail_at(token, fmt::format("i{} constant out of range", bits));
  return 0;
}

std::string Cursor::identifier_at(const Token& token) const {
  const auto text = spelling(token).substr(1);
  return text.starts_with('"') ? decode_string(text) : std::string(text);
}

std::string Cursor::identifier() {
  const auto token = peek();
  return expect(TokenKind::identifier) ? identifier_at(token) : std::string();
}

bool Cursor::skip_group() {
  std::uint32_t depth = 1;
  while (depth > 0 && !at_end()) {
    const auto kind = take().kind;
    if (kind == TokenKind::open) depth++;
    if (kind == TokenKind::close) depth--;
  }
  return depth == 0;
}

void Cursor::unexpected() {
  const auto& token = peek();
  const auto text = spelling(token);
  if (token.kind == TokenKind::reserved || (token.kind == TokenKind::keyword && !is_keyword(text)))
    return fail(fmt::format("unknown operator {}", text));
  if (failed() || (token.kind == TokenKind::end && list_->error)) return fail("unexpected end");
  // A text that is cut off further behind is still wrong here.
  error_ = list_->error_at(token.offset, token.kind == TokenKind::end ? "unexpected token: the text ends too early"
                                                                      : fmt::format("unexpected token {}", text));
  at_ = end_;
}

void Cursor::fail_at(std::uint32_t offset, std::string message) {
  // What is no token at all is told first: meanings are looked at only in a text that is one.
  if (list_->error) return fail(list_->error_at(list_->tokens.back().offset, *list_->error));
  fail(list_->error_at(offset, std::move(message)));
}

void Cursor::fail(TextError error) {
  if (!error_) error_ = std::move(error);
  at_ = end_;
}

}  // namespace doppel::wasm::text
