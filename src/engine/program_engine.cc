#include "engine/program_engine.h"

#include <algorithm>
#include <cstring>

#include "guest/wasm/translate.h"
#include "guest/wasm/vector_routines.h"

namespace doppel {
namespace {

/// Functions that a store may have; the rows of more need not be there.
constexpr std::size_t most_functions = 1U << 22;
constexpr std::uint32_t chunk_stubs = 1024;

fast::ProgramShape::Traps traps() {
  using wasm::Trap;
  const auto number = [](Trap trap) { return std::uint16_t(trap); };
  return {.divide_by_zero = number(Trap::divide_by_zero),
          .integer_overflow = number(Trap::integer_overflow),
          .invalid_conversion = number(Trap::invalid_conversion),
          .memory_bounds = number(Trap::memory_bounds),
          .table_bounds = number(Trap::table_bounds),
          .undefined_element = number(Trap::undefined_element),
          .uninitialized_element = number(Trap::uninitialized_element),
          .type_mismatch = number(Trap::type_mismatch),
          .stack_exhausted = number(Trap::stack_exhausted)};
}

fast::ProgramShape shape_of(const wasm::Module& module) {
  fast::ProgramShape shape;
  shape.layout = {.memories = std::uint32_t(module.memories.size()),
                  .tables = std::uint32_t(module.tables.size()),
                  .globals = std::uint32_t(module.globals.size()),
                  .imports = module.imported_functions,
                  .functions = std::uint32_t(module.functions.size()) - module.imported_functions};
  for (const auto& memory : module.memories)
    shape.memories.push_back({.guarded = !memory.limits.is64 && memory.page_shift == 16,
                              .wide = memory.limits.is64,
                              .page_shift = memory.page_shift});
  for (const auto& table : module.tables) shape.wide_tables.push_back(table.type.limits.is64);
  shape.traps = traps();
  return shape;
}

/// The place in a context that is so many bytes from its begin.
template <typename T>
T& field(ir::ProgramContext* context, std::uint32_t offset) {
  return *reinterpret_cast<T*>(reinterpret_cast<std::byte*>(context) + offset);
}

bool host_is_able() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("lzcnt");
}

}  // namespace

ProgramEngine::ProgramEngine(wasm::Store& store, std::unique_ptr<CodeMemory> memory)
    : store_(store), memory_(std::move(memory)) {}
ProgramEngine::~ProgramEngine() = default;

Result<std::unique_ptr<ProgramEngine>> ProgramEngine::create(wasm::Store& store, const ProgramEngineOptions& options) {
  if (!host_is_able()) return error("compiled code needs a processor with AVX2, BMI2 and FMA");
  auto memory = CodeMemory::create(options.code_bytes);
  if (!memory) return memory.failure();
  std::unique_ptr<ProgramEngine> made(new ProgramEngine(store, std::move(*memory)));
  if (auto prepared = made->prepare(options); !prepared) return prepared.failure();
  return made;
}

Result<void> ProgramEngine::prepare(const ProgramEngineOptions& options) {
  stack_ = std::make_unique<ProgramStack>(options.stack_bytes);
  rows_ = AddressRange(most_functions * sizeof(ir::FunctionRow));
  if (!stack_->ok() || !rows_.data()) return error("there is no room for a program's stack");
  routines_ = fast::make_program_routines(
      {.runtime = on_runtime, .host = on_host, .compile = on_compile, .subtype = on_subtype});
  routines_at_ = memory_->add(routines_.bytes);
  if (!routines_at_) return error("{} bytes are no room for a program's code", options.code_bytes);
  faulting_ = std::make_unique<FaultingCode>(std::span(memory_->base(), memory_->size()), routine(routines_.fault));
  if (!faulting_->known()) return error("more than {} programs cannot run at a time", FaultingCode::most);
  state_ = std::make_unique<ir::ProgramState>();
  state_->stack = stack_->top();
  state_->program = this;
  host_stubs_.routine = routines_.host;
  compile_stubs_.routine = routines_.compile;
  fill_context(host_context_);
  return {};
}

void ProgramEngine::fill_context(ir::ProgramContext& context) const {
  context.stack_limit = stack_->limit();
  context.trap = routine(routines_.trap);
  context.runtime = routine(routines_.runtime);
  context.subtype = routine(routines_.subtype);
  context.area = state_->area.data();
  context.rows = reinterpret_cast<ir::FunctionRow*>(rows_.data());
  context.state = state_.get();
  context.vectors = wasm::vector_routines().data();
}

