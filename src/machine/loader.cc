#include "machine/loader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <future>
#include <system_error>

#include "base/file_descriptor.h"
#include "machine/byte_size.h"
#include "machine/decompress.h"
#include "machine/elf.h"
#include "machine/file_record.h"

namespace doppel {
namespace {

using namespace std::string_view_literals;
using File = std::span<const std::byte>;

constexpr std::string_view expected =
    "expected a RISC-V Image (plain, EFI, or packed by gzip or zstd) or a 64-bit RISC-V ELF";

/// Documentation/arch/riscv/boot-image-header.rst of Linux.
struct ImageHeader {
  std::uint32_t code[2];
  std::uint64_t text_offset;
  std::uint64_t image_size;  // in memory, with what is zero at first
  std::uint64_t flags;       // bit 0: big-endian
  std::uint32_t version;     // major in the upper half
  std::uint32_t reserved1;
  std::uint64_t reserved2;
  std::uint64_t magic;   // "RISCV\0\0\0", deprecated
  std::uint32_t magic2;  // "RSC\x05"
  std::uint32_t pe_offset;
};
static_assert(sizeof(ImageHeader) == 64);
constexpr std::uint64_t image_magic_offset = 48, image_magic2_offset = 56;

/// The head of an EFI zboot file (drivers/firmware/efi/libstub/zboot-header.S of Linux).
struct ZbootHeader {
  char mz[4];
  char zimg[4];
  std::uint32_t payload_offset, payload_size;
  std::uint32_t reserved[2];
  char compression[32];
};
static_assert(sizeof(ZbootHeader) == 56);

/// What users give by mistake, so that the message can say what it is.
struct Foreign {
  std::uint64_t offset;
  std::string_view magic, what;
};
constexpr std::array foreign_files = {
    Foreign{56, "ARM\x64"sv, "a kernel for AArch64"},
    Foreign{0x202, "HdrS"sv, "a kernel for x86"},
    Foreign{0, "QFI\xfb"sv, "a qcow2 disk image (that would be --disk)"},
    Foreign{0x438, "\x53\xef"sv, "an ext4 file system (that would be --disk)"},
    Foreign{0x8001, "CD001"sv, "a CD image (that would be --disk)"},
    Foreign{510, "\x55\xaa"sv, "a disk image (that would be --disk)"},
    Foreign{0, "07070"sv, "a cpio archive (that would be --initrd)"},
    Foreign{0, "\xd0\x0d\xfe\xed"sv, "a device tree or FIT image"},
    Foreign{0, "\x27\x05\x19\x56"sv, "a U-Boot legacy image"},
    Foreign{0, "\xfd\x37zXZ"sv, "packed by xz"},
    Foreign{0, "BZh"sv, "packed by bzip2"},
    Foreign{0, "\x02\x21\x4c\x18"sv, "packed by lz4"},
    Foreign{0, "!<arch>\n"sv, "an archive or Debian package"},
};

Error not_a_kernel(File file, std::string_view path) {
  for (const auto& foreign : foreign_files)
    if (has_magic(file, foreign.offset, foreign.magic)) return error("{} is {}: {}", path, foreign.what, expected);
  return error("{} is not a kernel that Doppel knows: {}", path, expected);
}

bool is_image(File file) {
  return has_magic(file, image_magic2_offset, "RSC\x05"sv) || has_magic(file, image_magic_offset, "RISCV\0\0\0"sv);
}

/// Sections of an EFI image say how many bytes of it are in the file, which the Image header does not: its size counts
/// the zeros behind them too. (PE format: COFF file header, section table.)
Result<void> check_pe_sections(File file, std::uint64_t file_size, std::string_view path, std::uint64_t pe_offset) {
  struct [[gnu::packed]] CoffHeader {
    char signature[4];
    std::uint16_t machine, sections;
    std::uint32_t time, symbols, symbol_count;
    std::uint16_t optional_size, characteristics;
  };
  struct Section {
    char name[8];
    std::uint32_t memory_size, address, file_size, file_offset, rest[4];
  };
  static_assert(sizeof(CoffHeader) == 24 && sizeof(Section) == 40);
  const auto coff = record_at<CoffHeader>(file, pe_offset);
  if (!coff) return error("{} is truncated: its EFI header is not all there", path);
  if (std::memcmp(coff->signature, "PE\0\0", 4) != 0) return {};  // not EFI after all: the Image header stands alone
  const auto table = pe_offset + sizeof(CoffHeader) + coff->optional_size;
  for (unsigned i = 0; i < coff->sections; i++) {
    const auto section = record_at<Section>(file, table + i * sizeof(Section));
    if (!section) return error("{} is truncated: its EFI section table is not all there", path);
    const auto end = std::uint64_t{section->file_offset} + section->file_size;
    if (section->file_size != 0 && end > file_size)
      return error("{} is truncated: it has {} bytes of {}", path, file_size, end);
  }
  return {};
}

/// Of an Image of `file_size` bytes that begins with `file`; where the bytes are is the caller's to say.
Result<LoadedKernel> parse_image(File file, std::uint64_t file_size, std::string_view path, std::uint64_t memory_size) {
  const auto header = record_at<ImageHeader>(file, 0);
  if (!header) return error("{} is truncated: its Image header is not all there", path);
  if (header->flags & 1) return error("{} is a big-endian Image: expected a little-endian one", path);
  if (header->version >> 16 != 0)
    return error("{} has an Image header of version {}: Doppel knows version 0", path, header->version >> 16);
  if (has_magic(file, 0, "MZ"))
    if (auto checked = check_pe_sections(file, file_size, path, header->pe_offset); !checked) return checked.failure();
  const auto size = std::max(header->image_size, file_size);
  if (size > memory_size || header->text_offset > memory_size - size)
    return error("the kernel {} needs {} at {:#x} in memory, and the memory is {}: give more with --memory", path,
                 byte_size_text(size), header->text_offset, byte_size_text(memory_size));
  if (header->text_offset % 4096 != 0)
    return error("{} is corrupt: its text offset {:#x} is not a multiple of 4096", path, header->text_offset);
  LoadedKernel kernel{.path = std::string(path), .kind = KernelKind::image, .text_offset = header->text_offset};
  kernel.segments.push_back({0, 0, file_size, size});
  return kernel;
}

Result<LoadedKernel> parse_raw(std::vector<std::byte> file, std::string_view path, std::uint64_t memory_size) {
  if (file.empty()) return error("{} is empty", path);
  if (file.size() > memory_size)
    return error("{} of {} does not fit in {} of memory: give more with --memory", path, byte_size_text(file.size()),
                 byte_size_text(memory_size));
  LoadedKernel kernel{.path = std::string(path), .kind = KernelKind::raw};
  kernel.segments.push_back({0, 0, file.size(), file.size()});
  kernel.contents = std::move(file);
  return kernel;
}

using Unpacked = Result<std::vector<std::byte>>;

Unpacked unpack_zboot(File file, std::string_view path, std::uint64_t limit) {
  const auto header = record_at<ZbootHeader>(file, 0);
  if (!header) return error("{} is truncated: its EFI zboot header is not all there", path);
  if (!range_in(file.size(), header->payload_offset, header->payload_size))
    return error("{} is truncated: it has {} bytes of {}", path, file.size(),
                 std::uint64_t{header->payload_offset} + header->payload_size);
  const auto payload = file.subspan(header->payload_offset, header->payload_size);
  const std::string_view name(header->compression, strnlen(header->compression, sizeof header->compression));
  if (name == "gzip") return unpack_gzip(payload, path, limit);
  if (name == "zstd" || name == "zstd22") return unpack_zstd(payload, path, limit);
  const bool printable = std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7f; });
  return error("{} is packed by {}, which Doppel does not unpack: expected gzip or zstd", path,
               printable && !name.empty() ? name : "something unknown");
}

