#include "engine/code_identity.h"

#include <cpuid.h>
#include <elf.h>
#include <link.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "engine/code_segment_format.h"

namespace doppel {
namespace {

/// What the generators may ask the processor for; not which model it is, because some hosts have two kinds of cores.
std::vector<std::uint32_t> processor_features() {
  std::vector<std::uint32_t> out;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d)) out.insert(out.end(), {c, d});  // b has the core's number
  for (const unsigned leaf : {0u, 1u, 2u})
    if (__get_cpuid_count(7, leaf, &a, &b, &c, &d)) out.insert(out.end(), {leaf == 0 ? 0 : a, b, c, d});
  if (__get_cpuid(0x8000'0001, &a, &b, &c, &d)) out.insert(out.end(), {c, d});
  constexpr unsigned osxsave = 1 << 27;
  if (!out.empty() && (out[0] & osxsave)) {
    unsigned low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));  // the registers that the system keeps
    out.insert(out.end(), {low, high});
  }
  return out;
}

std::span<const std::byte> segment_of(const dl_phdr_info& object, const ElfW(Phdr) & header) {
  return {reinterpret_cast<const std::byte*>(object.dlpi_addr + header.p_vaddr), header.p_memsz};
}

/// The GNU build ID among an object's notes, or nothing.
std::span<const std::byte> build_id(const dl_phdr_info& object) {
  for (unsigned n = 0; n < object.dlpi_phnum; n++) {
    if (object.dlpi_phdr[n].p_type != PT_NOTE) continue;
    auto notes = segment_of(object, object.dlpi_phdr[n]);
    while (notes.size() >= sizeof(ElfW(Nhdr))) {
      ElfW(Nhdr) note;
      std::memcpy(&note, notes.data(), sizeof note);
      const std::size_t name = (note.n_namesz + 3) & ~3U, description = (note.n_descsz + 3) & ~3U;
      if (notes.size() - sizeof note < name + description) break;
      const auto content = notes.subspan(sizeof note);
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(content.data(), "GNU", 4) == 0)
        return content.subspan(name, note.n_descsz);
      notes = content.subspan(name + description);
    }
  }
  return {};
}

/// What an object without a build ID is told by: its code and constants.
Sha256 constant_segments(const dl_phdr_info& object) {
  Sha256 sum{};
  for (unsigned n = 0; n < object.dlpi_phnum; n++) {
    const auto& header = object.dlpi_phdr[n];
    if (header.p_type == PT_LOAD && (header.p_flags & PF_R) && !(header.p_flags & PF_W))
      sum = sha256({sum, segment_of(object, header)});
  }
  return sum;
}

int add_object(dl_phdr_info* object, std::size_t, void* to) {
  auto& sum = *static_cast<Sha256*>(to);
  if (std::string_view(object->dlpi_name).starts_with("linux-vdso")) return 0;  // the kernel's
  const auto id = build_id(*object);
  sum = id.empty() ? sha256({sum, constant_segments(*object)}) : sha256({sum, id});
  return 0;
}

}  // namespace

Sha256 code_identity(std::span<const std::byte> parameters) {
  static const Sha256 program = [] {
    Sha256 sum{};
    dl_iterate_phdr(add_object, &sum);
    return sum;
  }();
  const auto features = processor_features();
  const auto processor = sha256({std::as_bytes(std::span(features))});
  const auto format = std::as_bytes(std::span(&code_segment::version, 1));
  return sha256({format, program, processor, parameters});
}

}  // namespace doppel
