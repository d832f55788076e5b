#include "machine/device_tree.h"

#include <libfdt.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>

#include "machine/memory_map.h"

namespace doppel {
namespace {

// Interrupt numbers of a hart (Privileged ISA, mcause), as an interrupts-extended property names them.
constexpr std::uint32_t machine_software = 3, machine_timer = 7, supervisor_external = 9, machine_external = 11;
constexpr std::uint32_t no_interrupt = 0xffff'ffff;  // a PLIC context that goes nowhere (sifive,plic-1.0.0.yaml)

constexpr std::uint32_t plic_phandle = 1, test_phandle = 2;
constexpr std::uint32_t cpu_phandle(unsigned hart) { return 16 + 2 * hart; }
constexpr std::uint32_t intc_phandle(unsigned hart) { return 17 + 2 * hart; }

// What the test finisher takes (SiFive's test device).
constexpr std::uint32_t finisher_pass = 0x5555, finisher_reset = 0x7777;

/// libfdt's sequential writer; the first error stays.
class TreeWriter {
 public:
  explicit TreeWriter(std::size_t capacity) : blob_(capacity) {
    keep(fdt_create(blob_.data(), static_cast<int>(capacity)));
    keep(fdt_finish_reservemap(blob_.data()));
  }
  /// A node with the properties and nodes that `inside` writes.
  template <typename Inside>
  void node(const std::string& name, Inside inside) {
    keep(fdt_begin_node(blob_.data(), name.c_str()));
    inside();
    keep(fdt_end_node(blob_.data()));
  }
  void flag(const char* name) { bytes(name, {}); }
  void text(const char* name, const std::string& value) {
    bytes(name, as_bytes(std::span(value.c_str(), value.size() + 1)));
  }
  void texts(const char* name, const std::vector<std::string>& values) {
    std::string joined;
    for (const auto& value : values) joined.append(value).push_back('\0');
    bytes(name, as_bytes(std::span(joined)));
  }
  void cells(const char* name, const std::vector<std::uint32_t>& values) {
    std::vector<fdt32_t> big;
    for (auto value : values) big.push_back(cpu_to_fdt32(value));
    bytes(name, as_bytes(std::span(big)));
  }
  void cell(const char* name, std::uint32_t value) { cells(name, {value}); }
  /// 64-bit values, two cells each.
  void wide(const char* name, std::initializer_list<std::uint64_t> values) {
    std::vector<std::uint32_t> halves;
    for (auto value : values) {
      halves.push_back(static_cast<std::uint32_t>(value >> 32));
      halves.push_back(static_cast<std::uint32_t>(value));
    }
    cells(name, halves);
  }
  void bytes(const char* name, std::span<const std::byte> value) {
    keep(fdt_property(blob_.data(), name, value.data(), static_cast<int>(value.size())));
  }
  /// The finished blob, or libfdt's error (negative).
  int finish(std::vector<std::byte>& out) {
    keep(fdt_finish(blob_.data()));
    if (status_ == 0) {
      blob_.resize(fdt_totalsize(blob_.data()));
      out = std::move(blob_);
    }
    return status_;
  }

