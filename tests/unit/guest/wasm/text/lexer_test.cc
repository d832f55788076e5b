// Tokens: what is none of them is found where it stands, and nothing that only looks like one passes.
#include <gtest/gtest.h>

#include <string>

#include "guest/wasm/text/token.h"

namespace doppel::wasm::text {
namespace {

/// A letter a token: ( ) s(tring) i(dentifier) n(atural) z (integer) f(loat) k(eyword) r(eserved), and "!" and what is
/// wrong with the rest.
std::string kinds(std::string_view text) {
  const auto list = tokenize(text);
  std::string letters;
  for (const auto& token : list.tokens)
    if (token.kind != TokenKind::end) letters += "()sinzfkr"[unsigned(token.kind)];
  return list.error ? letters + "!" + *list.error : letters;
}

TEST(Lexer, TellsKindsOfTokens) {
  EXPECT_EQ(kinds("(module $m \"s\" 1 -1 1.5 +inf nan nan:0x1 i32.const)"), "(kisnzffffk)");
  EXPECT_EQ(kinds("0x_1 1__0 1_ 0x 08 0x1.8p-3 1.e5 .5 1e 0x1p 1_000 0xffff_ffff"), "rrrrnffrrrnn");
  EXPECT_EQ(kinds("nan:canonical nan:0x inf0 -nan:0xf_f + -"), "kkkfrr");
  EXPECT_EQ(kinds("$ab$c $\"a b\" a\"b\" \"a\"\"b\" $a\"b\" 0$l , ; [ } {} x,y"), "iirrrrrrrrrrkrk");
}

TEST(Lexer, CommentsEndTokensAndNest) {
  EXPECT_EQ(kinds("nop;;x ( \" $\nnop(; (; ;) \" ;)(nop)"), "kk(k)");
  EXPECT_EQ(kinds(";; to the end"), "");
  EXPECT_EQ(kinds("a (; (; ;)"), "k!unclosed comment");
  EXPECT_EQ(kinds(";; \xc3\x28"), "!malformed UTF-8 encoding");
  EXPECT_EQ(kinds("(; \xed\xa0\x80 ;)"), "!malformed UTF-8 encoding");
}

TEST(Lexer, StringsHaveOnlyKnownEscapes) {
  EXPECT_EQ(kinds(R"("\t\n\r\"\'\\\00\fF\u{10ffff}\u{1_0}")"), "s");
  for (const char* text :
       {R"("\x")", R"("\0")", R"("\u{110000}")", R"("\u{d800}")", R"("\u{}")", R"("\u{1")", R"("\")"})
    EXPECT_NE(kinds(text).find('!'), std::string::npos) << text;
  EXPECT_EQ(kinds("\"a\nb\""), "!unclosed string");
  EXPECT_EQ(kinds("\"\x01\""), "!illegal control character");
  EXPECT_EQ(kinds("\"\x80\""), "!malformed UTF-8 encoding");
}

TEST(Lexer, IdentifiersMayBeQuotedButNotEmpty) {
  for (const char* text : {"$", "$ \"a\"", "$\"\"", "$(a)", "$\"a\tb\""}) EXPECT_EQ(kinds(text), "!empty identifier");
  EXPECT_EQ(kinds("$\"\\ef\""), "!malformed UTF-8 encoding");
  EXPECT_EQ(kinds("\xc3\xa9"), "!illegal character");
}

TEST(Lexer, AnnotationsAreNoTokens) {
  EXPECT_EQ(kinds("(@a (b \"c)\" (@ , $x 0x) ;; )\n) ) x"), "k") << "an annotation may hold anything";
  EXPECT_EQ(kinds("(a(@b)c)"), "(kk)");
  EXPECT_EQ(kinds("(@) x"), "!empty annotation id");
  EXPECT_EQ(kinds("(@a ("), "!unclosed annotation");
  EXPECT_EQ(kinds("(@a \xff)"), "!malformed UTF-8 encoding");
}

TEST(Lexer, KnownAnnotationsKeepTheirTokensAndPlace) {
  const auto list = tokenize("(a (@custom \"x\" (before 1) (@y z)) (@other) (@name) b)");
  ASSERT_EQ(list.annotations.size(), 2U);
  EXPECT_EQ(list.annotations[0].id, "custom");
  EXPECT_EQ(list.annotations[0].before, 2U);
  EXPECT_EQ(list.annotations[0].end - list.annotations[0].begin, 6U) << "\"x\" ( before 1 ) and the end";
  EXPECT_EQ(list.annotations[1].before, 2U);
  EXPECT_EQ(list.annotations[1].end - list.annotations[1].begin, 1U);
}

TEST(Lexer, PlacesCountFromOne) {
  const auto list = tokenize("a\n (;\n;)  b\r\n c");
  ASSERT_EQ(list.tokens.size(), 4U);
  const auto place = [&](unsigned n) {
    const auto p = list.place(list.tokens[n].offset);
    return std::pair(p.line, p.column);
  };
  EXPECT_EQ(place(0), std::pair(1U, 1U));
  EXPECT_EQ(place(1), std::pair(3U, 5U));
  EXPECT_EQ(place(2), std::pair(4U, 2U));
}

}  // namespace
}  // namespace doppel::wasm::text
