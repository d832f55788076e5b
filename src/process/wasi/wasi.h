#pragma once
// WASI preview 1 (module wasi_snapshot_preview1) and its forerunner wasi_unstable for one program: what it may see of
// the host, and the functions by which it does. See docs/wasi.md for what was chosen where the specification leaves it.
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "guest/wasm/store.h"
#include "process/wasi/confined_path.h"
#include "process/wasi/descriptor.h"
#include "process/wasi/environment.h"

namespace doppel::wasi {

class Context;

/// A folder of the host's that a program may use, and all that lies beneath.
struct Grant {
  std::string host_path;
  std::string guest_path;  ///< as the program finds it, e.g. "/" or "/data"
  bool read_only = false;
};

struct WasiConfiguration {
  std::vector<std::string> arguments;    ///< the program's name first
  std::vector<std::string> environment;  ///< NAME=VALUE
  std::vector<Grant> grants;             ///< descriptors from 3 on
  std::array<int, 3> stdio = {0, 1, 2};  ///< the host's, which stay the caller's; -1: the program has none
  std::vector<int> listeners;  ///< listening sockets of the host's, which stay the caller's; behind the grants
  bool yielding = false;       ///< what would wait returns HostOutcome::waits() instead
  Resolver resolver = Resolver::kernel;  ///< as long as the kernel has openat2
};

/// What a snapshot keeps besides the configuration.
struct SavedState {
  std::vector<DescriptorRecord> descriptors;
  /// How long the poll_oneoff that waits has waited, in nanoseconds.
  std::optional<std::uint64_t> waited;
};

class Wasi {
 public:
  /// Error: a grant's folder cannot be opened, a string has a NUL in it, there are more grants than descriptors.
  /// SIGPIPE is ignored from then on where nobody handles it.
  static Result<Wasi> create(WasiConfiguration configuration, std::shared_ptr<Environment> environment);
  Wasi(Wasi&&) noexcept;
  Wasi& operator=(Wasi&&) noexcept;
  ~Wasi();

  /// All functions of both modules. They stay valid as long as any of them does, and all share the program's state.
  std::vector<wasm::HostFunction> functions() const;

  /// Of a context that yields, after HostOutcome::waits(): what to poll before the execution is resumed.
  const Pending& pending() const;

  /// The open descriptors. Error: one of them could not be opened again: a connection, or a file without a name.
  Result<SavedState> save() const;
  /// Opens them again, in place of what this one has open; it was created with the configuration of the one that was
  /// saved. Error: a file is gone, or another has its name; then nothing has changed.
  Result<void> restore(const SavedState& state);

 private:
  explicit Wasi(std::shared_ptr<Context> context);
  std::shared_ptr<Context> context_;
};

}  // namespace doppel::wasi
