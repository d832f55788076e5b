#include "program.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "operands.h"

namespace doppel::differential {

namespace {

constexpr std::int64_t fcsr_csr = 3, fcsr_offset = 64 * 8;
constexpr unsigned a0 = 10, a1 = 11, a2 = 12, a7 = 17;
constexpr std::int64_t system_write = 64, system_exit = 93;

void store_word(std::vector<std::byte>& bytes, std::uint64_t value) {
  const auto* raw = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), raw, raw + 8);
}

/// Instructions around a stream.
class Frame {
 public:
  void add(std::string_view name, const Fields& fields) { code.push_back(make(name, fields)); }
  void address(unsigned r, std::uint64_t address) {
    add("lui", {.d = r, .i = std::int64_t((address + 0x800) & ~0xfffULL)});
    add("addi", {.d = r, .s = r, .i = std::int64_t((address & 0xfff) ^ 0x800) - 0x800});
  }
  /// Calls the operating system with a0 to a2 already set.
  void call(std::int64_t number) {
    add("addi", {.d = a7, .s = 0, .i = number});
    add("ecall", {});
  }
  std::vector<Coded> code;
};

std::uint64_t seed_address(const Stream& stream) { return place::seeds + stream.slot * place::seed_size; }

void copy_scratch(Frame& frame, const Stream& stream) {
  constexpr unsigned from = 1, to = 2, end = 3, value = 4;
  frame.address(from, seed_address(stream) + place::registers_size);
  frame.address(to, place::scratch);
  frame.add("addi", {.d = end, .s = from, .i = place::scratch_size});
  frame.add("ld", {.d = value, .s = from});
  frame.add("sd", {.s = to, .t = value});
  frame.add("addi", {.d = from, .s = from, .i = 8});
  frame.add("addi", {.d = to, .s = to, .i = 8});
  frame.add("bne", {.s = from, .t = end, .i = -16});
}

std::vector<Coded> prologue(const Stream& stream) {
  Frame frame;
  copy_scratch(frame, stream);
  const unsigned base = stream.spill, other = base == 1 ? 2 : 1;
  frame.address(base, seed_address(stream));
  frame.add("ld", {.d = other, .s = base, .i = fcsr_offset});
  frame.add("csrrw", {.d = 0, .s = other, .i = fcsr_csr});
  for (unsigned r = 0; r < 32; r++) frame.add("fld", {.d = r, .s = base, .i = 256 + 8 * int(r)});
  for (unsigned r = 1; r < 32; r++)
    if (r != base) frame.add("ld", {.d = r, .s = base, .i = 8 * int(r)});
  frame.add("ld", {.d = base, .s = base, .i = 8 * int(base)});
  return frame.code;
}

std::vector<Coded> epilogue(const Stream& stream) {
  Frame frame;
  const unsigned base = stream.spill, other = base == 1 ? 2 : 1;
  frame.address(base, place::registers);
  for (unsigned r = 0; r < 32; r++) frame.add("sd", {.s = base, .t = r == base ? 0 : r, .i = 8 * int(r)});
  for (unsigned r = 0; r < 32; r++) frame.add("fsd", {.s = base, .t = r, .i = 256 + 8 * int(r)});
  frame.add("csrrs", {.d = other, .s = 0, .i = fcsr_csr});
  frame.add("sd", {.s = base, .t = other, .i = fcsr_offset});
  frame.add("addi", {.d = a1, .s = base, .i = 0});
  frame.add("addi", {.d = a0, .s = 0, .i = 1});
  frame.add("addi", {.d = a2, .s = 0, .i = std::int64_t(report_size)});
  frame.call(system_write);
  return frame.code;
}

/// Where a stream's prologue begins: so that a page ends somewhere in the stream.
std::uint64_t start_of(const Stream& stream) {
  const std::uint64_t middle = place::text + stream.slot * place::slot_size + place::slot_size / 2;
  const std::uint64_t into = Random(stream.seed).below(0x400) & ~1ULL;
  return middle - bytes_of(prologue(stream)) - into;
}

std::uint64_t body_of(const Stream& stream) { return start_of(stream) + bytes_of(prologue(stream)); }

/// Everything of one stream, and at its end a jump to `next`, or exit where that is 0.
std::vector<Coded> code_of(const Stream& stream, std::uint64_t next) {
  auto code = prologue(stream);
  const std::uint64_t start = start_of(stream);
  const auto body = link(stream, body_of(stream));
  code.insert(code.end(), body.begin(), body.end());
  const auto end = epilogue(stream);
  code.insert(code.end(), end.begin(), end.end());
  if (next) {
    code.push_back(make("jal", {.d = 0, .i = std::int64_t(next - start - bytes_of(code))}));
  } else {
    Frame frame;
    frame.add("addi", {.d = a0, .s = 0, .i = 0});
    frame.call(system_exit);
    code.insert(code.end(), frame.code.begin(), frame.code.end());
  }
  return code;
}

