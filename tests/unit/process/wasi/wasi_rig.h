#pragma once
// A program without code: its memory, a folder that it is granted, and calls as a module would make them.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "guest/wasm/store.h"
#include "process/wasi/wasi.h"

namespace doppel::wasi {

inline void PrintTo(Errno error, std::ostream* out) { *out << spelling(error); }

/// A fresh folder with a "granted" and an "outside" in it, removed at the end of the test.
class Folders {
 public:
  Folders() {
    std::string name = (std::filesystem::temp_directory_path() / "doppel-wasi-XXXXXX").string();
    if (!mkdtemp(name.data())) std::abort();
    top_ = name;
    std::filesystem::create_directory(granted());
    std::filesystem::create_directory(outside());
    write(outside() + "/secret", "secret");
  }
  ~Folders() {
    std::error_code ignored;
    std::filesystem::remove_all(top_, ignored);
  }
  std::string granted(const std::string& name = "") const {
    return top_ + "/granted" + (name.empty() ? "" : "/" + name);
  }
  std::string outside() const { return top_ + "/outside"; }
  static void write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
  static std::string read(const std::string& path) {
    return std::string(std::istreambuf_iterator<char>(std::ifstream(path, std::ios::binary).rdbuf()), {});
  }

 private:
  std::string top_;
};

/// Text in the guest's memory.
struct GuestText {
  std::uint32_t at = 0, size = 0;
};

class Rig {
 public:
  static constexpr std::uint32_t root = 3;  ///< the descriptor of the granted folder
  static constexpr std::uint32_t pages = 16, bytes = pages << 16;

  explicit Rig(WasiConfiguration configuration, std::shared_ptr<Environment> environment = host_environment())
      : wasi_(start(std::move(configuration), std::move(environment))), functions_(wasi_.functions()) {
    const auto memory = store_.add_memory(
        {.limits = {.minimum = pages, .maximum = pages, .is64 = false, .shared = false}, .page_shift = 16});
    if (!memory) std::abort();
    auto& instance = store_.instances.emplace_back();
    instance.memories.push_back(*memory);
  }

  static WasiConfiguration configuration(const Folders& folders, bool read_only = false) {
    WasiConfiguration out;
    out.grants = {{folders.granted(), "/", read_only}};
    out.stdio = {-1, -1, -1};
    return out;
  }

  wasm::HostOutcome run(std::string_view module, std::string_view name, const std::vector<std::uint64_t>& arguments) {
    for (const auto& function : functions_)
      if (function.module == module && function.name == name) return run(function, arguments);
    ADD_FAILURE() << "no function " << name;
    return {};
  }
  wasm::HostOutcome run(const wasm::HostFunction& function, const std::vector<std::uint64_t>& arguments) {
    std::vector<wasm::Cell> cells, results(function.results.size());
    for (const auto argument : arguments) cells.push_back({argument, 0});
    EXPECT_EQ(cells.size(), function.parameters.size()) << function.name;
    const auto outcome = function.call({store_, &store_.instances.back(), cells, results});
    error_ = results.empty() ? Errno::success : Errno(results[0].low);
    return outcome;
  }
  /// Calls a function of preview 1 that returns.
  template <typename... Arguments>
  Errno call(std::string_view name, Arguments... arguments) {
    const auto outcome = run("wasi_snapshot_preview1", name, {std::uint64_t(arguments)...});
    EXPECT_EQ(outcome.kind, wasm::HostOutcome::Kind::returned) << name;
    return error_;
  }
  template <typename... Arguments>
  Errno call_unstable(std::string_view name, Arguments... arguments) {
    const auto outcome = run("wasi_unstable", name, {std::uint64_t(arguments)...});
    EXPECT_EQ(outcome.kind, wasm::HostOutcome::Kind::returned) << name;
    return error_;
  }
  Errno error() const { return error_; }

  std::uint8_t* data() { return store_.memories[0].data(); }
  template <typename T>
  T get(std::uint32_t at) {
    T value;
    memcpy(&value, data() + at, sizeof value);
    return value;
  }
  template <typename T>
  void set(std::uint32_t at, T value) {
    memcpy(data() + at, &value, sizeof value);
  }
  std::string text(std::uint32_t at, std::uint32_t size) {
    return std::string(reinterpret_cast<const char*>(data()) + at, size);
  }
  /// Room that nothing has used lately.
  std::uint32_t room(std::uint32_t size) {
    const std::uint32_t taken = (size + 15) & ~15U;
    if (next_ + taken > bytes) next_ = 4096;
    next_ += taken;
    return next_ - taken;
  }
  GuestText put(std::string_view text) {
    const auto at = room(std::uint32_t(text.size()) + 1);
    memcpy(data() + at, text.data(), text.size());
    return {at, std::uint32_t(text.size())};
  }
  /// One iovec of that stretch.
  std::uint32_t vector(std::uint32_t at, std::uint32_t size) {
    const auto out = room(8);
    set(out, at);
    set(out + 4, size);
    return out;
  }

  // What many tests do.
  Errno open(std::string_view path, std::uint32_t& fd, std::uint32_t oflags = 0, Rights base = rights::file,
             std::uint32_t lookup = 0, std::uint32_t flags = 0, std::uint32_t folder = root,
             Rights inheriting = rights::all) {
    const auto name = put(path);
    const auto out = room(4);
    const Errno error = call("path_open", folder, lookup, name.at, name.size, oflags, base, inheriting, flags, out);
    fd = error == Errno::success ? get<std::uint32_t>(out) : ~0U;
    return error;
  }
  std::uint32_t must_open(std::string_view path, std::uint32_t oflags = 0, Rights base = rights::file) {
    std::uint32_t fd = 0;
    EXPECT_EQ(open(path, fd, oflags, base), Errno::success) << path;
    return fd;
  }
  Errno write(std::uint32_t fd, std::string_view bytes) {
    const auto from = put(bytes);
    return call("fd_write", fd, vector(from.at, from.size), 1, counter);
  }
  Errno read(std::uint32_t fd, std::string& out, std::uint32_t most = 100) {
    const auto to = room(most);
    const Errno error = call("fd_read", fd, vector(to, most), 1, counter);
    out = error == Errno::success ? text(to, get<std::uint32_t>(counter)) : "";
    return error;
  }
  /// Calls a function of a folder and a path.
  Errno at_path(std::string_view function, std::string_view path, std::uint32_t folder = root) {
    const auto name = put(path);
    return call(function, folder, name.at, name.size);
  }
  /// The type that path_filestat_get finds.
  Errno stat(std::string_view path, std::uint32_t lookup = 0, std::uint32_t folder = root) {
    const auto name = put(path);
    return call("path_filestat_get", folder, lookup, name.at, name.size, status);
  }

  static constexpr std::uint32_t counter = 64, status = 128;  ///< where results go
  Wasi& wasi() { return wasi_; }
  const std::vector<wasm::HostFunction>& functions() const { return functions_; }

 private:
  static Wasi start(WasiConfiguration configuration, std::shared_ptr<Environment> environment) {
    auto made = Wasi::create(std::move(configuration), std::move(environment));
    if (!made) ADD_FAILURE() << made.message();
    return std::move(*made);
  }

  wasm::Store store_;
  Wasi wasi_;
  std::vector<wasm::HostFunction> functions_;
  std::uint32_t next_ = 4096;
  Errno error_ = Errno::success;
};

}  // namespace doppel::wasi