 private:
  void keep(int status) {
    if (status_ == 0) status_ = status;
  }
  std::vector<std::byte> blob_;
  int status_ = 0;
};

std::string node_name(const MapEntry& entry) { return fmt::format("{}@{:x}", entry.name, entry.base); }

void write_place(TreeWriter& out, const MapEntry& entry) {
  out.wide("reg", {entry.base, entry.size});
  if (entry.irq == 0) return;
  out.cell("interrupt-parent", plic_phandle);
  out.cell("interrupts", entry.irq);
}

bool has_extension(const BoardDescription& board, std::string_view name) {
  return std::ranges::find(board.isa_extensions, name) != board.isa_extensions.end();
}

void write_hart(TreeWriter& out, const BoardDescription& board, unsigned hart) {
  out.text("device_type", "cpu");
  out.cell("reg", hart);
  out.text("status", "okay");
  out.text("compatible", "riscv");
  out.text("riscv,isa", isa_string(board.isa_extensions));
  out.text("riscv,isa-base", "rv64i");
  out.texts("riscv,isa-extensions", board.isa_extensions);
  out.text("mmu-type", fmt::format("riscv,sv{}", board.mmu_bits));
  if (has_extension(board, "zicbom")) out.cell("riscv,cbom-block-size", board.cache_block_size);
  if (has_extension(board, "zicbop")) out.cell("riscv,cbop-block-size", board.cache_block_size);
  if (has_extension(board, "zicboz")) out.cell("riscv,cboz-block-size", board.cache_block_size);
  out.cell("phandle", cpu_phandle(hart));
  out.node("interrupt-controller", [&] {
    out.cell("#interrupt-cells", 1);
    out.flag("interrupt-controller");
    out.text("compatible", "riscv,cpu-intc");
    out.cell("phandle", intc_phandle(hart));
  });
}

void write_cpus(TreeWriter& out, const BoardDescription& board) {
  out.cell("#address-cells", 1);
  out.cell("#size-cells", 0);
  out.cell("timebase-frequency", timebase_frequency);
  for (unsigned hart = 0; hart < board.harts; hart++)
    out.node(fmt::format("cpu@{:x}", hart), [&] { write_hart(out, board, hart); });
  out.node("cpu-map", [&] {
    out.node("cluster0", [&] {
      for (unsigned hart = 0; hart < board.harts; hart++)
        out.node(fmt::format("core{}", hart), [&] { out.cell("cpu", cpu_phandle(hart)); });
    });
  });
}

void write_plic(TreeWriter& out, const BoardDescription& board) {
  std::vector<std::uint32_t> contexts;  // two a hart: M, then S
  for (unsigned hart = 0; hart < board.harts; hart++)
    contexts.insert(contexts.end(), {intc_phandle(hart), board.machine_mode ? machine_external : no_interrupt,
                                     intc_phandle(hart), supervisor_external});
  out.texts("compatible", {"sifive,plic-1.0.0", "riscv,plic0"});
  write_place(out, plic_map);
  out.cell("#address-cells", 0);
  out.cell("#interrupt-cells", 1);
  out.flag("interrupt-controller");
  out.cells("interrupts-extended", contexts);
  out.cell("riscv,ndev", plic_sources);
  out.cell("phandle", plic_phandle);
}

void write_clint(TreeWriter& out, const BoardDescription& board) {
  std::vector<std::uint32_t> interrupts;
  for (unsigned hart = 0; hart < board.harts; hart++)
    interrupts.insert(interrupts.end(), {intc_phandle(hart), machine_software, intc_phandle(hart), machine_timer});
  out.texts("compatible", {"sifive,clint0", "riscv,clint0"});
  write_place(out, clint_map);
  out.cells("interrupts-extended", interrupts);
}

void write_soc(TreeWriter& out, const BoardDescription& board) {
  out.cell("#address-cells", 2);
  out.cell("#size-cells", 2);
  out.text("compatible", "simple-bus");
  out.flag("ranges");
  out.node(node_name(test_finisher_map), [&] {
    out.texts("compatible", {"sifive,test1", "sifive,test0", "syscon"});
    write_place(out, test_finisher_map);
    out.cell("phandle", test_phandle);
  });
  out.node(node_name(rtc_map), [&] {
    out.text("compatible", "google,goldfish-rtc");
    write_place(out, rtc_map);
  });
  out.node(node_name(vmgenid_map), [&] {
    out.text("compatible", "microsoft,vmgenid");
    write_place(out, vmgenid_map);
  });
  if (board.machine_mode) out.node(node_name(clint_map), [&] { write_clint(out, board); });
  out.node(node_name(plic_map), [&] { write_plic(out, board); });
  out.node(node_name(uart_map), [&] {
    out.text("compatible", "ns16550a");
    write_place(out, uart_map);
    out.cell("clock-frequency", uart_clock_frequency);
  });
  for (unsigned slot : board.virtio_slots)
    out.node(node_name(virtio_map(slot)), [&] {
      out.text("compatible", "virtio,mmio");
      write_place(out, virtio_map(slot));
    });
}

void write_syscon(TreeWriter& out, const std::string& name, std::uint32_t value) {
  out.node(name, [&] {
    out.text("compatible", "syscon-" + name);
    out.cell("regmap", test_phandle);
    out.cell("offset", 0);
    out.cell("value", value);
  });
}

void write_chosen(TreeWriter& out, const BoardDescription& board, const std::string& console) {
  out.text("stdout-path", console);
  if (!board.bootargs.empty()) out.text("bootargs", board.bootargs);
  if (board.initrd) {
    out.wide("linux,initrd-start", {board.initrd->start});
    out.wide("linux,initrd-end", {board.initrd->end});
  }
  if (!board.rng_seed.empty()) out.bytes("rng-seed", board.rng_seed);
  if (board.kaslr_seed) out.wide("kaslr-seed", {*board.kaslr_seed});
}

void write_root(TreeWriter& out, const BoardDescription& board) {
  const auto console = "/soc/" + node_name(uart_map);
  out.cell("#address-cells", 2);
  out.cell("#size-cells", 2);
  out.text("compatible", "riscv-virtio");
  out.text("model", "riscv-virtio,doppel");
  out.node("aliases", [&] { out.text("serial0", console); });
  out.node("chosen", [&] { write_chosen(out, board, console); });
  out.node(fmt::format("memory@{:x}", board.memory_base), [&] {
    out.text("device_type", "memory");
    out.wide("reg", {board.memory_base, board.memory_size});
  });
  out.node("cpus", [&] { write_cpus(out, board); });
  write_syscon(out, "poweroff", finisher_pass);
  write_syscon(out, "reboot", finisher_reset);
  out.node("soc", [&] { write_soc(out, board); });
}

Result<void> check(const BoardDescription& board) {
  if (board.harts < 1 || board.harts > max_harts)
    return error("a machine has 1 to {} CPUs, not {}", max_harts, board.harts);
  if (board.memory_size == 0) return error("a machine needs memory");
  if (board.mmu_bits != 39 && board.mmu_bits != 48 && board.mmu_bits != 57)
    return error("there is no Sv{}: expected 39, 48 or 57", board.mmu_bits);
  if (board.isa_extensions.empty() || board.isa_extensions.front() != "i")
    return error("the list of a hart's extensions must begin with i");
  for (unsigned slot : board.virtio_slots)
    if (slot >= virtio_slots) return error("there is no virtio slot {}: expected 0 to {}", slot, virtio_slots - 1);
  return {};
}

constexpr std::size_t largest_tree = 16 << 20;

/// libfdt's errors that a file can cause; the rest is our bug.
std::string_view reason(int status) {
  switch (-status) {
    case FDT_ERR_TRUNCATED:
      return "it is truncated";
    case FDT_ERR_BADMAGIC:
      return "it does not begin as one";
    case FDT_ERR_BADVERSION:
      return "its version is not known";
    case FDT_ERR_BADSTRUCTURE:
      return "its structure is corrupt";
    case FDT_ERR_BADLAYOUT:
      return "its blocks are in an unknown order";
    default:
      return "it is corrupt";
  }
}

int set_wide(void* tree, int node, const char* name, std::uint64_t value) {
  return fdt_setprop_u64(tree, node, name, value);
}

/// Writes into /chosen of a checked tree that has room; 0 or libfdt's error.
int patch_chosen(void* tree, const std::string& bootargs, std::optional<AddressRange> initrd) {
  int chosen = fdt_path_offset(tree, "/chosen");
  if (chosen == -FDT_ERR_NOTFOUND) chosen = fdt_add_subnode(tree, 0, "chosen");
  if (chosen < 0) return chosen;
  int status = 0;
  if (!bootargs.empty()) status = fdt_setprop_string(tree, chosen, "bootargs", bootargs.c_str());
  if (status == 0 && initrd) status = set_wide(tree, chosen, "linux,initrd-start", initrd->start);
  if (status == 0 && initrd) status = set_wide(tree, chosen, "linux,initrd-end", initrd->end);
  return status;
}

}  // namespace

std::string isa_string(const std::vector<std::string>& extensions) {
  std::string isa = "rv64";
  for (const auto& name : extensions) {
    if (name.size() > 1) isa += '_';
    isa += name;
  }
  return isa;
}

Result<std::vector<std::byte>> make_device_tree(const BoardDescription& board) {
  if (auto sound = check(board); !sound) return sound.failure();
  std::vector<std::byte> blob;
  for (std::size_t capacity = 64 << 10; capacity <= largest_tree; capacity *= 2) {
    TreeWriter out(capacity);
    out.node("", [&] { write_root(out, board); });
    const int status = out.finish(blob);
    if (status == 0) return blob;
    if (status != -FDT_ERR_NOSPACE) return error("cannot make the device tree: {}", fdt_strerror(status));
  }
  return error("the device tree does not fit in {} bytes: give a shorter --append", largest_tree);
}

Result<std::vector<std::byte>> patch_device_tree(std::span<const std::byte> blob, std::string_view path,
                                                 const std::string& bootargs, std::optional<AddressRange> initrd) {
  if (blob.size() > largest_tree) return error("{} is not a device tree: it is too large", path);
  std::vector<std::byte> aligned(blob.begin(), blob.end());  // libfdt wants 8-byte alignment
  const int bad =
      aligned.size() < sizeof(fdt_header) ? -FDT_ERR_TRUNCATED : fdt_check_full(aligned.data(), aligned.size());
  if (bad != 0) return error("{} is not a device tree that Doppel can use: {}", path, reason(bad));
  if (bootargs.empty() && !initrd) return aligned;

  constexpr std::size_t properties_and_names = 512;
  std::vector<std::byte> tree(aligned.size() + bootargs.size() + properties_and_names);
  int status = fdt_open_into(aligned.data(), tree.data(), static_cast<int>(tree.size()));
  if (status == 0) status = patch_chosen(tree.data(), bootargs, initrd);
  if (status == 0) status = fdt_pack(tree.data());
  if (status != 0) return error("cannot write --append and --initrd into {}: {}", path, fdt_strerror(status));
  tree.resize(fdt_totalsize(tree.data()));
  return tree;
}

}  // namespace doppel
