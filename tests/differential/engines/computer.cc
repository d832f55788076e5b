#include "computer.h"

#include <cstdlib>

#include "guest/riscv64/privileged.h"
#include "handlers.h"

namespace doppel::differential::engines {
namespace {

using namespace riscv64;

constexpr U64 steps_a_tick = 2;

U64 mix(U64 a, U64 b) {
  a = (a ^ b) * 0x9e3779b97f4a7c15;
  return a ^ a >> 29;
}

}  // namespace

Computer::Computer(Way way, const EngineKind& engine, std::size_t code_bytes)
    : way_(way), reservations_(harts_of(way)) {
  auto memory = GuestMemory::create(place::ram, place::ram_size);
  if (!memory) std::abort();
  memory_ = std::move(*memory);
  memory_->set_write_observer([this](U64 address, U64 length) { return reservations_.device_store(address, length); });
  memory_->set_replacement_observer([this](U64 page) {
    for (auto& hart : harts_) hart->forget_page(page);
  });
  for (unsigned id = 0; id < harts_of(way); id++) {
    const HartConfig config{.id = id,
                            .max_paging = Paging::sv57,
                            .host_sbi = way == Way::calls,
                            .harts = harts_of(way),
                            .exact_slices = time_is_instructions(way)};
    harts_.push_back(std::make_unique<Hart>(config, *memory_, *this, reservations_, *this));
    const auto& code = handlers_of(id).code;
    if (!memory_->write(place::handlers + id * page_size, code.data(), code.size() * 4)) std::abort();
  }
  if (engine.attach) executing_ = engine.attach(*memory_, harts_, code_bytes);
}

void Computer::load(const Image& image) {
  for (const auto& chunk : image.chunks)
    if (!memory_->write(chunk.address, chunk.bytes.data(), chunk.bytes.size())) std::abort();
  time_ = 1000, history_ = 0;
  delayed_ = {};
  for (auto& hart : harts_) {
    for (const auto line : {interrupt::msi, interrupt::sei, interrupt::mei}) hart->set_interrupt(line, false);
    const auto& state = image.harts[hart->id()];
    hart->reset(state.pc, Privilege::machine, 0, 0);
    hart->state() = state;
    hart->restore();
  }
  memory_->clear_dirty();
  freeze();
}

/// As when the machine is forked, which must not be seen: pages are copied when they are written to, under code that
/// has looked them up. What the others are compared with is not.
void Computer::freeze() {
  if (!executing_) return;
  memory_->freeze();
  for (auto& hart : harts_) hart->forget_pages();
}

Computer::Ran Computer::run(unsigned id, U64 steps) {
  auto& hart = *harts_[id];
  current_ = id;
  const auto begin = hart.state().steps;
  Ran ran;
  do ran.stop = hart.run(steps - (hart.state().steps - begin));
  while (ran.stop == Hart::Stop::pause && hart.state().steps - begin < steps);
  ran.steps = hart.state().steps - begin;
  apply_delayed(id);
  return ran;
}

void Computer::apply_delayed(unsigned id) {
  const auto delayed = std::exchange(delayed_, {});
  if (delayed.raises) harts_[id]->set_interrupt(interrupt::msi, true);
  if (delayed.sets_timer) harts_[id]->set_mtimecmp(delayed.timer);
}

void Computer::apply(const Stop& stop) {
  freeze();
  if (harts_[stop.hart]->state().waiting && !finished(stop.hart)) wake_waiting(stop.hart);
  switch (stop.event) {
    case Stop::Event::none:
      return;
    case Stop::Event::raise:
    case Stop::Event::lower:
      return harts_[stop.hart]->set_interrupt(unsigned(stop.where), stop.event == Stop::Event::raise);
    case Stop::Event::time:
      time_ += stop.value;
      return;
    case Stop::Event::device_write:
      if (!memory_->write(stop.where, &stop.value, sizeof stop.value)) std::abort();
  }
}

/// To when its timer is due, or else by the interrupt that its firmware always takes.
void Computer::wake_waiting(unsigned id) {
  auto& hart = *harts_[id];
  const auto timer = hart.next_timer();
  if (timer != ~0ULL && timer > ticks(hart) && timer - ticks(hart) < 1'000'000)
    time_ += timer - ticks(hart);
  else
    hart.set_interrupt(interrupt::mei, true);
}

bool Computer::finished(unsigned id) const {
  const auto& state = harts_[id]->state();
  return state.waiting && state.pc == handlers_of(id).idle + 4;
}

U64 Computer::ticks(const Hart& hart) { return time_ + (time_is_instructions(way_) ? hart.steps() / steps_a_tick : 0); }

/// Call 0 ends the segment: the interrupt that firmware always takes. The others do what calls of an SBI do.
void Computer::supervisor_call(Hart& hart) {
  auto& x = hart.state().x;
  note(x[call_number_register]), note(x[10]);
  switch (x[call_number_register] % 8) {
    case 1:
      return hart.raise_software_interrupt();
    case 2:
      return hart.flush_translations();
    case 3:
      return hart.flush_translations(x[10], x[11] & 0x7fff);
    case 4:
      return hart.flush_instructions();
    default:
      x[10] = history_, x[11] = hart.steps();
  }
  if (x[call_number_register] == 0) hart.set_interrupt(interrupt::mei, true);
}

void Computer::note(U64 value) { history_ = mix(history_, value); }

/// Both doors also tell the instruction's time: devices see it.
bool Computer::mmio_read(U64 address, unsigned size, U64& value) {
  if (address >> page_shift != place::device >> page_shift) return false;
  note(address), note(size), note(harts_[current_]->steps());
  value = history_;
  return true;
}

bool Computer::mmio_write(U64 address, unsigned size, U64 value) {
  if (address >> page_shift != place::device >> page_shift) return false;
  note(address), note(size), note(value & ((2ULL << (8 * size - 1)) - 1)), note(harts_[current_]->steps());
  auto& hart = *harts_[current_];
  const bool immediate = time_is_instructions(way_);
  switch (address - place::device) {
    case place::device_acknowledge:
      hart.set_interrupt(interrupt::mei, false);
      break;
    case place::device_timer:
      if (immediate)
        hart.set_mtimecmp(value);
      else
        delayed_.sets_timer = true, delayed_.timer = value;
      break;
    case place::device_software:
      delayed_.raises = value & 1 && !immediate;
      if (!(value & 1) || immediate) hart.set_interrupt(interrupt::msi, value & 1);
      break;
    default:
      break;
  }
  return true;
}

}  // namespace doppel::differential::engines
