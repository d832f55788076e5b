#include "engine/perf_map.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file_descriptor.h"

namespace doppel {
namespace {

class PerfMap final : public TranslationObserver {
 public:
  explicit PerfMap(FileDescriptor file) : file_(std::move(file)) {}
  void shared_code(std::span<const std::byte> code) override { add(code, "doppel:shared_code"); }
  void made(const MadeTranslation& translation) override { add(translation.code, symbol_of(translation)); }

 private:
  /// A full disk costs names, not the run.
  void add(std::span<const std::byte> code, std::string_view name) {
    const auto line = fmt::format("{:x} {:x} {}\n", std::uintptr_t(code.data()), code.size(), name);
    [[maybe_unused]] const auto written = ::write(file_.get(), line.data(), line.size());
  }
  FileDescriptor file_;
};

}  // namespace

Result<std::unique_ptr<TranslationObserver>> make_perf_map() {
  const auto path = fmt::format("/tmp/perf-{}.map", getpid());
  // Everybody may write there: what is there already, of an earlier process of this number, is never written to.
  unlink(path.c_str());
  FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return error("cannot write the perf map {}: {}", path, std::strerror(errno));
  return std::unique_ptr<TranslationObserver>(std::make_unique<PerfMap>(std::move(file)));
}

}  // namespace doppel