/// Takes one packing off; a file without one is returned as it is.
Unpacked unpack(std::vector<std::byte> file, std::string_view path, std::uint64_t limit) {
  if (has_magic(file, 0, "\x1f\x8b"sv)) return unpack_gzip(file, path, limit);
  if (has_magic(file, 0, "\x28\xb5\x2f\xfd"sv)) return unpack_zstd(file, path, limit);
  if (has_magic(file, 0, "MZ"sv) && has_magic(file, 4, "zimg"sv)) return unpack_zboot(file, path, limit);
  return file;
}

struct BootFile {
  std::shared_ptr<const FileDescriptor> file;
  std::uint64_t size;
};

Result<BootFile> open_boot_file(std::string_view what, const std::string& path, std::uint64_t memory_size) {
  auto fd = std::make_shared<FileDescriptor>(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status;
  if (!*fd || ::fstat(fd->get(), &status) != 0)
    return error("cannot read the {} {}: {}", what, path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) return error("cannot read the {} {}: it is a directory", what, path);
  if (!S_ISREG(status.st_mode)) return error("cannot read the {} {}: it is not a regular file", what, path);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size == 0) return error("the {} {} is empty", what, path);
  if (size > memory_size)
    return error("the {} {} of {} does not fit in {} of memory: give more with --memory", what, path,
                 byte_size_text(size), byte_size_text(memory_size));
  return BootFile{std::move(fd), size};
}

}  // namespace

