#include "engine/translation_listing.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "engine/host_disassembler.h"
#include "guest/riscv64/decode.h"
#include "guest/riscv64/disassemble.h"
#include "ir/print.h"

namespace doppel {
namespace {

constexpr std::size_t ir_column = 56;

/// Writes one translation.
class Listing {
 public:
  Listing(const MadeTranslation& made, bool ir, HostDisassembler* host) : made_(made), ir_(ir), host_(host) {}

  std::string write() {
    const auto& ir = made_.ir;
    out_ = fmt::format("{} translation of {:#x} (physical {:#x}): {} instructions, {} operations, {} bytes at {}\n",
                       made_.engine, made_.address, made_.physical, ir.guest_count, ir.instructions.size(),
                       made_.code.size(), fmt::ptr(made_.code.data()));
    if (host_) host_lines(0, "", true);
    for (ir::Value n = 0; n < ir.instructions.size(); n++) {
      if (n == 0 || ir.instructions[n].offset != ir.instructions[n - 1].offset) guest_line(ir.instructions[n].offset);
      operation(n);
    }
    if (host_) write_asides();
    out_ += '\n';
    return std::move(out_);
  }

 private:
  void guest_line(std::uint16_t offset) {
    const auto at = std::size_t(offset - made_.ir.begin);
    const auto pc = made_.address + at;
    if (offset >= made_.ir.end) {
      out_ += fmt::format("{:016x}  (behind it)\n", pc);
      return;
    }
    std::uint32_t bits = 0;
    std::memcpy(&bits, made_.source.data() + at, std::min<std::size_t>(made_.source.size() - at, 4));
    const auto length = riscv64::instruction_length(bits);
    if (length == 2) bits &= 0xffff;
    auto text = riscv64::disassemble(bits, pc);
    std::ranges::replace(text, '\t', ' ');
    out_ += fmt::format("{:016x}  {:<8}  {}\n", pc, fmt::format("{:0{}x}", bits, 2 * length), text);
  }

  void operation(ir::Value n) {
    const auto text = ir_ ? "    " + ir::print(made_.ir, n) : std::string();
    const auto mark =
        std::ranges::find_if(made_.marks, [&](const HostMark& m) { return m.operation == n && !m.aside; });
    if (host_ && mark != made_.marks.end())
      host_lines(std::size_t(mark - made_.marks.begin()), text, false);
    else if (ir_)
      out_ += text + '\n';
  }

  /// The instructions from one mark to the next, beside a first line.
  void host_lines(std::size_t mark, std::string left, bool entry) {
    const auto& marks = made_.marks;
    const auto begin = entry ? 0 : marks[mark].offset;
    const auto next = entry ? 0 : mark + 1;
    const auto end = next < marks.size() ? marks[next].offset : std::uint32_t(made_.code.size());
    for (std::size_t at = begin; at < end;) {
      const auto [length, text] = host_->line(made_.code, at);
      out_ += ir_ ? fmt::format("{:<{}} | +{:<5x} {}\n", left, ir_column, at, text)
                  : fmt::format("    +{:<5x} {}\n", at, text);
      left.clear();
      at += length;
    }
    if (!left.empty()) out_ += left + '\n';
  }

  void write_asides() {
    const auto& marks = made_.marks;
    for (std::size_t n = 0; n < marks.size(); n++) {
      if (!marks[n].aside) continue;
      const auto* i = marks[n].operation == ir::no_value ? nullptr : &made_.ir.instructions[marks[n].operation];
      out_ += i ? fmt::format("aside, of {:#x}\n", made_.address + i->offset - made_.ir.begin) : "aside\n";
      host_lines(n, ir_ && i ? "    " + ir::print(made_.ir, marks[n].operation) : std::string(), false);
    }
  }

  const MadeTranslation& made_;
  const bool ir_;
  HostDisassembler* const host_;  // null: not wanted
  std::string out_;
};

class ListingObserver final : public TranslationObserver {
 public:
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  ListingObserver(std::vector<ListingSpec> specs, File file, std::unique_ptr<HostDisassembler> host)
      : specs_(std::move(specs)), file_(std::move(file)), host_(std::move(host)) {}

  bool wants_marks() const override { return host_ != nullptr; }
  void made(const MadeTranslation& translation) override {
    bool ir = false, host = false;
    for (const auto& spec : specs_) {
      if (!covers(translation, spec)) continue;
      ir |= spec.ir;
      host |= spec.host;
    }
    if (!ir && !host) return;
    auto* to = file_ ? file_.get() : stderr;
    std::fputs(Listing(translation, ir, host ? host_.get() : nullptr).write().c_str(), to);
    std::fflush(to);
  }

 private:
  static bool covers(const MadeTranslation& translation, const ListingSpec& spec) {
    const auto overlaps = [&](std::uint64_t begin) {
      return begin <= spec.last && begin + (translation.source.size() - 1) >= spec.first;
    };
    return overlaps(translation.address) || overlaps(translation.physical);
  }

  const std::vector<ListingSpec> specs_;
  const File file_;  // null: standard error
  const std::unique_ptr<HostDisassembler> host_;
};

/// A hexadecimal number, the whole of `text`.
bool parse_address(std::string_view text, std::uint64_t& out) {
  if (text.starts_with("0x")) text.remove_prefix(2);
  const auto end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, out, 16);
  return result.ec == std::errc() && result.ptr == end;
}

bool parse_range(std::string_view text, ListingSpec& out) {
  if (text == "all") {
    out.last = ~0ULL;
    return true;
  }
  const auto dash = text.find('-');
  if (!parse_address(text.substr(0, dash), out.first)) return false;
  out.last = out.first;
  return dash == std::string_view::npos || (parse_address(text.substr(dash + 1), out.last) && out.first <= out.last);
}

}  // namespace

Result<ListingSpec> parse_listing_spec(const std::string& text) {
  const auto equals = text.find('=');
  ListingSpec spec;
  bool sound = equals != std::string::npos && parse_range(std::string_view(text).substr(equals + 1), spec);
  const auto what = std::string_view(text).substr(0, equals);
  spec.ir = what == "ir" || what == "ir,asm" || what == "asm,ir";
  spec.host = what == "asm" || what == "ir,asm" || what == "asm,ir";
  if (!sound || (!spec.ir && !spec.host))
    return error(
        "--dump {} is not understood: write for instance ir,asm=80200000 or asm=80200000-80200fff, in hexadecimal",
        text);
  return spec;
}

Result<std::unique_ptr<TranslationObserver>> make_translation_listing(std::vector<ListingSpec> specs,
                                                                      const std::string& path) {
  ListingObserver::File file(path.empty() ? nullptr : std::fopen(path.c_str(), "we"), std::fclose);
  if (!path.empty() && !file) return error("cannot write the dump to {}: {}", path, std::strerror(errno));
  std::unique_ptr<HostDisassembler> host;
  if (std::ranges::any_of(specs, &ListingSpec::host)) {
    auto loaded = HostDisassembler::load();
    if (!loaded) return loaded.failure();
    host = std::move(*loaded);
  }
  return std::unique_ptr<TranslationObserver>(
      std::make_unique<ListingObserver>(std::move(specs), std::move(file), std::move(host)));
}

}  // namespace doppel
