// The frontend on pages of random instructions: whatever a guest has there, the IR is sound, and its text reads back.
#include "guest/riscv64/translate.h"

#include <gtest/gtest.h>

#include <cstring>

#include "guest/riscv64/decode.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "memory/guest_memory.h"
#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64 {
namespace {

using bench::i;
using bench::lr;

class Page {
 public:
  explicit Page(std::initializer_list<std::uint32_t> words = {}) {
    for (const auto word : words) add(word, 4);
  }
  /// Rows of the table one like the other, so that the rare ones come too.
  void fill(std::mt19937_64& random) {
    while (size_ + 4 <= page_size) {
      if (random() % 4 == 0)
        add(random_encoding(compressed_rows()[random() % compressed_rows().size()], random), 2);
      else if (random() % 50 == 0)
        add(std::uint32_t(random()), 4);
      else
        add(random_encoding(rows()[random() % rows().size()], random), 4);
    }
  }
  ir::Code translate(unsigned offset, TranslationMode mode, unsigned begin_of_another = page_size) const {
    ir::Code code;
    const auto begins = [=](unsigned at) { return at == begin_of_another; };
    EXPECT_TRUE(riscv64::translate(bytes_, offset, mode, begins, code));
    return code;
  }

 private:
  void add(std::uint32_t bits, unsigned length) {
    std::memcpy(bytes_.data() + size_, &bits, length);
    size_ += length;
  }
  std::array<std::byte, page_size> bytes_{};
  std::size_t size_ = 0;
};

TranslationMode mode_of(unsigned bits) {
  return {.floating_point = (bits & 1) != 0,
          .zero_blocks = (bits & 2) != 0,
          .exact_blocks = (bits & 4) != 0,
          .privilege = std::uint8_t(bits & 8 ? Privilege::supervisor : Privilege::user)};
}

TEST(Translate, RandomCodeBecomesSoundIr) {
  std::size_t operations = 0;
  for (unsigned seed = 0; seed < 300; seed++) {
    std::mt19937_64 random(seed);
    Page page;
    page.fill(random);
    for (unsigned n = 0; n < 32; n++) {
      const auto code = page.translate(unsigned(random() % (page_size - 4)) & ~1U, mode_of(n));
      const auto sound = ir::verify(code);
      ASSERT_TRUE(sound.ok()) << sound.failure().message << '\n' << ir::print(code);
      const auto again = ir::parse(ir::print(code));
      ASSERT_TRUE(again.ok()) << again.message();
      ASSERT_EQ(*again, code);
      operations += code.instructions.size();
    }
  }
  EXPECT_GT(operations, 50'000u);
}

// The same code again behind each of its entries would be most of all code.
TEST(Translate, ABlockEndsWhereAnotherBegins) {
  const Page page({bench::nop(), bench::nop(), lr(Opcode::lr_d, 5, 10), bench::nop(),
                   bench::amo(Opcode::sc_d, 7, 6, 10), bench::jump(0)});
  EXPECT_EQ(page.translate(0, {}).guest_count, 6u);
  EXPECT_EQ(page.translate(0, {}, 0).guest_count, 6u);  // itself
  const auto code = page.translate(0, {}, 8);
  EXPECT_EQ(code.guest_count, 2u);
  EXPECT_EQ(code.end, 8u);
  EXPECT_EQ(page.translate(0, {}, 16).guest_count, 6u);                     // between an LR and its SC
  EXPECT_EQ(page.translate(0, {.exact_blocks = true}, 8).guest_count, 6u);  // ends where the interpreter's do
}

// How compilers call what is far away: a jump whose target is known, not one through a register.
TEST(Translate, AuipcAndJalrAreOneJump) {
  const auto auipc = [](std::uint8_t rd, int pages) {
    return encode({.op = Opcode::auipc, .rd = rd, .imm = pages << 12});
  };
  const auto code = Page({bench::nop(), auipc(1, 5), i(Opcode::jalr, 1, 1, 0x123)}).translate(0, {});
  const auto& last = code.instructions.back();
  EXPECT_EQ(last.op, ir::Op::jump);
  EXPECT_EQ(last.imm, 4 + 0x5000 + 0x122);  // the lowest bit does not count
  EXPECT_EQ(Page({auipc(1, 5), i(Opcode::jalr, 1, 2, 0)}).translate(0, {}).instructions.back().op, ir::Op::jump_to);
}

// What the LR gave is kept in the host's registers until the SC: the interpreter must not come between.
TEST(Translate, ReservationsDoNotReachOverTheInterpreter) {
  const auto sc = bench::amo(Opcode::sc_d, 7, 6, 10);
  for (const auto between : {bench::r(Opcode::add, 6, 5, 5), bench::r(Opcode::xperm8, 6, 5, 5)}) {
    const auto code = Page({lr(Opcode::lr_d, 5, 10), between, sc, bench::jump(0)}).translate(0, {});
    const auto sound = ir::verify(code);
    EXPECT_TRUE(sound.ok()) << sound.failure().message << '\n' << ir::print(code);
  }
}

}  // namespace
}  // namespace doppel::riscv64
