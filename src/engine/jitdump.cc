#include "engine/jitdump.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/file_descriptor.h"
#include "memory/guest_memory.h"

namespace doppel {
namespace {

// The file's records, with the specification's names.
struct Header {
  std::uint32_t magic = 0x4a695444, version = 1, total_size = sizeof(Header), elf_mach = EM_X86_64, pad1 = 0;
  std::uint32_t pid = std::uint32_t(getpid());
  std::uint64_t timestamp = std::uint64_t(monotonic_ns()), flags = 0;
};
static_assert(sizeof(Header) == 40);

enum class RecordKind : std::uint32_t { load = 0, close = 3 };

struct RecordHeader {
  RecordKind id;
  std::uint32_t total_size;
  std::uint64_t timestamp = std::uint64_t(monotonic_ns());
};

struct CodeLoad {
  RecordHeader header;
  std::uint32_t pid = std::uint32_t(getpid()), tid = std::uint32_t(gettid());
  std::uint64_t vma, code_addr, code_size, code_index;
};
static_assert(sizeof(CodeLoad) == 56);

class Jitdump final : public TranslationObserver {
 public:
  Jitdump(FileDescriptor file, void* marker) : file_(std::move(file)), marker_(marker) { write_all(Header{}); }
  ~Jitdump() override {
    write_all(RecordHeader{.id = RecordKind::close, .total_size = sizeof(RecordHeader)});
    munmap(marker_, page_size);
  }
  void shared_code(std::span<const std::byte> code) override { add(code, "doppel:shared_code"); }
  void made(const MadeTranslation& translation) override { add(translation.code, symbol_of(translation)); }

 private:
  void add(std::span<const std::byte> code, const std::string& name) {
    const auto at = std::uint64_t(std::uintptr_t(code.data()));
    const auto bytes = sizeof(CodeLoad) + name.size() + 1 + code.size();
    CodeLoad load{.header = {.id = RecordKind::load, .total_size = std::uint32_t(bytes)},
                  .vma = at,
                  .code_addr = at,
                  .code_size = code.size(),
                  .code_index = index_++};
    const iovec parts[] = {{&load, sizeof load},
                           {const_cast<char*>(name.c_str()), name.size() + 1},
                           {const_cast<std::byte*>(code.data()), code.size()}};
    // What was cut off by a full disk would be taken for a record: nothing more is written.
    if (sound_) sound_ = ::writev(file_.get(), parts, std::size(parts)) == ssize_t(bytes);
  }
  template <typename Record>
  void write_all(const Record& record) {
    if (sound_) sound_ = ::write(file_.get(), &record, sizeof record) == ssize_t(sizeof record);
  }

  FileDescriptor file_;
  void* marker_;
  std::uint64_t index_ = 0;
  bool sound_ = true;
};

}  // namespace

Result<std::unique_ptr<TranslationObserver>> make_jitdump(const std::string& folder) {
  const auto path = fmt::format("{}/jit-{}.dump", folder, getpid());
  FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return error("cannot write the jitdump {}: {}", path, std::strerror(errno));
  // perf finds the file by this mapping, which it records; nothing is executed there.
  void* marker = mmap(nullptr, page_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, file.get(), 0);
  if (marker == MAP_FAILED)
    return error("cannot map the jitdump {} for perf to find it: {}", path, std::strerror(errno));
  return std::unique_ptr<TranslationObserver>(std::make_unique<Jitdump>(std::move(file), marker));
}

}  // namespace doppel