/// Null where there is no room.
const std::byte* ProgramEngine::stub(Stubs& stubs, std::uint32_t number) {
  const auto chunk = number / chunk_stubs;
  if (stubs.chunks.size() <= chunk) stubs.chunks.resize(chunk + 1);
  if (!stubs.chunks[chunk]) {
    // Where they will lie is known: code memory hands out what is next.
    const auto begin = (memory_->used() + CodeMemory::alignment - 1) & ~(CodeMemory::alignment - 1);
    const auto distance = routine(stubs.routine) - (memory_->base() + begin);
    stubs.chunks[chunk] = memory_->add(fast::make_stubs(chunk * chunk_stubs, chunk_stubs, distance));
    if (!stubs.chunks[chunk]) return nullptr;
  }
  return stubs.chunks[chunk] + (number % chunk_stubs) * fast::stub_bytes;
}

/// What is new in the store; false where there is no room for it.
bool ProgramEngine::know_everything() {
  if (store_.functions.size() > most_functions) return false;
  while (instances_.size() < store_.instances.size())
    if (!know_instance(store_.instances[instances_.size()])) return false;
  while (known_functions_ < store_.functions.size()) {
    if (!know_function(std::uint32_t(known_functions_))) return false;
    known_functions_++;
  }
  update_views();
  return true;
}

bool ProgramEngine::know_instance(wasm::Instance& instance) {
  auto code = std::make_unique<InstanceCode>();
  code->shape = shape_of(*instance.module);
  const auto& layout = code->shape.layout;
  code->memory = std::make_unique<std::byte[]>(layout.bytes());
  code->context = new (code->memory.get()) ir::ProgramContext;
  code->generator = std::make_unique<fast::FunctionGenerator>(code->shape);
  fill_context(*code->context);
  code->context->functions = instance.functions.data();
  code->context->instance = &instance;
  // An instance that was not finished has less than its module says.
  for (std::uint32_t n = 0; n < instance.globals.size(); n++)
    field<void*>(code->context, layout.global(n)) = &store_.globals[instance.globals[n]].value;
  for (std::uint32_t n = 0; n < layout.imports; n++)
    field<void*>(code->context, layout.import(n)) = code->context->rows + instance.functions[n];
  for (std::uint32_t n = 0; n < layout.functions; n++) {
    const auto* const at = stub(compile_stubs_, n);
    if (!at) return false;
    field<const void*>(code->context, layout.code(n)) = at;
  }
  instances_.push_back(std::move(code));
  return true;
}

bool ProgramEngine::know_function(std::uint32_t number) {
  const auto& function = store_.functions[number];
  auto& row = host_context_.rows[number];
  row.type = function.type;
  if (function.instance == wasm::FunctionEntry::host) {
    row.context = &host_context_;
    row.code = stub(host_stubs_, number);
  } else {
    auto& code = *instances_[function.instance];
    row.context = code.context;
    row.code = stub(compile_stubs_, function.index - code.shape.layout.imports);
  }
  return row.code != nullptr;
}

/// Memories and tables move and grow.
void ProgramEngine::update_views() {
  for (auto& code : instances_) {
    const auto& instance = *static_cast<const wasm::Instance*>(code->context->instance);
    const auto& layout = code->shape.layout;
    for (std::uint32_t n = 0; n < instance.memories.size(); n++) {
      const auto& memory = store_.memories[instance.memories[n]];
      field<ir::ProgramView>(code->context, layout.memory(n)) = {memory.data(), memory.bytes()};
    }
    for (std::uint32_t n = 0; n < instance.tables.size(); n++) {
      auto& elements = store_.tables[instance.tables[n]].elements;
      field<ir::ProgramView>(code->context, layout.table(n)) = {elements.data(), elements.size()};
    }
  }
}

const std::byte* ProgramEngine::generate(InstanceCode& code, std::uint32_t index, std::uint32_t number) {
  const auto& instance = *static_cast<const wasm::Instance*>(code.context->instance);
  if (wasm::translate(*instance.module, code.shape.layout.imports + index, function_)) return nullptr;
  if (!code.generator->generate(function_, made_)) return nullptr;
  const auto* const at = memory_->add(made_.bytes);
  if (!at) return nullptr;
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  compiled_.push_back({begin, begin + made_.bytes.size(), number, {made_.sites.begin(), made_.sites.end()}});
  return at;
}

/// What has no code is interpreted: as if it were the host's.
const void* ProgramEngine::compile(InstanceCode& code, std::uint32_t index) {
  const auto number = code.context->functions[code.shape.layout.imports + index];
  const std::byte* at = generate(code, index, number);
  if (!at) at = stub(host_stubs_, number);
  if (!at) return nullptr;
  field<const void*>(code.context, code.shape.layout.code(index)) = at;
  host_context_.rows[number].code = at;
  return at;
}

std::size_t ProgramEngine::compile_all(const wasm::Instance& instance) {
  if (!know_everything()) return instance.functions.size();
  auto& code = *instances_[instance.number];
  std::size_t failed = 0;
  for (std::uint32_t n = 0; n < code.shape.layout.functions; n++) {
    const auto before = compiled_.size();
    compile(code, n);
    failed += compiled_.size() == before;
  }
  return failed;
}

}  // namespace doppel
