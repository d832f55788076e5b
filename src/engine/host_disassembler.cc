#include "engine/host_disassembler.h"

#include <dlfcn.h>
#include <llvm-c/Disassembler.h>

#include <algorithm>

namespace doppel {
namespace {

constexpr const char* library_names[] = {"libLLVM.so.19.1", "libLLVM-19.so.1", "libLLVM-19.so"};

/// The functions of LLVM's C interface that are used here.
struct Llvm {
  void (*initialize_target_info)();
  void (*initialize_target_code)();
  void (*initialize_disassembler)();
  decltype(&LLVMCreateDisasm) create;
  decltype(&LLVMSetDisasmOptions) set_options;
  decltype(&LLVMDisasmInstruction) instruction;
  decltype(&LLVMDisasmDispose) dispose;
};

template <typename Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

bool find_all(void* library, Llvm& llvm) {
  return find(library, "LLVMInitializeX86TargetInfo", llvm.initialize_target_info) &&
         find(library, "LLVMInitializeX86TargetMC", llvm.initialize_target_code) &&
         find(library, "LLVMInitializeX86Disassembler", llvm.initialize_disassembler) &&
         find(library, "LLVMCreateDisasm", llvm.create) && find(library, "LLVMSetDisasmOptions", llvm.set_options) &&
         find(library, "LLVMDisasmInstruction", llvm.instruction) && find(library, "LLVMDisasmDispose", llvm.dispose);
}

class LlvmDisassembler final : public HostDisassembler {
 public:
  explicit LlvmDisassembler(const Llvm& llvm) : llvm_(llvm) {
    llvm_.initialize_target_info();
    llvm_.initialize_target_code();
    llvm_.initialize_disassembler();
    context_ = llvm_.create("x86_64-linux-gnu", this, 0, nullptr, &LlvmDisassembler::name_of);
    constexpr std::uint64_t intel_syntax = LLVMDisassembler_Option_AsmPrinterVariant;
    if (!context_) return;
    llvm_.set_options(context_, intel_syntax);  // makes a new printer, which the next option is for
    llvm_.set_options(context_, LLVMDisassembler_Option_PrintImmHex);
  }
  ~LlvmDisassembler() override {
    if (context_) llvm_.dispose(context_);
  }
  bool ready() const { return context_ != nullptr; }

  Line line(std::span<const std::byte> code, std::size_t at) override {
    constexpr std::size_t longest = 256;
    char text[longest];
    code_ = code;
    auto* bytes = reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(code.data())) + at;
    const auto pc = std::uint64_t(std::uintptr_t(bytes));
    const auto length = llvm_.instruction(context_, bytes, code.size() - at, pc, text, longest);
    if (length == 0) return {1, fmt::format(".byte {:#x}", bytes[0])};
    std::string out(text);
    std::ranges::replace(out, '\t', ' ');
    std::erase(out, '"');  // around name_of()'s answers
    out.erase(0, out.find_first_not_of(' '));
    return {length, std::move(out)};
  }

 private:
  /// LLVM asks what is at an address that an operand may mean.
  static const char* name_of(void* self, std::uint64_t value, std::uint64_t* type, std::uint64_t, const char** name) {
    auto& here = *static_cast<LlvmDisassembler*>(self);
    const bool branch = *type == LLVMDisassembler_ReferenceType_In_Branch;
    const auto begin = std::uint64_t(std::uintptr_t(here.code_.data()));
    *type = LLVMDisassembler_ReferenceType_InOut_None;
    *name = nullptr;
    if (!branch || value - begin >= here.code_.size()) return nullptr;
    here.name_ = fmt::format("+{:#x}", value - begin);
    return here.name_.c_str();
  }

  const Llvm llvm_;
  LLVMDisasmContextRef context_ = nullptr;
  std::span<const std::byte> code_;
  std::string name_;
};

}  // namespace

Result<std::unique_ptr<HostDisassembler>> HostDisassembler::load() {
  void* library = nullptr;
  for (const auto* name : library_names)
    if (!library) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return error("to disassemble host code LLVM 19's library is needed, libllvm19 in Debian: {}", dlerror());
  Llvm llvm;
  if (!find_all(library, llvm)) return error("LLVM's library lacks what disassembling needs: {}", dlerror());
  auto disassembler = std::make_unique<LlvmDisassembler>(llvm);
  if (!disassembler->ready()) return error("LLVM's library knows nothing of x86-64");
  return std::unique_ptr<HostDisassembler>(std::move(disassembler));
}

}  // namespace doppel
