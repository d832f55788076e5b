#pragma once
// Translated code as a value: what it was made from and what it is made of, without an address or a machine in it
// (ARCHITECTURE, law 4). Whatever a code generator makes, the code store keeps it in this form.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace doppel {

/// Which generator made it, and so what may enter it and how. The numbers are in files.
enum class CodeKind : std::uint8_t {
  block = 1,  // codegen/fast: a stretch of one page
  path = 2,   // codegen/optimizing: a way through code of one or several pages
};

/// Guest bytes that the code was made from: those [offset, offset + length) of a page.
struct SourceRange {
  std::int32_t page = 0;     // counted from the entry's page, in the guest's virtual addresses
  std::uint16_t offset = 0;  // in bytes from the page's begin
  std::uint16_t length = 0;  // at least 1; the range ends inside the page
};

/// A jump that can be made direct once there is code for where it goes: fast::LinkSite for any generator.
struct CodeLink {
  std::uint32_t displacement = 0;  // where its 32-bit displacement is, in bytes from the code's begin
  std::uint32_t stub = 0;          // where it goes while it is not linked: so it is in `code`
  std::uint32_t stub_return = 0;   // the address that the stub leaves in ExecutionState::link
  std::int32_t target = 0;         // in bytes from the begin of the entry's page
  std::uint32_t flags = 0;         // what else the generator of this kind says of it
};

/// What a look-up knows: the code that may run where the guest is.
struct CodeKey {
  CodeKind kind = CodeKind::block;
  std::uint32_t mode = 0;   // the guest's mode bits that the code depends on, all of them
  std::uint16_t entry = 0;  // the offset in its page of the first instruction
};

struct CodeObject {
  CodeKey key;
  std::uint32_t guest_count = 0;  // instructions that an entry takes from the budget
  /// Page 0 and key.entry are where the first one begins.
  std::vector<SourceRange> ranges;
  std::vector<std::byte> source;  // the bytes of all ranges, one after the other
  std::vector<std::byte> code;    // position-independent, its jumps not linked
  std::vector<CodeLink> links;
  std::vector<std::byte> extra;  // what else a kind needs: further entries, frame states
};

/// The guest's memory as seen from where an object would be entered.
class SourcePages {
 public:
  virtual ~SourcePages() = default;
  /// The bytes of the page with this number (SourceRange::page) from its begin on, as many as are known; none where
  /// nothing is mapped that code could be made from. They must not change while they are compared.
  virtual std::span<const std::byte> page(std::int32_t number) = 0;
};

}  // namespace doppel
