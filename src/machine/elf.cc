#include "machine/elf.h"

#include <elf.h>

#include <algorithm>
#include <array>

#include "machine/byte_size.h"
#include "machine/file_record.h"
#include "machine/memory_map.h"

namespace doppel {
namespace {

using File = std::span<const std::byte>;

constexpr std::uint64_t upper_half = 1ULL << 63;  // where kernels are linked, beyond any physical address

Error truncated(std::string_view path, std::string_view part) {
  return error("{} is truncated: its {} lie outside the file", path, part);
}

Result<Elf64_Ehdr> read_header(File file, std::string_view path) {
  const auto header = record_at<Elf64_Ehdr>(file, 0);
  if (!header) return error("{} is truncated: its ELF header is not all there", path);
  if (header->e_machine != EM_RISCV)
    return error("{} is an ELF for another processor (machine {}): expected one for RISC-V", path, header->e_machine);
  if (header->e_ident[EI_CLASS] != ELFCLASS64) return error("{} is a 32-bit RISC-V ELF: expected a 64-bit one", path);
  if (header->e_ident[EI_DATA] != ELFDATA2LSB) return error("{} is a big-endian ELF: expected little-endian", path);
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
    return error("{} is an ELF that cannot run (type {}): expected a linked program", path, header->e_type);
  if (header->e_phnum == 0 || header->e_phnum == PN_XNUM || header->e_phentsize != sizeof(Elf64_Phdr))
    return error("{} is an ELF without program headers that Doppel can use", path);
  if (!range_in(file.size(), header->e_phoff, std::uint64_t{header->e_phnum} * sizeof(Elf64_Phdr)))
    return truncated(path, "program headers");
  return *header;
}

Result<void> check_segment(File file, std::string_view path, const Elf64_Phdr& segment, std::uint64_t memory_size) {
  if (!range_in(file.size(), segment.p_offset, segment.p_filesz)) return truncated(path, "segments");
  if (segment.p_filesz > segment.p_memsz)
    return error("{} is corrupt: a segment has more bytes in the file than in memory", path);
  if (segment.p_memsz > memory_size)
    return error("{} needs a segment of {}, more than {} of memory: give more with --memory", path,
                 byte_size_text(segment.p_memsz), byte_size_text(memory_size));
  if (segment.p_paddr + segment.p_memsz < segment.p_paddr || segment.p_vaddr + segment.p_memsz < segment.p_vaddr)
    return error("{} is corrupt: a segment at {:#x} wraps around the address space", path, segment.p_paddr);
  return {};
}

/// The PT_LOAD headers that have memory, by physical address.
Result<std::vector<Elf64_Phdr>> read_segments(File file, std::string_view path, const Elf64_Ehdr& header,
                                              std::uint64_t memory_size) {
  std::vector<Elf64_Phdr> segments;
  for (unsigned i = 0; i < header.e_phnum; i++) {
    const auto segment = record_at<Elf64_Phdr>(file, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment || segment->p_type != PT_LOAD || segment->p_memsz == 0) continue;
    if (auto checked = check_segment(file, path, *segment, memory_size); !checked) return checked.failure();
    segments.push_back(*segment);
  }
  if (segments.empty()) return error("{} is an ELF with nothing to load", path);
  std::ranges::sort(segments, {}, &Elf64_Phdr::p_paddr);
  for (std::size_t i = 1; i < segments.size(); i++)
    if (segments[i - 1].p_paddr + segments[i - 1].p_memsz > segments[i].p_paddr)
      return error("{} is corrupt: its segments at {:#x} and {:#x} overlap", path, segments[i - 1].p_paddr,
                   segments[i].p_paddr);
  const auto span = segments.back().p_paddr + segments.back().p_memsz - segments.front().p_paddr;
  if (span > memory_size)
    return error("{} spans {}, more than {} of memory: give more with --memory", path, byte_size_text(span),
                 byte_size_text(memory_size));
  return segments;
}

/// Symbols and the entry are virtual addresses; code begins without translation, so they are wanted as physical ones. A
/// symbol may stand at the end of a segment, which a following segment has the better claim to.
std::uint64_t physical(const std::vector<Elf64_Phdr>& segments, std::uint64_t address) {
  std::uint64_t at_end = address;
  for (const auto& segment : segments) {
    const auto offset = address - segment.p_vaddr;
    if (offset < segment.p_memsz) return segment.p_paddr + offset;
    if (offset == segment.p_memsz) at_end = segment.p_paddr + offset;
  }
  return at_end;
}

struct KnownSymbol {
  std::string_view name;
  std::optional<std::uint64_t> HtifSymbols::* address;
};
constexpr std::array known_symbols = {
    KnownSymbol{"tohost", &HtifSymbols::tohost},
    KnownSymbol{"fromhost", &HtifSymbols::fromhost},
    KnownSymbol{"begin_signature", &HtifSymbols::begin_signature},
    KnownSymbol{"end_signature", &HtifSymbols::end_signature},
};

Result<void> read_symbol_table(File file, std::string_view path, const Elf64_Shdr& table, const Elf64_Shdr& strings,
                               const std::vector<Elf64_Phdr>& segments, HtifSymbols& symbols) {
  if (!range_in(file.size(), table.sh_offset, table.sh_size) ||
      !range_in(file.size(), strings.sh_offset, strings.sh_size))
    return truncated(path, "symbols");
  const auto names = file.subspan(strings.sh_offset, strings.sh_size);
  for (std::uint64_t i = 0; i < table.sh_size / sizeof(Elf64_Sym); i++) {
    const auto symbol = record_at<Elf64_Sym>(file, table.sh_offset + i * sizeof(Elf64_Sym));
    if (!symbol || symbol->st_shndx == SHN_UNDEF) continue;
    for (const auto& known : known_symbols)
      if (!(symbols.*known.address) && has_magic(names, symbol->st_name, known.name) &&
          has_magic(names, symbol->st_name + known.name.size(), std::string_view("\0", 1)))
        symbols.*known.address = physical(segments, symbol->st_value);
  }
  return {};
}

Result<HtifSymbols> read_symbols(File file, std::string_view path, const Elf64_Ehdr& header,
                                 const std::vector<Elf64_Phdr>& segments) {
  HtifSymbols symbols;
  if (header.e_shnum == 0) return symbols;
  if (header.e_shentsize != sizeof(Elf64_Shdr) ||
      !range_in(file.size(), header.e_shoff, std::uint64_t{header.e_shnum} * sizeof(Elf64_Shdr)))
    return truncated(path, "section headers");
  const auto section = [&](std::uint64_t index) {
    return record_at<Elf64_Shdr>(file, header.e_shoff + index * sizeof(Elf64_Shdr));
  };
  for (unsigned i = 0; i < header.e_shnum; i++) {
    const auto table = section(i);
    if (!table || table->sh_type != SHT_SYMTAB) continue;
    if (table->sh_link >= header.e_shnum) return error("{} is corrupt: its symbols have no names", path);
    auto read = read_symbol_table(file, path, *table, *section(table->sh_link), segments, symbols);
    if (!read) return read.failure();
    break;  // System V ABI, chapter 4: at most one symbol table
  }
  return symbols;
}

/// Position-independent code linked at 0, and kernels linked in the upper half whose physical addresses count from
/// their own beginning (Linux's vmlinux), go where boot puts them; everything else says where it must be.
bool is_relocatable(const Elf64_Ehdr& header, const Elf64_Phdr& first) {
  if (first.p_paddr >= upper_half) return true;
  return first.p_paddr < dram_base && (header.e_type == ET_DYN || first.p_vaddr >= upper_half);
}

void rebase(LoadedKernel& kernel, std::uint64_t from) {
  for (auto& segment : kernel.segments) segment.address -= from;
  kernel.entry -= from;
  for (const auto& known : known_symbols)
    if (auto& address = kernel.symbols.*known.address) *address -= from;
}

}  // namespace

Result<LoadedKernel> parse_elf(std::vector<std::byte> file, std::string_view path, std::uint64_t memory_size) {
  const auto header = read_header(file, path);
  if (!header) return header.failure();
  const auto segments = read_segments(file, path, *header, memory_size);
  if (!segments) return segments.failure();
  const auto symbols = read_symbols(file, path, *header, *segments);
  if (!symbols) return symbols.failure();

  LoadedKernel kernel{.path = std::string(path), .kind = KernelKind::elf, .symbols = *symbols};
  for (const auto& segment : *segments)
    kernel.segments.push_back({segment.p_paddr, segment.p_offset, segment.p_filesz, segment.p_memsz});
  kernel.entry = physical(*segments, header->e_entry);
  if (kernel.entry < kernel.low() || kernel.entry >= kernel.high() || kernel.entry % 2 != 0)
    return error("{} is corrupt: its entry {:#x} is not in its code", path, header->e_entry);
  kernel.relocatable = is_relocatable(*header, segments->front());
  if (kernel.relocatable) rebase(kernel, kernel.low());
  kernel.contents = std::move(file);
  return kernel;
}

}  // namespace doppel
