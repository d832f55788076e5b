#include "guest/wasm/text/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "guest/wasm/text/printed_module.h"

namespace doppel::wasm::text {

namespace {

/// The words of (before …) and (after …) by the numbers of sections (5.5.2).
constexpr std::string_view section_words[] = {"",       "type",  "import", "func", "table", "memory",    "global",
                                              "export", "start", "elem",   "code", "data",  "datacount", "tag"};
constexpr std::uint8_t custom_id = 0;
constexpr std::string_view extern_words[] = {"func", "table", "memory", "global", "tag"};
constexpr NameKind extern_names[] = {NameKind::functions, NameKind::tables, NameKind::memories, NameKind::globals,
                                     NameKind::tags};

/// Prints the sections in the order in which they lie in the module.
class ModulePrinter {
 public:
  ModulePrinter(const Module& module, BranchHints hints)
      : printed_(module),
        hints_(std::move(hints)),
        hinted_(!hints_.empty()),
        in_(module.bytes->data(), header_bytes, std::uint32_t(module.bytes->size())) {}

  void run();
  bool failed() const { return in_.failed(); }
  ModuleError error() const { return {in_.malformed(), in_.failure_offset(), in_.message()}; }
  /// Whether all hints belong to branches.
  bool hints_printed() const {
    return std::ranges::all_of(hints_, [](const auto& function) { return function.second.empty(); });
  }
  std::string text() { return std::move(printed_.text); }

 private:
  static constexpr std::uint32_t header_bytes = 8;

  void section(std::uint8_t id, std::uint32_t end);
  void custom(std::uint32_t end);
  template <typename Entry>
  void list(Entry entry) {
    for (auto count = in_.u32(); count > 0 && !in_.failed(); count--) entry();
  }
  template <typename... Arguments>
  void put(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(printed_.text), format, std::forward<Arguments>(arguments)...);
  }

  /// `(word $name`, the beginning of a field; without a name its number as a comment.
  void head(std::string_view word, NameKind kind, std::uint32_t index);
  std::string limits();
  std::string table_type();
  std::string global_type();
  std::string type_use(std::uint32_t type, const Identifiers* names);
  void import();
  void external_type(ExternKind kind, std::uint32_t index);
  void table();
  void global();
  void tag();
  void export_();
  void element();
  void element_list(bool expressions);
  void data();
  void function();
  void locals(const Identifiers& names, std::uint32_t parameters);
  void expression() { print_instructions(printed_, in_, {}, false); }
  void offset();

  std::uint32_t next(ExternKind kind) { return next_[std::size_t(kind)]++; }

