#include "machine/boot.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "machine/byte_size.h"
#include "machine/memory_map.h"

namespace doppel {
namespace {

constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t kernel_alignment = 2 * mib;  // boot.rst of Linux for riscv: PMD_SIZE
/// Where 32-bit addresses of devices and of early boot stages still reach (hw/riscv/boot.c of QEMU keeps to it too).
constexpr std::uint64_t low_memory_end = 0xc000'0000;
/// Firmware adds nodes to the device tree in place.
constexpr std::uint64_t device_tree_growth = 64 << 10;
constexpr std::uint64_t device_tree_limit = 1 * mib;

/// OpenSBI, include/sbi/fw_dynamic.h.
struct DynamicInfo {
  std::uint64_t magic = 0x4942534f;  // "OSBI"
  std::uint64_t version = 2;
  std::uint64_t next_address = 0;
  std::uint64_t next_mode = 1;  // S-mode
  std::uint64_t options = 0;
  std::uint64_t boot_hart = 0;
};

constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t alignment) { return value & -alignment; }
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return align_down(value + alignment - 1, alignment);
}

/// Guest memory while it is being filled: who has which range.
class Layout {
 public:
  Layout(std::uint64_t base, std::uint64_t size) : base_(base), end_(base + size) {}
  std::uint64_t base() const { return base_; }
  std::uint64_t end() const { return end_; }
  bool contains(const AddressRange& range) const {
    return range.start >= base_ && range.start <= range.end && range.end <= end_;
  }
  const AddressRange* conflict(const AddressRange& range) const {
    const auto found = std::ranges::find_if(taken_, [&](const auto& other) { return other.overlaps(range); });
    return found == taken_.end() ? nullptr : &*found;
  }
  void take(const AddressRange& range) { taken_.push_back(range); }
  /// The highest aligned free range of `size` bytes that ends by `ceiling`.
  std::optional<AddressRange> take_highest(std::uint64_t size, std::uint64_t alignment, std::uint64_t ceiling) {
    ceiling = std::min(ceiling, end_);
    for (;;) {
      if (ceiling < base_ || ceiling - base_ < size) return {};
      const auto start = align_down(ceiling - size, alignment);
      if (start < base_) return {};
      const AddressRange range{start, start + size};
      const auto* other = conflict(range);
      if (!other) return take(range), range;
      ceiling = other->start;
    }
  }

 private:
  std::uint64_t base_, end_;
  std::vector<AddressRange> taken_;
};

class Placement {
 public:
  Placement(const BootRequest& request, GuestMemory& memory)
      : request_(request), memory_(memory), layout_(memory.base(), memory.size()) {}

  Result<BootPlan> run() {
    if (!request_.kernel && !request_.firmware)
      return error("there is nothing to boot: give a kernel with --kernel or a firmware with --firmware");
    plan_.machine_mode = boots_in_machine_mode(request_);
    for (auto step : {&Placement::place_firmware, &Placement::place_kernel, &Placement::place_device_tree,
                      &Placement::place_initrd, &Placement::write_device_tree, &Placement::write_dynamic_info})
      if (auto done = (this->*step)(); !done) return done.failure();
    return plan_;
  }

 private:
  Error no_room(std::string_view what, const std::string& path, std::uint64_t size) const {
    return error("the {}{}{} of {} does not fit in {} of memory: give more with --memory", what,
                 path.empty() ? "" : " ", path, byte_size_text(size), byte_size_text(memory_.size()));
  }

  /// Puts code at `base` (0 when it is not relocatable) and returns what it covers.
  Result<AddressRange> put(std::string_view what, const LoadedKernel& code, std::uint64_t base) {
    const auto size = code.high() - code.low();
    const AddressRange range{base + code.low(), base + code.high()};
    if (!layout_.contains(range)) {
      if (code.relocatable) return no_room(what, code.path, size);
      return error("the {} {} belongs at {:#x} to {:#x}, and the memory is from {:#x} to {:#x}", what, code.path,
                   range.start, range.end, layout_.base(), layout_.end());
    }
    if (const auto* other = layout_.conflict(range))
      return error("the {} {} at {:#x} overlaps what is at {:#x} already", what, code.path, range.start, other->start);
    layout_.take(range);
    for (const auto& segment : code.segments) {
      const auto address = base + segment.address;
      if (auto read = code.file ? copy_from_file(address, segment, code, what) : Result<void>(); !read)
        return read.failure();
      if ((!code.file && !memory_.write(address, code.bytes(segment).data(), segment.file_size)) ||
          !clear(address, segment.file_size, segment.memory_size))
        return no_room(what, code.path, size);
    }
    return range;
  }

  Result<void> copy_from_file(std::uint64_t address, const LoadSegment& segment, const LoadedKernel& code,
                              std::string_view what) {
    constexpr std::uint64_t most = 64 << 20;
    auto offset = segment.file_offset;
    for (std::uint64_t at = 0; at < segment.file_size; at += most) {
      const GuestSpan span{address + at, std::uint32_t(std::min(most, segment.file_size - at))};
      PinnedSpans pinned;
      std::vector<iovec> pieces;
      if (!memory_.pin({&span, 1}, pinned, pieces)) return no_room(what, code.path, segment.file_size);
      for (const auto& piece : pieces) {
        const std::span to(static_cast<std::byte*>(piece.iov_base), piece.iov_len);
        const auto read_it = request_.confined ? read_part : read_part_by_two;
        if (auto read = read_it(*code.file, offset, to, what, code.path); !read) return read;
        offset += to.size();
      }
    }
    return {};
  }

