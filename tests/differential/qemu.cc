#include "qemu.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace doppel::differential {

namespace {

constexpr rlim_t most_seconds =
    60;  // of processor time: an instruction that never ends is noticed, a busy computer is not

/// A folder that goes away with its contents.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_(::mkdtemp(template_)) {}
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  char template_[32] = "/tmp/differential-XXXXXX";
  std::string path_;
};

[[noreturn]] void become_qemu(const char* qemu, const std::string& elf, const std::string& output) {
  const int fd = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ::dup2(fd, 1) < 0) ::_exit(126);
  const rlimit none{0, 0}, time{most_seconds, most_seconds};
  ::setrlimit(RLIMIT_CORE, &none);
  ::setrlimit(RLIMIT_CPU, &time);
  ::execl(qemu, qemu, "-cpu", "max", elf.c_str(), nullptr);
  ::_exit(127);
}

std::string ending(int status) {
  if (WIFSIGNALED(status)) return fmt::format("signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)));
  return fmt::format("exit {}", WEXITSTATUS(status));
}

}  // namespace

Result<Outcome> run_qemu(const Program& program) {
  const char* named = std::getenv("DOPPEL_QEMU_RISCV64");
  const char* qemu = named ? named : DOPPEL_QEMU;
  if (::access(qemu, X_OK) != 0)
    return error("there is no qemu-riscv64 to compare with: name one (version 10 or later) in DOPPEL_QEMU_RISCV64");
  TemporaryFolder folder;
  const auto elf = folder.file("streams"), output = folder.file("output");
  const auto bytes = elf_file(program);
  std::ofstream(elf, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
  ::chmod(elf.c_str(), 0700);
  const pid_t child = ::fork();
  if (child == 0) become_qemu(qemu, elf, output);
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return error("qemu-riscv64 could not be started");
  if (WIFEXITED(status) && WEXITSTATUS(status) >= 126) return error("{} could not be run", qemu);
  std::ifstream in(output, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto* raw = reinterpret_cast<const std::byte*>(text.data());
  return Outcome{{raw, raw + text.size()}, ending(status)};
}

}  // namespace doppel::differential
