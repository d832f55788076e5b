#pragma once
// What binutils' disassembler says, as the oracle for ours.
#include <elf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace doppel::riscv64 {

/// The section that tells objdump which extensions there are (RISC-V ELF psABI, attributes): those that binutils 2.40
/// knows, so that later versions say the same.
inline std::string architecture_attributes() {
  std::string arch = "rv64imafdc_zicsr_zifencei_zfhmin_zba_zbb_zbc_zbs_zbkb_zbkc_zbkx";
  arch += "_zicbom_zicbop_zicboz_zawrs_zihintpause_svinval";
  const auto sized = [](std::string_view before, std::string_view body) {
    const std::uint32_t size = std::uint32_t(before.size() + 4 + body.size());
    return std::string(before) + std::string(reinterpret_cast<const char*>(&size), 4) + std::string(body);
  };
  const std::string file = sized("\1", "\5" + arch + '\0');  // Tag_File, Tag_RISCV_arch
  return "A" + sized("", std::string("riscv") + '\0' + file);
}

/// A relocatable object whose .text is `words`.
inline std::string object_file(std::span<const std::uint32_t> words) {
  const std::string text(reinterpret_cast<const char*>(words.data()), words.size_bytes());
  const std::string attributes = architecture_attributes();
  const std::string names("\0.text\0.riscv.attributes\0.shstrtab\0", 35);
  Elf64_Shdr sections[4] = {};
  std::uint64_t offset = sizeof(Elf64_Ehdr) + sizeof sections;
  const auto place = [&](Elf64_Shdr& section, std::uint32_t name, std::uint32_t type, const std::string& content) {
    section = {.sh_name = name,
               .sh_type = type,
               .sh_flags = 0,
               .sh_addr = 0,
               .sh_offset = offset,
               .sh_size = content.size(),
               .sh_link = 0,
               .sh_info = 0,
               .sh_addralign = 1,
               .sh_entsize = 0};
    offset += content.size();
  };
  place(sections[1], 1, SHT_PROGBITS, text);
  sections[1].sh_flags = SHF_ALLOC | SHF_EXECINSTR;
  place(sections[2], 7, SHT_LOPROC + 3, attributes);  // SHT_RISCV_ATTRIBUTES
  place(sections[3], 25, SHT_STRTAB, names);
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, "\177ELF\2\1\1", 7);
  header.e_type = ET_REL;
  header.e_machine = EM_RISCV;
  header.e_version = EV_CURRENT;
  header.e_shoff = header.e_ehsize = sizeof header;
  header.e_flags = 1;  // EF_RISCV_RVC
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 4;
  header.e_shstrndx = 3;
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) +
         std::string(reinterpret_cast<const char*>(sections), sizeof sections) + text + attributes + names;
}

/// "address:\tbytes\tmnemonic\toperands # comment" without what surrounds the instruction.
inline std::string instruction_of_line(std::string_view line) {
  line.remove_prefix(std::min(line.find('\t') + 1, line.size()));
  line.remove_prefix(std::min(line.find('\t') + 1, line.size()));
  line = line.substr(0, std::min({line.find(" #"), line.find(" <"), line.find('\n')}));
  while (line.ends_with(' ') || line.ends_with('\t')) line.remove_suffix(1);
  return std::string(line);
}

/// Runs riscv64-linux-gnu-objdump with `-M options` over the words, which stand 4 bytes apart from address 0; a word
/// whose two low bits are not 11 stands for the 16-bit instruction in its low half. Gives the text of each, operands
/// after a tab.
inline Result<std::vector<std::string>> objdump(std::vector<std::uint32_t> words, const std::string& options) {
  for (std::uint32_t& word : words) {
    if ((word & 3) != 3) word = (word & 0xffff) | 1u << 16;  // c.nop behind it
  }
  const std::string path = testing::TempDir() + "doppel_objdump_" + std::to_string(::getpid()) + ".o";
  std::ofstream(path, std::ios::binary) << object_file(words);
  const std::string command = "riscv64-linux-gnu-objdump -d -z -M " + options + " " + path + " 2>&1";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  if (!pipe) return error("{}: cannot be run", command);
  std::vector<std::string> texts;
  char line[1024];
  std::string other;
  while (std::fgets(line, sizeof line, pipe.get()) != nullptr) {
    unsigned long address = 0;
    int length = 0;
    const bool is_code = std::sscanf(line, " %lx:\t%n", &address, &length) == 1 && length > 0;
    if (!is_code) other += line;
    if (is_code && address % 4 == 0) texts.push_back(instruction_of_line(line));
  }
  ::unlink(path.c_str());
  if (texts.size() != words.size())
    return error("{}: {} instructions instead of {}: {}", command, texts.size(), words.size(), other);
  return texts;
}

}  // namespace doppel::riscv64
