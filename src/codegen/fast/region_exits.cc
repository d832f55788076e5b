#include "codegen/fast/region_exits.h"

#include <cstring>

namespace doppel::fast {
namespace {

using Kind = RegionExit::Kind;

class Writer {
 public:
  Writer(const RegionObject& object, const GuestLayout& layout) : object_(object), layout_(layout) {
    holder_.init(asmjit::Environment::host());
    holder_.attach(&a_);
  }

  GeneratedCode write() {
    a_.embed(object_.text.data(), object_.text.size());
    std::vector<std::size_t> places;
    for (const auto& exit : object_.exits) places.push_back(emit(exit));
    for (auto& link : out_.links) {
      link.stub = std::uint32_t(a_.offset());
      a_.bind(stubs_[std::size_t(&link - out_.links.data())]);
      a_.call(DOPPEL_FIELD(layout_, routines.to_link, 8));
      link.stub_return = std::uint32_t(a_.offset());
    }
    holder_.flatten();
    holder_.resolveUnresolvedLinks();
    out_.bytes.resize(holder_.codeSize());
    holder_.copyFlattenedData(out_.bytes.data(), out_.bytes.size());
    for (const auto& jump : object_.jumps) {
      const auto distance = std::int32_t(std::int64_t(places[jump.exit]) - std::int64_t(jump.displacement + 4));
      std::memcpy(out_.bytes.data() + jump.displacement, &distance, sizeof distance);
    }
    return std::move(out_);
  }

 private:
  std::size_t emit(const RegionExit& exit) {
    // A displacement that is replaced while others may execute it must lie in one aligned word.
    while ((a_.offset() + 1) % 8 > 4) a_.nop();
    const auto at = a_.offset();
    if (exit.kind == Kind::link || exit.kind == Kind::separate) {
      stubs_.push_back(a_.newLabel());
      out_.links.push_back({.displacement = std::uint32_t(at + 1),
                            .stub = 0,
                            .stub_return = 0,
                            .target = exit.target,
                            .separate = exit.kind == Kind::separate});
      a_.long_().jmp(stubs_.back());
      return at;
    }
    if (exit.kind == Kind::jump) {
      const auto miss = a_.newLabel();
      a_.mov(x86::rax, x86::ptr(state, layout_.pc, 8));
      jump_through_cache(a_, layout_, x86::rax, miss);
      a_.bind(miss);
      a_.jmp(DOPPEL_FIELD(layout_, routines.to_find, 8));
      return at;
    }
    a_.jmp(DOPPEL_FIELD(layout_, routines.to_dispatch, 8));
    return at;
  }

  const RegionObject& object_;
  const GuestLayout& layout_;
  asmjit::CodeHolder holder_;
  x86::Assembler a_;
  std::vector<asmjit::Label> stubs_;
  GeneratedCode out_;
};

}  // namespace

GeneratedCode link_region(const RegionObject& object, const GuestLayout& layout) {
  return Writer(object, layout).write();
}

}  // namespace doppel::fast
