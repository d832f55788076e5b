#include "codegen/optimizing/compiler.h"

#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "codegen/optimizing/function.h"
#include "codegen/optimizing/object_file.h"

namespace doppel::optimizing {
namespace {

constexpr const char* triple = "x86_64-unknown-linux-gnu";
// What pays for itself in code that came from a compiler already: values instead of slots, W-forms without their
// extensions, look-ups that are the same, what a loop need not repeat.
constexpr const char* passes =
    "function(mem2reg,instcombine<no-verify-fixpoint>,simplifycfg,early-cse<memssa>,gvn,instcombine<no-verify-fixpoint>"
    ",simplifycfg,adce)";

}  // namespace

struct Compiler::Host {
  LLVMTargetMachineRef machine = nullptr;
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  ~Host() {
    LLVMDisposePassBuilderOptions(options);
    if (machine) LLVMDisposeTargetMachine(machine);
  }
};

Compiler::Compiler() : host_(std::make_unique<Host>()) {
  // A region is often entered for a few rounds: what is hoisted to its begin costs more than it saves.
  const char* options[] = {"doppel-optimizer", "-disable-machine-licm"};
  LLVMParseCommandLineOptions(2, options, nullptr);
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMTargetRef target = nullptr;
  char* problem = nullptr;
  if (LLVMGetTargetFromTriple(triple, &target, &problem)) {
    LLVMDisposeMessage(problem);
    return;
  }
  auto *cpu = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
  host_->machine =
      LLVMCreateTargetMachine(target, triple, cpu, features, LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
  LLVMDisposeMessage(cpu);
  LLVMDisposeMessage(features);
}

Compiler::~Compiler() = default;
bool Compiler::ready() const { return host_->machine != nullptr; }

RegionObject Compiler::compile(const RegionRequest& request) {
  RegionObject out;
  out.id = request.id;
  if (!ready()) return out;
  auto* context = LLVMContextCreate();
  auto* module = LLVMModuleCreateWithNameInContext("region", context);
  LLVMSetTarget(module, triple);
  auto* layout = LLVMCreateTargetDataLayout(host_->machine);
  LLVMSetModuleDataLayout(module, layout);
  LLVMDisposeTargetData(layout);
  Function function(context, module, request);
  if (function.build()) {
    LLVMMemoryBufferRef buffer = nullptr;
    char* problem = nullptr;
    if (auto* failed = LLVMRunPasses(module, passes, host_->machine, host_->options))
      LLVMConsumeError(failed);
    else if (LLVMTargetMachineEmitToMemoryBuffer(host_->machine, module, LLVMObjectFile, &problem, &buffer))
      LLVMDisposeMessage(problem);
    if (buffer) {
      const auto* bytes = reinterpret_cast<const std::byte*>(LLVMGetBufferStart(buffer));
      if (read_object({bytes, LLVMGetBufferSize(buffer)}, Function::exit_prefix, out))
        out.exits = function.exits();
      else
        out.text.clear();
      LLVMDisposeMemoryBuffer(buffer);
    }
  }
  LLVMDisposeModule(module);
  LLVMContextDispose(context);
  return out;
}

}  // namespace doppel::optimizing
