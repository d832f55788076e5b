#pragma once
// Scripts of the specification's tests (.wast): modules, actions on them and what is to come of it.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "guest/wasm/text/assemble.h"
#include "guest/wasm/value.h"

namespace doppel::wasm::text {

/// A module in a script: in the text format, as bytes, or as quoted text, which may be wrong.
struct ScriptModule {
  std::string id;           ///< "$name", or empty
  bool definition = false;  ///< not to be instantiated
  bool quoted = false;
  std::variant<AssembledModule, TextError> module;  ///< of `(module binary …)` just the bytes
};
/// `(module instance $id $of)`.
struct ScriptInstance {
  std::string id, of;
};

/// A constant that is passed or expected. Of what is expected `lanes` has one entry for a scalar and one for each lane
/// of a v128.
struct ScriptValue {
  enum class Nan : std::uint8_t { none, canonical, arithmetic };
  enum class ReferencePattern : std::uint8_t { exact, any_function, any_extern, any_null, any_other };
  ValueType type;
  Cell cell;               ///< with `exact` of a reference: null or host
  std::vector<Nan> lanes;  ///< for f32, f64 and v128 of them; else empty
  std::uint8_t lane_bytes = 0;
  ReferencePattern pattern = ReferencePattern::exact;
  std::string other;                ///< `any_other`: the word, e.g. "ref.struct"
  std::vector<ScriptValue> either;  ///< not empty: any of these
};

struct Action {
  enum class Kind : std::uint8_t { invoke, get } kind = Kind::invoke;
  std::string module;  ///< "$name", or empty: the latest
  std::string name;
  std::vector<ScriptValue> arguments;
};

struct Command {
  enum class Kind : std::uint8_t {
    module,
    instance,
    register_,
    action,
    assert_return,
    assert_trap,  ///< of an action, or of a module's instantiation
    assert_exhaustion,
    assert_exception,
    assert_malformed,
    assert_malformed_custom,
    assert_invalid,
    assert_invalid_custom,
    assert_unlinkable,
  } kind = Kind::module;
  std::uint32_t line = 0;
  std::optional<ScriptModule> module;
  ScriptInstance instance;
  std::string as;  ///< register: the name under which others import it
  std::string id;  ///< register: which module, "$name" or empty
  std::optional<Action> action;
  std::vector<ScriptValue> results;
  std::string message;  ///< of an assertion: how the failure is called
};

/// Everything in a script. A module in text form that is wrong is an error of the command that has it, not of the
/// script.
std::variant<std::vector<Command>, TextError> parse_script(std::string_view text);

}  // namespace doppel::wasm::text
