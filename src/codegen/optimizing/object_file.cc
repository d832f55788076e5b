#include "codegen/optimizing/object_file.h"

#include <elf.h>

#include <charconv>
#include <cstring>
#include <map>
#include <string_view>

namespace doppel::optimizing {
namespace {

class ObjectFile {
 public:
  ObjectFile(std::span<const std::byte> file, std::string_view prefix, RegionObject& out)
      : file_(file), prefix_(prefix), out_(out) {}

  bool read() {
    if (!at(0, header_) || std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) return false;
    sections_.resize(header_.e_shnum);
    for (std::size_t n = 0; n < sections_.size(); n++)
      if (!at(header_.e_shoff + n * sizeof(Elf64_Shdr), sections_[n])) return false;
    // The code comes first, for the function to be at the begin; whatever it reads comes behind.
    for (const bool code : {true, false})
      for (std::size_t n = 0; n < sections_.size(); n++)
        if ((sections_[n].sh_flags & SHF_ALLOC) && bool(sections_[n].sh_flags & SHF_EXECINSTR) == code && !place(n))
          return false;
    for (const auto& section : sections_)
      if (section.sh_type == SHT_RELA && placed_.contains(section.sh_info) && !relocate(section)) return false;
    return !out_.text.empty();
  }

 private:
  template <typename T>
  bool at(std::size_t offset, T& value) const {
    if (offset > file_.size() || sizeof value > file_.size() - offset) return false;
    std::memcpy(&value, file_.data() + offset, sizeof value);
    return true;
  }
  bool place(std::size_t n) {
    const auto& s = sections_[n];
    if (s.sh_size == 0 || s.sh_type == SHT_X86_64_UNWIND) return true;
    if ((s.sh_flags & SHF_WRITE) || s.sh_type != SHT_PROGBITS || s.sh_offset > file_.size() ||
        s.sh_size > file_.size() - s.sh_offset || s.sh_addralign > 64)
      return false;
    auto& text = out_.text;
    while (s.sh_addralign != 0 && text.size() % s.sh_addralign != 0) text.push_back(std::byte{0xcc});
    placed_[n] = text.size();
    text.insert(text.end(), file_.begin() + std::ptrdiff_t(s.sh_offset),
                file_.begin() + std::ptrdiff_t(s.sh_offset + s.sh_size));
    return true;
  }
  bool relocate(const Elf64_Shdr& list) {
    for (std::size_t offset = 0; offset < list.sh_size; offset += sizeof(Elf64_Rela)) {
      Elf64_Rela r;
      Elf64_Sym symbol;
      if (!at(list.sh_offset + offset, r) ||
          !at(sections_[list.sh_link].sh_offset + ELF64_R_SYM(r.r_info) * sizeof symbol, symbol))
        return false;
      const auto type = ELF64_R_TYPE(r.r_info);
      const auto where = placed_[list.sh_info] + r.r_offset;
      if ((type != R_X86_64_PC32 && type != R_X86_64_PLT32) || where + 4 > out_.text.size()) return false;
      if (symbol.st_shndx == SHN_UNDEF) {
        std::uint32_t number;
        if (r.r_addend != -4 || !exit_of(sections_[list.sh_link], symbol, number)) return false;
        out_.jumps.push_back({.displacement = std::uint32_t(where), .exit = number});
        continue;
      }
      const auto section = placed_.find(symbol.st_shndx);
      if (section == placed_.end()) return false;
      const auto distance =
          std::int32_t(std::int64_t(section->second + symbol.st_value) + r.r_addend - std::int64_t(where));
      std::memcpy(out_.text.data() + where, &distance, sizeof distance);
    }
    return true;
  }
  bool exit_of(const Elf64_Shdr& symbols, const Elf64_Sym& symbol, std::uint32_t& number) const {
    const auto& strings = sections_[symbols.sh_link];
    const auto begin = strings.sh_offset + symbol.st_name;
    if (begin >= file_.size()) return false;
    const auto* text = reinterpret_cast<const char*>(file_.data() + begin);
    const std::string_view name(text, strnlen(text, file_.size() - begin));
    if (!name.starts_with(prefix_)) return false;
    const auto digits = name.substr(prefix_.size());
    return std::from_chars(digits.begin(), digits.end(), number).ec == std::errc();
  }

  std::span<const std::byte> file_;
  std::string_view prefix_;
  RegionObject& out_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Shdr> sections_;
  std::map<std::size_t, std::size_t> placed_;  // where sections begin in the text
};

}  // namespace

bool read_object(std::span<const std::byte> file, std::string_view prefix, RegionObject& out) {
  return ObjectFile(file, prefix, out).read();
}

}  // namespace doppel::optimizing
