#pragma once
// What a module's custom section "name" calls its parts (core specification, 7.4.1), for those who read backtraces.
#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "guest/wasm/module.h"

namespace doppel::wasm {

/// By the number of their part of the section, which is the order in which the parts come.
enum class NameKind : std::uint8_t {
  module,
  function,
  local,  ///< in a function
  label,  ///< in a function
  type,
  table,
  memory,
  global,
  element,
  data,
  field,  ///< in a type
  tag,
  count
};

/// Made when the first name is wanted: it goes over the section once. A section that is malformed has the names before
/// what is wrong with it, as the specification has it ignored. Names are UTF-8 and otherwise whatever the module says.
class ModuleNames {
 public:
  explicit ModuleNames(std::shared_ptr<const Module> module);

  /// Of the module itself; empty without one, as all of these. They live as long as this.
  std::string_view module() const { return module_name_; }
  /// Of the function, type, table and so on of this index. A function without one has that which it is exported by,
  /// the first in the order of names.
  std::string_view find(NameKind kind, std::uint32_t index) const;
  /// Of a local or label in a function, or a field in a type. Takes as long as its function has names.
  std::string_view find(NameKind kind, std::uint32_t owner, std::uint32_t index) const;

 private:
  struct Name {
    std::uint32_t index = 0;
    std::string_view text;
  };
  struct Part {
    std::vector<Name> names;  // of those that have no owner; ordered by index
    struct Owner {
      std::uint32_t index = 0;
      ByteRange names;
    };
    std::vector<Owner> owners;  // ordered by index
  };
  class Reading;
  void read(ByteRange section);
  void take_exports();

  std::shared_ptr<const Module> module_;
  std::string_view module_name_;
  std::array<Part, std::size_t(NameKind::count)> parts_;
};

}  // namespace doppel::wasm