Result<void> read_part(const FileDescriptor& file, std::uint64_t offset, std::span<std::byte> out,
                       std::string_view what, std::string_view path) {
  while (!out.empty()) {
    const auto count = ::pread(file.get(), out.data(), out.size(), off_t(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return error("cannot read the {} {}: {}", what, path, std::strerror(errno));
    if (count == 0) return error("cannot read the {} {}: it became shorter meanwhile", what, path);
    offset += std::uint64_t(count), out = out.subspan(std::size_t(count));
  }
  return {};
}

Result<void> read_part_by_two(const FileDescriptor& file, std::uint64_t offset, std::span<std::byte> out,
                              std::string_view what, std::string_view path) {
  constexpr std::size_t much = 8 << 20;
  if (out.size() < much) return read_part(file, offset, out, what, path);
  // What is in the host's memory already takes as long as clearing and copying it, which two do in half the time.
  const auto half = out.size() / 2;
  std::future<Result<void>> second;
  try {
    second =
        std::async(std::launch::async, [&] { return read_part(file, offset + half, out.subspan(half), what, path); });
  } catch (const std::system_error&) {  // no more threads
    return read_part(file, offset, out, what, path);
  }
  auto first = read_part(file, offset, out.first(half), what, path);
  auto rest = second.get();
  return first ? rest : first;
}

Result<std::vector<std::byte>> read_boot_file(std::string_view what, const std::string& path,
                                              std::uint64_t memory_size) {
  const auto opened = open_boot_file(what, path, memory_size);
  if (!opened) return opened.failure();
  std::vector<std::byte> bytes(opened->size);
  if (auto read = read_part(*opened->file, 0, bytes, what, path); !read) return read.failure();
  return bytes;
}

Result<LoadedKernel> read_kernel(const std::string& path, const LoadRules& rules) {
  constexpr std::uint64_t head_bytes = 64 << 10;  // with all headers of an Image, even with an EFI stub
  auto opened = open_boot_file("kernel", path, rules.memory_size);
  if (!opened) return opened.failure();
  std::vector<std::byte> bytes(std::min(opened->size, head_bytes));
  if (auto read = read_part(*opened->file, 0, bytes, "kernel", path); !read) return read.failure();
  if (is_image(bytes)) {
    auto kernel = parse_image(bytes, opened->size, path, rules.memory_size);
    if (kernel) kernel->file = std::move(opened->file);
    return kernel;
  }
  bytes.resize(opened->size);
  if (auto read = read_part(*opened->file, head_bytes,
                            std::span(bytes).subspan(std::min<std::size_t>(bytes.size(), head_bytes)), "kernel", path);
      !read)
    return read.failure();
  return parse_kernel(std::move(bytes), path, rules);
}

Result<LoadedKernel> parse_kernel(std::vector<std::byte> file, std::string_view path, const LoadRules& rules) {
  auto unpacked = unpack(std::move(file), path, rules.memory_size);
  if (!unpacked) return unpacked.failure();
  auto contents = std::move(unpacked).value();
  if (contents.empty()) return error("the kernel {} is empty", path);
  if (has_magic(contents, 0,
                "\x7f"
                "ELF"sv))
    return parse_elf(std::move(contents), path, rules.memory_size);
  if (is_image(contents)) {
    auto kernel = parse_image(contents, contents.size(), path, rules.memory_size);
    if (kernel) kernel->contents = std::move(contents);
    return kernel;
  }
  if (rules.allow_raw) return parse_raw(std::move(contents), path, rules.memory_size);
  return not_a_kernel(contents, path);
}

Result<LoadedKernel> parse_firmware(std::vector<std::byte> file, std::string_view path, std::uint64_t memory_size) {
  if (has_magic(file, 0,
                "\x7f"
                "ELF"sv))
    return parse_elf(std::move(file), path, memory_size);
  return parse_raw(std::move(file), path, memory_size);
}

}  // namespace doppel
