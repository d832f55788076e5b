#pragma once
// What a hart has cached of one way to see memory: translations of data and code addresses, and where decoded and
// translated code is.
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "guest/riscv64/block.h"
#include "guest/riscv64/filled_places.h"
#include "guest/riscv64/leaf_filter.h"
#include "guest/riscv64/tlb.h"
#include "ir/execution_state.h"

namespace doppel::riscv64 {

/// Where translated code for virtual addresses is, for one mode of translation.
class CodeJumps {
 public:
  /// Another one for every table, and after each loss of what it had. Translated code finds it in front of data().
  std::uint64_t number() const { return number_; }
  ir::CodeJump& at(std::uint64_t pc) { return jump_[ir::code_jump_index(pc)]; }
  ir::CodeJump* data() { return jump_.data(); }
  void add(std::uint64_t pc, const void* code, unsigned leaf_bits) {
    auto& jump = at(pc);
    if (jump.address == ir::CodeJump().address) filled_.add(ir::code_jump_index(pc));
    jump = {pc, code};
    filter_.add(pc, leaf_bits);
  }
  void remove(std::uint64_t pc) {
    if (auto& jump = at(pc); jump.address == pc) jump = {};
  }
  /// Says that code which is here depends on the page of another address too.
  void depends_on(std::uint64_t address, unsigned leaf_bits) { filter_.add(address, leaf_bits); }
  void flush() {
    if (filter_.empty()) return;
    number_ = next_number();
    filled_.for_each([&](std::size_t n) { jump_[n] = {}; });
    filled_.clear();
    filter_.clear();
  }
  /// Drops what came from the leaf that maps `address`, and perhaps more.
  void flush_page(std::uint64_t address) {
    if (filter_.may_hold_large(address)) return flush();
    if (!filter_.may_hold(address)) return;
    number_ = next_number();
    // The last instruction of the page before may reach into this one.
    const auto first = (address & ~page_mask) - 2;
    const auto drop = [&](ir::CodeJump& jump) {
      if (jump.address - first < page_size + 2) jump = {};
    };
    if (filled_.count() < page_size / 2)
      filled_.for_each([&](std::size_t n) { drop(jump_[n]); });
    else
      for (auto pc = first; pc != first + page_size + 2; pc += 2) drop(at(pc));
  }

 private:
  static std::uint64_t next_number() {
    static std::atomic<std::uint64_t> last = 0;
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  std::uint64_t number_ = next_number();
  std::array<ir::CodeJump, ir::code_jumps> jump_;
  LeafFilter filter_;
  FilledPlaces<ir::code_jumps> filled_;
};

/// Where decoded blocks for virtual addresses are.
class BlockJumps {
 public:
  struct Entry {
    std::uint64_t pc = 1;
    const Block* block = nullptr;
  };
  Entry& at(std::uint64_t pc) { return entry_[(pc >> 1) % entry_.size()]; }
  void set(Entry& entry, std::uint64_t pc, const Block* block) {
    entry = {pc, block};
    used_ = true;
  }
  void flush() {
    if (std::exchange(used_, false)) entry_.fill({});
  }

 private:
  std::array<Entry, 4096> entry_;
  bool used_ = false;
};

/// One way to load and store: of S-mode with SUM in one address space.
struct DataView {
  Tlb tlb;
  bool only_global = true;  // nothing here came from a leaf that belongs to one address space

  void flush() {
    tlb.flush();
    only_global = true;
  }
  void flush_page(std::uint64_t address) { tlb.flush_page(address); }
  void flush_blocks() {}
  void flush_jumps() {}
};

/// One way to load, store and execute: of M-mode, of S-mode, or of one address space in U-mode.
class AddressView : public DataView {
 public:
  BlockJumps blocks;

  /// The table for a TranslationMode::jump_key(), made when it is first asked for: few views have code for both.
  CodeJumps& code(unsigned key) {
    if (!code_[key]) code_[key] = std::make_unique<CodeJumps>();
    return *code_[key];
  }
  bool has_code(unsigned key) const { return code_[key] != nullptr; }
  /// For translated code to read: of no code where there is none yet.
  ir::CodeJump* entries(unsigned key) {
    static const auto none = std::make_unique<CodeJumps>();
    return (code_[key] ? code_[key] : none)->data();
  }
  void flush_blocks() { blocks.flush(); }
  void flush_jumps() {
    blocks.flush();
    for (auto& code : code_)
      if (code) code->flush();
  }
  void flush() {
    DataView::flush();
    flush_jumps();
  }
  void flush_page(std::uint64_t address) {
    DataView::flush_page(address);
    blocks.flush();
    for (auto& code : code_)
      if (code) code->flush_page(address);
  }

 private:
  std::unique_ptr<CodeJumps> code_[2];
};

/// The views of one hart; switch_to() comes before the views of an address space. Those of U-mode and of S-mode with
/// SUM are kept for several address spaces, so that switching between them loses nothing; the view of S-mode without
/// SUM, whose translations are almost always global, is shared.
class AddressViews {
 public:
  static constexpr unsigned spaces = 8;
  AddressView& machine() {
    if (!machine_) machine_ = std::make_unique<AddressView>();
    return *machine_;
  }
  AddressView& supervisor() { return *supervisor_; }
  AddressView& user() { return spaces_[current_]->user; }
  DataView& supervisor_with_user() { return spaces_[current_]->sum; }

  /// satp says another address space from now on.
  void switch_to(std::uint64_t asid) {
    if (!supervisor_->only_global) supervisor_->flush();
    auto oldest = 0U;
    for (unsigned n = 0; n < spaces; n++) {
      if (!spaces_[n]) spaces_[n] = std::make_unique<Space>(asid);
      if (spaces_[n]->asid == asid) return use(n);
      if (spaces_[n]->used < spaces_[oldest]->used) oldest = n;
    }
    spaces_[oldest]->flush();
    spaces_[oldest]->asid = asid;
    use(oldest);
  }
  /// Calls `f` for every view; `of_asid` for those that may hold translations of one address space.
  template <typename F>
  void for_each(F&& f) {
    if (machine_) f(*machine_);
    f(*supervisor_);
    for (auto& space : spaces_)
      if (space) f(space->user), f(space->sum);
  }
  template <typename F>
  void of_asid(std::uint64_t asid, F&& f) {
    if (!supervisor_->only_global) f(*supervisor_);
    for (auto& space : spaces_)
      if (space && space->asid == asid) f(space->user), f(space->sum);
  }

 private:
  struct Space {
    explicit Space(std::uint64_t number) : asid(number) {}
    std::uint64_t asid, used = 0;
    AddressView user;
    DataView sum;
    void flush() { user.flush(), sum.flush(); }
  };
  void use(unsigned n) {
    current_ = n;
    spaces_[n]->used = ++clock_;
  }
  std::unique_ptr<AddressView> machine_;  // with firmware in the host no guest needs it
  std::unique_ptr<AddressView> supervisor_ = std::make_unique<AddressView>();
  std::array<std::unique_ptr<Space>, spaces> spaces_;  // made when they are needed, from the front
  unsigned current_ = 0;
  std::uint64_t clock_ = 0;
};

}  // namespace doppel::riscv64