  /// Clears what is from `begin` to `end` behind the address, without touching pages that are zero already.
  bool clear(std::uint64_t address, std::uint64_t begin, std::uint64_t end) {
    static constexpr std::array<std::byte, page_size> zeros{};
    std::array<std::byte, page_size> now;
    for (std::uint64_t at = begin; at < end;) {
      const auto part = std::min(page_size - ((address + at) & page_mask), end - at);
      if (!memory_.read(address + at, now.data(), part)) return false;
      if (std::memcmp(now.data(), zeros.data(), part) != 0 && !memory_.fill(address + at, 0, part)) return false;
      at += part;
    }
    return true;
  }

  Result<void> place_firmware() {
    if (!request_.firmware) return {};
    const auto base = request_.firmware->relocatable ? layout_.base() : 0;
    const auto range = put("firmware", *request_.firmware, base);
    if (!range) return range.failure();
    plan_.firmware = *range;
    // Its heap and stacks begin behind its image, up to where the next stage may be.
    layout_.take({range->end, std::min(align_up(range->end, kernel_alignment), layout_.end())});
    plan_.entry = base + request_.firmware->entry;
    return {};
  }

  /// The first 2 MiB are the firmware's, ours too although it needs none of them: kernels expect to begin behind it.
  std::uint64_t kernel_base(const LoadedKernel& kernel) const {
    if (!kernel.relocatable) return 0;
    const auto lowest = std::max(align_up(plan_.firmware.end, kernel_alignment), layout_.base() + kernel_alignment);
    return std::max(lowest, layout_.base() + kernel.text_offset);
  }

  Result<void> place_kernel() {
    if (!request_.kernel) return {};
    const auto& kernel = *request_.kernel;
    const auto base = kernel_base(kernel);
    const auto range = put("kernel", kernel, base);
    if (!range) return range.failure();
    plan_.kernel = *range;
    if (kernel.relocatable) layout_.take({layout_.base(), range->start});
    kernel_entry_ = base + kernel.entry;
    if (!request_.firmware) plan_.entry = kernel_entry_;
    plan_.symbols = kernel.symbols;
    for (auto* symbol :
         {&plan_.symbols.tohost, &plan_.symbols.fromhost, &plan_.symbols.begin_signature, &plan_.symbols.end_signature})
      if (*symbol) **symbol += base;
    return {};
  }

  Result<void> place_device_tree() {
    std::optional<AddressRange> initrd;
    if (!request_.initrd.empty()) initrd = AddressRange{layout_.base(), layout_.base() + request_.initrd.size()};
    const auto tree = request_.make_device_tree(initrd);
    if (!tree) return tree.failure();
    if (tree->size() > device_tree_limit)
      return error("the device tree of {} is larger than {}", byte_size_text(tree->size()),
                   byte_size_text(device_tree_limit));
    device_tree_size_ = tree->size();
    const auto size = device_tree_size_ + device_tree_growth;
    auto range = layout_.take_highest(size, kernel_alignment, low_memory_end);
    if (!range) range = layout_.take_highest(size, page_size, layout_.end());
    if (!range) return no_room("device tree", "", size);
    plan_.device_tree = range->start;
    if (!request_.firmware) return {};
    const auto info = layout_.take_highest(page_size, page_size, plan_.device_tree);
    if (!info) return no_room("firmware's information", "", page_size);
    plan_.dynamic_info = info->start;
    return {};
  }

  Result<void> place_initrd() {
    if (request_.initrd.empty()) return {};
    const auto size = request_.initrd.size();
    auto range = layout_.take_highest(size, page_size, plan_.device_tree);
    if (!range) range = layout_.take_highest(size, page_size, layout_.end());
    if (!range) return no_room("initrd", request_.initrd_path, size);
    plan_.initrd = *range;
    if (!memory_.write(range->start, request_.initrd.data(), size))
      return no_room("initrd", request_.initrd_path, size);
    return {};
  }

  Result<void> write_device_tree() {
    std::optional<AddressRange> initrd;
    if (!request_.initrd.empty()) initrd = plan_.initrd;
    const auto tree = request_.make_device_tree(initrd);
    if (!tree) return tree.failure();
    if (tree->size() > device_tree_size_ || !memory_.write(plan_.device_tree, tree->data(), tree->size()))
      return error("the device tree of {} bytes grew while it was placed", device_tree_size_);
    return {};
  }

  Result<void> write_dynamic_info() {
    if (!request_.firmware) return {};
    const DynamicInfo info{.next_address = kernel_entry_};
    if (!memory_.write(plan_.dynamic_info, &info, sizeof info))
      return no_room("firmware's information", "", sizeof info);
    return {};
  }

  const BootRequest& request_;
  GuestMemory& memory_;
  Layout layout_;
  BootPlan plan_;
  std::uint64_t kernel_entry_ = 0;
  std::size_t device_tree_size_ = 0;
};

}  // namespace

bool boots_in_machine_mode(const BootRequest& request) {
  return request.firmware || (request.kernel && request.kernel->symbols.tohost);
}

Result<BootPlan> place(const BootRequest& request, GuestMemory& memory) { return Placement(request, memory).run(); }

}  // namespace doppel