  PrintedModule printed_;
  BranchHints hints_;
  bool hinted_;
  ByteReader in_;
  std::array<std::uint32_t, 5> next_{};
  std::uint32_t elements_ = 0, data_ = 0, own_functions_ = 0;
  std::vector<std::uint32_t> function_types_;
  std::uint8_t section_before_ = custom_id;
  bool behind_names_ = false;  ///< with no section in between but custom ones
};

void ModulePrinter::run() {
  const auto& name = printed_.names.module;
  put("(module{}\n", name.empty() ? "" : " " + dollar_name(name));
  while (!in_.at_end()) {
    const auto id = in_.byte();
    const auto size = in_.u32();
    section(id, in_.offset() + size);
  }
  put(")\n");
}

void ModulePrinter::section(std::uint8_t id, std::uint32_t end) {
  switch (id) {
    case custom_id:
      return custom(end);
    case 1:
      print_types(printed_, in_);
      break;
    case 2:
      list([this] { import(); });
      break;
    case 3:
      list([this] { function_types_.push_back(in_.u32()); });
      break;
    case 4:
      list([this] { table(); });
      break;
    case 5:
      list([this] {
        const auto index = next(ExternKind::memory);
        head("memory", NameKind::memories, index);
        put("{})\n", limits());
      });
      break;
    case 6:
      list([this] { global(); });
      break;
    case 7:
      list([this] { export_(); });
      break;
    case 8:
      put("  (start {})\n", printed_.reference(NameKind::functions, in_.u32()));
      break;
    case 9:
      list([this] { element(); });
      break;
    case 10:
      list([this] { function(); });
      break;
    case 11:
      list([this] { data(); });
      break;
    case 12:
      in_.u32();  // assemble() finds it out
      break;
    case 13:
      list([this] { tag(); });
      break;
    default:
      in_.fail("malformed section id");
  }
  section_before_ = id;
  behind_names_ = false;
}

/// Custom sections go where they are, but for those that are made of names and hints.
void ModulePrinter::custom(std::uint32_t end) {
  const auto name = in_.name();
  const auto begin = in_.offset();
  if (in_.failed() || end < begin || in_.skip(end - begin) == nullptr) return;
  const bool is_names = printed_.names.present && name == "name";
  behind_names_ |= is_names;
  if (is_names || (hinted_ && name == "metadata.code.branch_hint")) return;
  const auto& bytes = *printed_.module.bytes;
  const std::string_view content(reinterpret_cast<const char*>(bytes.data()) + begin, end - begin);
  const auto place = behind_names_                  ? std::string("after last")  // names come before these
                     : section_before_ == custom_id ? std::string("before first")
                                                    : fmt::format("after {}", section_words[section_before_]);
  put("  (@custom {} ({}) {})\n", quoted_string(name), place, quoted_string(content));
}

void ModulePrinter::head(std::string_view word, NameKind kind, std::uint32_t index) {
  const auto binding = printed_.of(kind).binding(index);
  put("  ({} {}", word, binding.empty() ? fmt::format("(;{};)", index) : binding);
}

/// With the address type in front and the page size behind.
std::string ModulePrinter::limits() {
  constexpr unsigned maximum = 1, shared = 2, is64 = 4, page = 8;
  const auto flags = in_.byte();
  std::string text = flags & is64 ? " i64" : "";
  text += fmt::format(" {}", in_.u64());
  if (flags & maximum) text += fmt::format(" {}", in_.u64());
  if (flags & shared) text += " shared";
  if (flags & page) text += fmt::format(" (pagesize {})", 1ULL << std::min(in_.u32(), 63U));
  return text;
}

/// The address type and the limits stand before the elements' type.
std::string ModulePrinter::table_type() {
  const auto element = print_value_type(printed_, in_);
  return fmt::format("{} {}", limits(), element);
}

std::string ModulePrinter::global_type() {
  const auto type = print_value_type(printed_, in_);
  return in_.byte() != 0 ? fmt::format(" (mut {})", type) : " " + type;
}

std::string ModulePrinter::type_use(std::uint32_t type, const Identifiers* names) {
  auto text = fmt::format(" (type {})", printed_.reference(NameKind::types, type));
  if (type < printed_.types.size()) text += print_signature(printed_.types[type], names);
  return text;
}

void ModulePrinter::import() {
  const auto module = quoted_string(in_.name()), name = quoted_string(in_.name());
  const auto kind = in_.byte();
  if (kind >= std::size(extern_words)) return in_.fail("malformed import kind");
  put("  (import {} {}", module, name);
  external_type(ExternKind(kind), next(ExternKind(kind)));
  put("))\n");
}

void ModulePrinter::external_type(ExternKind kind, std::uint32_t index) {
  head(extern_words[std::size_t(kind)], extern_names[std::size_t(kind)], index);
  switch (kind) {
    case ExternKind::function: {
      put("{}", type_use(in_.u32(), nullptr));
      break;
    }
    case ExternKind::table:
      put("{}", table_type());
      break;
    case ExternKind::memory:
      put("{}", limits());
      break;
    case ExternKind::global:
      put("{}", global_type());
      break;
    case ExternKind::tag:
      in_.byte();
      put("{}", type_use(in_.u32(), nullptr));
      break;
  }
}

void ModulePrinter::table() {
  constexpr std::uint8_t with_initial = 0x40;
  head("table", NameKind::tables, next(ExternKind::table));
  const bool initialised = in_.peek() == with_initial;
  if (initialised) in_.skip(2);
  put("{}", table_type());
  if (initialised) expression();
  put(")\n");
}

void ModulePrinter::global() {
  head("global", NameKind::globals, next(ExternKind::global));
  put("{}", global_type());
  expression();
  put(")\n");
}

void ModulePrinter::tag() {
  external_type(ExternKind::tag, next(ExternKind::tag));
  put(")\n");
}

void ModulePrinter::export_() {
  const auto name = quoted_string(in_.name());
  const auto kind = in_.byte();
  const auto index = in_.u32();
  if (kind >= std::size(extern_words)) return in_.fail("malformed export kind");
  put("  (export {} ({} {}))\n", name, extern_words[kind], printed_.reference(extern_names[kind], index));
}

// Segments (5.5.12, 5.5.14)

void ModulePrinter::offset() {
  put(" (offset");
  expression();
  put(")");
}

void ModulePrinter::element_list(bool expressions) {
  list([this, expressions] {
    if (!expressions) return put(" {}", printed_.reference(NameKind::functions, in_.u32()));
    put(" (item");
    expression();
    put(")");
  });
}

void ModulePrinter::element() {
  constexpr std::uint32_t not_active = 1, explicit_or_declarative = 2, by_expression = 4;
  head("elem", NameKind::elements, elements_++);
  const auto flags = in_.u32();
  const bool active = (flags & not_active) == 0, expressions = (flags & by_expression) != 0;
  if (!active && (flags & explicit_or_declarative)) put(" declare");
  if (active && (flags & explicit_or_declarative)) put(" (table {})", printed_.reference(NameKind::tables, in_.u32()));
  if (active) offset();
  const bool typed = (flags & (not_active | explicit_or_declarative)) != 0;
  if (typed && !expressions) in_.byte();
  put(" {}", !expressions ? "func" : typed ? print_value_type(printed_, in_) : "funcref");
  element_list(expressions);
  put(")\n");
}

void ModulePrinter::data() {
  constexpr std::uint32_t not_active = 1, with_memory = 2;
  head("data", NameKind::data, data_++);
  const auto flags = in_.u32();
  if (flags & with_memory) put(" (memory {})", printed_.reference(NameKind::memories, in_.u32()));
  if (!(flags & not_active)) offset();
  const auto size = in_.u32();
  const auto* bytes = in_.skip(size);
  if (bytes != nullptr) put(" {}", quoted_string({reinterpret_cast<const char*>(bytes), size}));
  put(")\n");
}

// Functions

void ModulePrinter::locals(const Identifiers& names, std::uint32_t parameters) {
  std::uint64_t total = 0;
  list([&] {
    const auto count = in_.u32();
    const auto type = print_value_type(printed_, in_);
    total += count;
    if (total > limits::locals) return in_.fail("too many locals");
    for (std::uint32_t n = 0; n < count; n++) {
      const auto binding = names.binding(parameters++);
      put("\n    (local {}{}{})", binding, binding.empty() ? "" : " ", type);
    }
  });
}

void ModulePrinter::function() {
  const auto index = next(ExternKind::function);
  if (own_functions_ >= function_types_.size()) return in_.fail("function and code section have inconsistent lengths");
  const auto type = function_types_[own_functions_++];
  head("func", NameKind::functions, index);
  const auto& labels = printed_.names.of(NameKind::labels, index);
  BodyNames names{Identifiers(printed_.names.of(NameKind::locals, index)), &labels};
  if (const auto found = hints_.find(index); found != hints_.end()) names.hints = &found->second;
  put("{}", type_use(type, &names.locals));
  in_.u32();
  names.body_begin = in_.offset();
  const bool known = type < printed_.types.size();
  locals(names.locals, known ? std::uint32_t(printed_.types[type].parameters.size()) : 0);
  print_instructions(printed_, in_, names, true);
  put(")\n");
}

}  // namespace

PrintedModule::PrintedModule(const Module& m) : module(m), names(read_name_section(m)) {
  for (std::size_t kind = 0; kind < identifiers.size(); kind++) identifiers[kind] = Identifiers(names.names[kind]);
  for (const auto& [type, of_type] : names.inner[std::size_t(NameKind::fields)]) fields[type] = Identifiers(of_type);
}

std::variant<std::string, ModuleError> print(const Module& module) {
  auto printer = std::make_unique<ModulePrinter>(module, read_branch_hints(module));
  printer->run();
  // Hints of what is no branch make no annotations; then their section is one of bytes.
  if (!printer->failed() && !printer->hints_printed()) {
    printer = std::make_unique<ModulePrinter>(module, BranchHints());
    printer->run();
  }
  if (printer->failed()) return printer->error();
  return printer->text();
}

}  // namespace doppel::wasm::text
