#pragma once
// A guest that says how many keys it has got, for tests of machines that are put away and brought back.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include "machine/machine.h"
#include "machine/memory_map.h"
#include "unit/machine/guest_program.h"

namespace doppel::test {

/// Prints '>' and answers each byte with how many it has got so far, as a letter from 'a' on; 'Q' ends the machine, 'R'
/// reboots it.
inline Program counting() {
  Program p;
  p.li(s0, uart_map.base), p.li(s1, dram_base + 0x10'0000), p.li(s2, test_finisher_map.base);
  p.li(t0, '>'), p.sb(t0, s0);
  p.li(t0, 'R'), p.li(t1, 'Q');
  const auto again = p.here();
  p.lbu(t2, s0, 5);
  p.andi(t2, t2, 1);
  p.beq(t2, zero, again);
  p.lbu(t2, s0);
  const auto stays = p.bne_forward(t2, t1);
  p.li(t3, 0x5555), p.sw(t3, s2);
  p.loop_forever();
  p.land(stays);
  const auto goes_on = p.bne_forward(t2, t0);
  p.li(t3, 0x7777), p.sw(t3, s2);
  p.loop_forever();
  p.land(goes_on);
  p.ld(t3, s1);
  p.addi(t3, t3, 1);
  p.sd(t3, s1);
  p.addi(t3, t3, 'a' - 1);
  p.sb(t3, s0);
  p.jump(again);
  return p;
}

/// A folder with the guest as a kernel, and its image before the first instruction.
class CountingGuest : public testing::Test {
 protected:
  virtual Program program() const { return counting(); }
  void SetUp() override {
    std::string name = testing::TempDir() + "worker-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    config_.kernel = (folder_ / "kernel").string();
    config_.memory = 16 << 20;
    config_.network = NetworkKind::none;
    config_.sandbox = false;
    const auto bytes = program().elf().build();
    std::ofstream(config_.kernel, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    auto own = config_;
    own.console = "none";
    const auto machine = Machine::create(own);
    ASSERT_TRUE(machine) << machine.message();
    auto image = (*machine)->capture();
    ASSERT_TRUE(image);
    base_ = std::make_shared<const MachineImage>(*std::move(image));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  MachineConfig config_;
  std::shared_ptr<const MachineImage> base_;
};

}  // namespace doppel::test
