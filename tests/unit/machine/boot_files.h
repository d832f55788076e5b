#pragma once
// Small kernels made by hand, for the tests of what reads and places them.
#include <elf.h>
#include <zlib.h>
#include <zstd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace doppel::test {

using Bytes = std::vector<std::byte>;

inline Bytes to_bytes(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

template <typename T>
void put(Bytes& file, std::size_t offset, const T& value) {
  if (file.size() < offset + sizeof value) file.resize(offset + sizeof value);
  std::memcpy(file.data() + offset, &value, sizeof value);
}

/// An Image without EFI stub: `size` bytes in the file, `memory_size` with its zeros.
inline Bytes make_image(std::size_t size = 8192, std::uint64_t memory_size = 16384,
                        std::uint64_t text_offset = 0x200000) {
  Bytes file(size, std::byte{0x13});
  put<std::uint64_t>(file, 0, 0x0000006f'00000013);
  put<std::uint64_t>(file, 8, text_offset);
  put<std::uint64_t>(file, 16, memory_size);
  put<std::uint64_t>(file, 24, 0);
  put<std::uint32_t>(file, 32, 2);
  put<std::uint32_t>(file, 36, 0);
  put<std::uint64_t>(file, 40, 0);
  std::memcpy(file.data() + 48, "RISCV\0\0\0RSC\x05", 12);
  put<std::uint32_t>(file, 60, 0);
  return file;
}

/// The same with an EFI stub, as Debian's: one section that covers the file from 4096 on.
inline Bytes make_efi_image(std::size_t size = 8192) {
  auto file = make_image(size);
  std::memcpy(file.data(), "MZ", 2);
  put<std::uint32_t>(file, 60, 64);
  std::memcpy(file.data() + 64, "PE\0\0", 4);
  put<std::uint16_t>(file, 68, 0x5064);
  put<std::uint16_t>(file, 70, 1);
  put<std::uint16_t>(file, 84, 160);
  const std::size_t section = 64 + 24 + 160;
  put<std::uint32_t>(file, section + 16, static_cast<std::uint32_t>(size - 4096));
  put<std::uint32_t>(file, section + 20, 4096);
  return file;
}

inline Bytes gzip(const Bytes& data) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  Bytes out(deflateBound(&stream, data.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline Bytes zstd(const Bytes& data) {
  Bytes out(ZSTD_compressBound(data.size()));
  out.resize(ZSTD_compress(out.data(), out.size(), data.data(), data.size(), 3));
  return out;
}

inline Bytes zboot(const Bytes& payload, std::string_view compression) {
  Bytes file(64);
  std::memcpy(file.data(), "MZ\0\0zimg", 8);
  put<std::uint32_t>(file, 8, 64);
  put<std::uint32_t>(file, 12, static_cast<std::uint32_t>(payload.size()));
  std::memcpy(file.data() + 24, compression.data(), compression.size());
  file.insert(file.end(), payload.begin(), payload.end());
  return file;
}

/// Builds 64-bit RISC-V ELF files; every header can be spoilt before build().
struct ElfFile {
  struct Symbol {
    std::string name;
    std::uint64_t value;
  };
  Elf64_Ehdr header{};
  std::vector<Elf64_Phdr> segments;
  std::vector<Symbol> symbols;
  Bytes code = Bytes(256, std::byte{0x13});
  std::uint64_t code_offset = 0x400;

  explicit ElfFile(std::uint64_t address = 0x80000000) {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = EM_RISCV;
    header.e_entry = address;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_shentsize = sizeof(Elf64_Shdr);
    add_segment(address, address, 4096);
  }
  void add_segment(std::uint64_t virtual_address, std::uint64_t physical_address, std::uint64_t memory_size) {
    Elf64_Phdr segment{};
    segment.p_type = PT_LOAD;
    segment.p_offset = code_offset;
    segment.p_filesz = code.size();
    segment.p_vaddr = virtual_address;
    segment.p_paddr = physical_address;
    segment.p_memsz = memory_size;
    segments.push_back(segment);
  }
  Bytes build() {
    Bytes file;
    for (std::size_t i = 0; i < segments.size(); i++) put(file, sizeof header + i * sizeof(Elf64_Phdr), segments[i]);
    header.e_phnum = static_cast<Elf64_Half>(segments.size());
    file.resize(code_offset);
    file.insert(file.end(), code.begin(), code.end());
    if (!symbols.empty()) add_symbols(file);
    put(file, 0, header);
    return file;
  }

 private:
  void add_symbols(Bytes& file) {
    std::string names(1, '\0');
    const auto table = file.size();
    put(file, table, Elf64_Sym{});
    for (const auto& symbol : symbols) {
      Elf64_Sym entry{};
      entry.st_name = static_cast<Elf64_Word>(names.size());
      entry.st_shndx = SHN_ABS;
      entry.st_value = symbol.value;
      names += symbol.name + '\0';
      put(file, file.size(), entry);
    }
    Elf64_Shdr symtab{}, strtab{};
    symtab.sh_type = SHT_SYMTAB;
    symtab.sh_offset = table;
    symtab.sh_size = file.size() - table;
    symtab.sh_link = 1;
    strtab.sh_type = SHT_STRTAB;
    strtab.sh_offset = file.size();
    strtab.sh_size = names.size();
    const auto text = to_bytes(names);
    file.insert(file.end(), text.begin(), text.end());
    header.e_shoff = file.size();
    header.e_shnum = 2;
    put(file, file.size(), symtab);
    put(file, file.size(), strtab);
  }
};

}  // namespace doppel::test
