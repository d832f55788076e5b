// What translated code and its executor need of a hart: the slow paths, single instructions, and the guest's
// floating-point state in MXCSR.
#include <x86intrin.h>

#include "guest/riscv64/decode.h"
#include "guest/riscv64/hart.h"
#include "guest/riscv64/interpret.h"
#include "memory/racing_copy.h"

namespace doppel::riscv64 {
namespace {

constexpr unsigned host_default_mxcsr = 0x1f80;  // nothing traps, to nearest even
constexpr unsigned host_flags = 0x3f;

/// MXCSR for a rounding mode of the guest, with no exception so far.
unsigned mxcsr_of(unsigned frm) {
  constexpr unsigned control[] = {0, 3, 1, 2};  // nearest, zero, down, up
  return host_default_mxcsr | control[frm & 3] << 13;
}

/// The guest's flags for MXCSR's: invalid, (denormal), divide by zero, overflow, underflow, precision.
std::uint8_t flags_of(unsigned mxcsr) {
  constexpr unsigned nv = 16, dz = 8, of = 4, uf = 2, nx = 1;
  return (mxcsr & 1 ? nv : 0) | (mxcsr & 4 ? dz : 0) | (mxcsr & 8 ? of : 0) | (mxcsr & 16 ? uf : 0) |
         (mxcsr & 32 ? nx : 0);
}

/// Keeps what the engine's own code does from the guest's flags.
class HostFloat {
 public:
  HostFloat() : saved_(_mm_getcsr()) {}
  ~HostFloat() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
};

}  // namespace

void Hart::set_executor(Executor* executor) {
  executor_ = executor;
  for (unsigned flags = 0; flags <= host_flags; flags++) execution_.float_flags[flags] = flags_of(flags);
}

TranslationMode Hart::translation_mode() const {
  const bool zero =
      privilege() == Privilege::machine ||
      ((state_.menvcfg & envcfg::cbze) && (privilege() == Privilege::supervisor || (state_.senvcfg & envcfg::cbze)));
  return {.floating_point = !fp_off() && rounds_inline(),
          .zero_blocks = zero,
          .exact_blocks = config_.exact_slices,
          .privilege = state_.privilege};
}

bool Hart::find_code(std::uint64_t& physical, std::uint64_t& behind) {
  const auto pc = state_.pc;
  behind = 0;
  if (!fetch_address(pc, physical)) return false;
  if (fetch_->at(pc).fetch == (pc & ~page_mask)) {
    if ((pc & page_mask) != page_size - 2) return true;
    std::uint16_t first;
    racing_copy(reinterpret_cast<std::byte*>(&first), memory_.page_for_read(physical) + page_size - 2, sizeof first);
    if (instruction_length(first) == 2 || fetch_behind(pc + 2, behind)) return true;
  }
  interpret(1);
  return false;
}

/// Where the second half of an instruction is; false when that is nothing for a translation.
bool Hart::fetch_behind(std::uint64_t address, std::uint64_t& physical) {
  if (fetch_->at(address).fetch != address) {
    Translation translation;
    Cause fault;
    if (!translate(address, Access::fetch, privilege(), translation, fault)) return false;
    if (!memory_.contains(translation.physical, 2)) return false;
    fill_tlb(address, Access::fetch, translation, privilege());
    if (fetch_->at(address).fetch != address) return false;
  }
  physical = fetch_->physical_at(address) & ~page_mask;
  return fetch_->at(state_.pc).fetch == (state_.pc & ~page_mask);
}

/// A block of the one instruction with this encoding, as translated code asks for again and again.
const Block* Hart::known_block(std::uint32_t bits) {
  auto& known = (*known_)[(bits * 0x9e3779b1U) >> 24];
  if (known.bits != bits) {
    known.bits = bits;
    known.ops[0] = make_op(decode(bits));
    known.ops[1] = {.handler = fall_through_handler(), .offset = known.ops[0].length};
    known.block.ops = known.ops.data();
    known.block.count = 1;
  }
  return &known.block;
}

void Hart::interpret(std::uint64_t count) {
  const auto end = budget_ - std::min(count, budget_);
  while (budget_ > end) {
    const auto* block = find_block(state_.pc);
    if (!block) return;
    const auto part = std::min<std::uint64_t>(block->count, budget_ - end);
    for (std::uint64_t n = 0; n < part; n++) counters_.interpreted[std::size_t(block->ops[n].op)]++;
    const auto before = state_.unretired;
    run_part(*block, state_.pc, part);
    if (state_.unretired != before || attention()) return;
  }
}

void Hart::interpret_block() {
  const auto pc = state_.pc;
  const auto offset = pc & page_mask;
  if (fetch_->at(pc).fetch != (pc & ~page_mask)) return interpret(1);
  const auto page = fetch_->physical_at(pc) & ~page_mask;
  decode_block(memory_.page_for_read(page) + offset, page_size - offset, page + offset, once_, once_ops_);
  if (once_.count == 0) return interpret(1);  // the instruction lies on two pages
  once_.ops = once_ops_.data();
  once_.count > budget_ ? run_part(once_, pc, budget_) : run_block(once_, pc);
}

bool Hart::step(std::uint32_t bits) {
  const auto unretired = state_.unretired;
  left_behind_ = false;
  run_block(*known_block(bits), state_.pc);
  return state_.unretired == unretired && !left_behind_ && !attention();
}

std::uint64_t Hart::page_fetched_from(std::uint64_t address) {
  const auto page = address & ~page_mask;
  if (fetch_->at(page).fetch != page) {
    Translation translation;
    Cause fault;
    if (!translate(page, Access::fetch, privilege(), translation, fault, false)) return 0;
    if (!memory_.contains(translation.physical, page_size)) return 0;
    fill_tlb(page, Access::fetch, translation, privilege());
    if (fetch_->at(page).fetch != page) return 0;
  }
  code_table(translation_mode()).depends_on(page, unsigned(fetch_->physical_at(page) & page_mask));
  return fetch_->physical_at(page) & ~page_mask;
}

void Hart::enter_translated() {
  execution_.jumps = code_table(translation_mode()).data();
  execution_.page = state_.pc & ~page_mask;
  execution_.budget = std::int64_t(budget_);
  _mm_setcsr(mxcsr_of(state_.frm));
}

std::uint64_t Hart::time() {
  if (!execution_.time.enabled) return environment_.ticks(*this);
  _mm_lfence();  // as the generated code has it
  return execution_.time.ticks(__rdtsc());
}

void Hart::merge_float_flags() {
  state_.fflags |= execution_.float_flags[_mm_getcsr() & host_flags];
  _mm_setcsr(host_default_mxcsr);
}

void Hart::leave_translated() {
  merge_float_flags();
  budget_ = std::uint64_t(execution_.budget);
  counters_.exceptions += std::exchange(execution_.exceptions, 0);
  see_views();
}

void Hart::see_views() {
  if (execution_.tlb != data_->entry.data()) update_views();
}

/// Makes the interpreter's functions see the one instruction.
void Hart::begin_site(const ir::Site& site) {
  see_views();
  budget_ = std::uint64_t(execution_.budget) + site.left;
  block_ = &site_block_;
  block_pc_ = execution_.page + site.offset;
  site_op_.length = site.half ? 2 : 4;
}

bool Hart::slow_access() {
  const HostFloat guard;
  const auto site = ir::Site::unpack(execution_.site);
  begin_site(site);
  const bool done = site.store ? slow_store(site) : slow_load(site);
  execution_.budget = std::int64_t(budget_) - (done ? site.left : 0);
  return done;
}

bool Hart::slow_load(const ir::Site& site) {
  const auto changes = tlb_changes_;
  std::uint64_t value = 0;
  const bool done = load_slow(site_op_, execution_.address, site.size, value);
  const auto unused = 64 - 8 * site.size;
  execution_.value = site.sign ? std::uint64_t(std::int64_t(value << unused) >> unused) : value << unused >> unused;
  return done && (changes == tlb_changes_ || finish_load());
}

/// A device was read from, and meanwhile pages were replaced that the block has looked up: ends it behind the load.
bool Hart::finish_load() {
  const auto pc = pc_of(site_op_);
  std::uint32_t bits = 0;
  for (std::uint64_t done = 0; done < site_op_.length; done += 2) {
    const auto page = page_fetched_from(pc + done);
    if (page == 0) return true;  // unmapped meanwhile, without a fence: it may see the old pages
    racing_copy(reinterpret_cast<std::byte*>(&bits) + done, memory_.page_for_read(page) + ((pc + done) & page_mask), 2);
  }
  const auto load = decode(bits);
  const unsigned boxed = load.op == Opcode::flw ? 32 : load.op == Opcode::flh ? 16 : 0;
  if (boxed != 0)
    state_.f[load.rd] = execution_.value | ~0ULL << boxed, dirty_fp();
  else if (load.op == Opcode::fld)
    state_.f[load.rd] = execution_.value, dirty_fp();
  else if (load.rd != 0)
    state_.x[load.rd] = execution_.value;
  return leave(site_op_, true);
}

bool Hart::slow_store(const ir::Site& site) {
  const auto unused = 64 - 8 * site.size;
  // A device sees no more than what is stored.
  return store_slow(site_op_, execution_.address, site.size, execution_.value << unused >> unused);
}

bool Hart::refill() {
  const HostFloat guard;
  see_views();
  const auto address = execution_.address;
  const auto site = ir::Site::unpack(execution_.site);
  const auto access = site.sign ? Access::store : Access::load;
  const auto changes = tlb_changes_;
  Translation translation;
  Cause fault;
  if (!translate(address, access, data_privilege(), translation, fault, false)) return false;
  if (!memory_.contains(translation.physical & ~page_mask, page_size)) return false;
  fill_tlb(address, access, translation, data_privilege());
  if (changes != tlb_changes_) return false;  // other windows of the path may be of what has been replaced
  const auto& entry = data_->at(address);
  return (site.sign ? entry.store : entry.load) == (address & ~page_mask);
}

bool Hart::interpret_site() {
  const auto site = ir::Site::unpack(execution_.site);
  const bool last = site.sign;
  see_views();
  merge_float_flags();
  state_.pc = execution_.page + site.offset;
  budget_ = std::uint64_t(execution_.budget) + site.left + 1;
  const auto pc = state_.pc;
  // The way here was the one that the LR's block begins behind; now the SC is a block of its own.
  if (site.size == ir::Site::paired && reservation_.block != 0) reservation_.block = pc;
  const auto unretired = state_.unretired;
  const auto mode = translation_mode().key();
  const auto changes = tlb_changes_;
  bool go_on = false;
  const auto* block = execution_.bits != 0 ? known_block(execution_.bits) : find_block(pc);
  if (block) {
    counters_.interpreted[std::size_t(block->ops[0].op)]++;
    const auto length = block->ops[0].length;
    left_behind_ = false;
    if (execution_.bits != 0)
      run_block(*block, pc);
    else
      run_part(*block, pc, 1);
    // An interrupt that the instruction enabled, or had a device raise, is taken at once; the next block's entry sees
    // to that too.
    const bool interrupted = !last && (ends_block(block->ops[0].op) || left_behind_) && attention();
    // Windows that the block has looked up must still be good, unless it asked for the instruction: it then forgets
    // them.
    go_on = !fenced_ && !interrupted && (execution_.bits != 0 || changes == tlb_changes_) &&
            (last || (state_.pc == pc + length && state_.unretired == unretired && translation_mode().key() == mode));
  }
  execution_.budget = std::int64_t(budget_) - (go_on && !last ? site.left : 0);
  execution_.jumps = code_table(translation_mode()).data();
  _mm_setcsr(mxcsr_of(state_.frm));
  return go_on;
}

void Hart::flush_code_jumps() {
  views_.for_each([](auto& view) { view.flush_jumps(); });
}

}  // namespace doppel::riscv64