Segment text_of(const Stream& stream, std::uint64_t next, bool without_zicbom) {
  Segment segment{start_of(stream), {}, true};
  const Coded nop = make("addi", {});
  for (auto c : code_of(stream, next)) {
    if (without_zicbom && c.row->extension == riscv64::Extension::Zicbom) c = nop;
    const auto* raw = reinterpret_cast<const std::byte*>(&c.bits);
    segment.bytes.insert(segment.bytes.end(), raw, raw + c.row->length());
  }
  return segment;
}

Segment seed_of(const Stream& stream) {
  Segment segment{seed_address(stream), {}, false};
  for (auto r : stream.x) store_word(segment.bytes, r);
  for (auto r : stream.f) store_word(segment.bytes, r);
  store_word(segment.bytes, stream.fcsr);
  for (auto word : stream.scratch) store_word(segment.bytes, word);
  return segment;
}

Segment pool_of(std::uint64_t seed) {
  Random random(seed);
  Segment segment{place::pool - page_operands * 8 / 2, {}, false};
  for (unsigned i = 0; i < place::pool_pages * page_operands; i++)
    store_word(segment.bytes, page_operand(i % page_operands, random));
  return segment;
}

/// All segments of one kind as one run of bytes.
Segment merged(const Program& program, bool code) {
  Segment whole{code ? place::text : place::data, {}, code};
  for (const auto& s : program.segments) {
    if (s.code != code) continue;
    const std::uint64_t offset = s.address - whole.address;
    whole.bytes.resize(std::max<std::uint64_t>(whole.bytes.size(), offset + s.bytes.size()));
    std::copy(s.bytes.begin(), s.bytes.end(), whole.bytes.begin() + std::ptrdiff_t(offset));
  }
  return whole;
}

std::uint64_t word_at(std::span<const std::byte> bytes, std::size_t index) {
  std::uint64_t word;
  std::memcpy(&word, bytes.data() + 8 * index, 8);
  return word;
}

std::string name_of(std::size_t word) {
  if (word < 32) return fmt::format("x{}", word);
  if (word < 64) return fmt::format("f{}", word - 32);
  if (word == 64) return "fcsr";
  return fmt::format("memory at {:#x}", place::scratch + 8 * (word - 65));
}

}  // namespace

Program make_program(std::span<const Stream> streams, std::uint64_t seed, bool without_zicbom) {
  Program program{start_of(streams.front()), {pool_of(seed)}};
  for (std::size_t n = 0; n < streams.size(); n++) {
    program.segments.push_back(
        text_of(streams[n], n + 1 < streams.size() ? start_of(streams[n + 1]) : 0, without_zicbom));
    program.segments.push_back(seed_of(streams[n]));
  }
  return program;
}

std::vector<std::byte> elf_file(const Program& program) {
  const Segment parts[] = {merged(program, true), merged(program, false)};
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = header.e_version = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_RISCV;
  header.e_entry = program.entry;
  header.e_phoff = header.e_ehsize = sizeof header;
  header.e_flags = EF_RISCV_RVC | EF_RISCV_FLOAT_ABI_DOUBLE;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  std::vector<std::byte> file(0x1000);
  std::memcpy(file.data(), &header, sizeof header);
  for (std::size_t n = 0; n < 2; n++) {
    const auto& part = parts[n];
    Elf64_Phdr segment{PT_LOAD,           part.code ? unsigned(PF_R | PF_X) : unsigned(PF_R | PF_W),
                       file.size(),       part.address,
                       part.address,      part.bytes.size(),
                       part.bytes.size(), 0x1000};
    std::memcpy(file.data() + sizeof header + n * sizeof segment, &segment, sizeof segment);
    file.insert(file.end(), part.bytes.begin(), part.bytes.end());
    file.resize((file.size() + 0xfff) & ~0xfffULL);
  }
  return file;
}

std::vector<Placed> placed(const Stream& stream) {
  std::vector<Placed> list;
  std::uint64_t address = body_of(stream);
  for (auto& c : link(stream, address)) {
    list.push_back({address, c});
    address += c.row->length();
  }
  return list;
}

std::string difference(const Stream& stream, std::span<const std::byte> expected, std::span<const std::byte> got) {
  if (got.size() != report_size || expected.size() != report_size)
    return fmt::format("{} bytes of report instead of {}", got.size(), expected.size());
  std::string text;
  for (std::size_t word = 0; word < report_size / 8; word++)
    if (word_at(expected, word) != word_at(got, word) && word != stream.spill)
      text += fmt::format("  {}: expected {:#018x}, got {:#018x}\n", name_of(word), word_at(expected, word),
                          word_at(got, word));
  return text;
}

}  // namespace doppel::differential
