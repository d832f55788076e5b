// Consoles and byte channels between guest and host.
#include "device/virtio/console.h"

#include <gtest/gtest.h>

#include <map>

#include "unit/device/virtio/driver.h"

namespace doppel::testing {
namespace {

constexpr std::uint64_t F_SIZE = 1, F_MULTIPORT = 2, F_EMERG_WRITE = 4;
enum : std::uint16_t { DEVICE_READY, DEVICE_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };
constexpr unsigned rx0 = 0, tx0 = 1, control_rx = 2, control_tx = 3, rx1 = 4, tx1 = 5;

struct Message {
  std::uint32_t id;
  std::uint16_t event, value;
  std::string rest;
  bool operator==(const Message&) const = default;
};

class VirtioConsoleTest : public ::testing::Test {
 protected:
  void plug() {
    auto owned = std::make_unique<VirtioConsole>(
        rig.host(), std::vector<ConsolePortSpec>{{"", true, &port0}, {"org.doppel.agent", false, &port1}});
    console = owned.get();
    rig.plug(std::move(owned));
  }
  void start(std::uint64_t features) {
    plug();
    rig.driver->start(VIRTIO_F_VERSION_1 | features, 6);
  }
  Driver& driver() { return *rig.driver; }
  void write(unsigned queue, std::string_view text) {
    driver().send(queue, {{driver().place(text), static_cast<std::uint32_t>(text.size()), false}});
  }
  void control(std::uint32_t id, std::uint16_t event, std::uint16_t value) {
    const auto at = driver().allocate(8);
    driver().poke(at, id);
    driver().poke(at + 4, event);
    driver().poke(at + 6, value);
    driver().send(control_tx, {{at, 8, false}});
  }
  void give(unsigned queue, std::uint32_t length) {
    const auto at = driver().allocate(length);
    const auto head = driver().send(queue, {{at, length, true}});
    given[queue][head] = at;
  }
  std::vector<std::string> received(unsigned queue) {
    std::vector<std::string> out;
    for (const auto& used : driver().used(queue)) out.push_back(driver().text(given[queue][used.id], used.length));
    return out;
  }
  std::vector<Message> messages() {
    std::vector<Message> out;
    for (const auto& text : received(control_rx)) {
      Message m;
      std::memcpy(&m.id, text.data(), 4);
      std::memcpy(&m.event, text.data() + 4, 2);
      std::memcpy(&m.value, text.data() + 6, 2);
      m.rest = text.substr(8);
      out.push_back(m);
    }
    return out;
  }
  void input(unsigned port, std::string_view text) { console->input(port, std::as_bytes(std::span(text))); }

  Rig rig;
  FakePort port0, port1;
  VirtioConsole* console = nullptr;
  std::map<unsigned, std::map<std::uint32_t, std::uint64_t>> given;
};

TEST_F(VirtioConsoleTest, ASimpleDriverHasOneConsole) {
  start(0);
  write(tx0, "hello");
  EXPECT_EQ(port0.text, "hello");
  EXPECT_EQ(driver().used(tx0).size(), 1u);
  give(rx0, 3);
  give(rx0, 100);
  input(0, "typed");
  EXPECT_EQ(received(rx0), (std::vector<std::string>{"typ", "ed"}));
  EXPECT_TRUE(rig.line.level);
  EXPECT_TRUE(port0.open);
}

TEST_F(VirtioConsoleTest, WhatIsTypedBeforeTheGuestListensWaits) {
  plug();
  input(0, "early");
  rig.driver->start(VIRTIO_F_VERSION_1, 2);
  EXPECT_EQ(console->room(0), VirtioConsole::input_bytes - 5);
  give(rx0, 100);
  EXPECT_EQ(received(rx0), std::vector<std::string>{"early"});
  EXPECT_EQ(console->room(0), VirtioConsole::input_bytes);
  rig.later.run();
  EXPECT_EQ(port0.rooms, 1u);
}

TEST_F(VirtioConsoleTest, InputBeyondTheRoomIsNotTaken) {
  start(0);
  const std::vector<std::byte> much(VirtioConsole::input_bytes + 10);
  EXPECT_EQ(console->input(0, much), VirtioConsole::input_bytes);
  EXPECT_EQ(console->input(0, much), 0u);
  EXPECT_EQ(console->input(7, much), 0u);
  EXPECT_EQ(console->room(7), 0u);
}

TEST_F(VirtioConsoleTest, PortsIntroduceThemselves) {
  start(F_SIZE | F_MULTIPORT);
  console->resize(100, 40);
  for (int i = 0; i < 12; i++) give(control_rx, 128);
  control(0xffff'ffff, DEVICE_READY, 1);
  EXPECT_EQ(messages(), (std::vector<Message>{{0, DEVICE_ADD, 1, ""}, {1, DEVICE_ADD, 1, ""}}));
  control(0, PORT_READY, 1);
  EXPECT_EQ(messages(),
            (std::vector<Message>{
                {0, CONSOLE_PORT, 1, ""}, {0, RESIZE, 0, std::string("\x64\0\x28\0", 4)}, {0, PORT_OPEN, 1, ""}}));
  control(1, PORT_READY, 1);
  EXPECT_EQ(messages(), (std::vector<Message>{{1, PORT_NAME, 1, "org.doppel.agent"}, {1, PORT_OPEN, 1, ""}}));
  EXPECT_FALSE(port1.open);
  control(1, PORT_OPEN, 1);
  EXPECT_TRUE(port1.open);
  control(1, PORT_OPEN, 0);
  EXPECT_FALSE(port1.open);
}

TEST_F(VirtioConsoleTest, AChannelCarriesBytesBothWaysOnceOpen) {
  start(F_MULTIPORT);
  give(rx1, 100);
  input(1, "to the agent");
  EXPECT_TRUE(received(rx1).empty());  // Linux throws away what comes before the port is open
  control(1, PORT_OPEN, 1);
  EXPECT_EQ(received(rx1), std::vector<std::string>{"to the agent"});
  write(tx1, "from the agent");
  EXPECT_EQ(port1.text, "from the agent");
}

TEST_F(VirtioConsoleTest, MessagesWaitForBuffers) {
  start(F_MULTIPORT);
  control(0, DEVICE_READY, 1);
  EXPECT_TRUE(messages().empty());
  give(control_rx, 128);
  EXPECT_EQ(messages().size(), 1u);
  give(control_rx, 128);
  EXPECT_EQ(messages().size(), 1u);
}

TEST_F(VirtioConsoleTest, AResizeReachesTheGuestByConfigurationAndByMessage) {
  start(F_SIZE | F_MULTIPORT);
  for (int i = 0; i < 12; i++) give(control_rx, 128);
  control(0, DEVICE_READY, 1);
  control(0, PORT_READY, 1);
  messages();
  rig.take_interrupt();
  const auto generation = driver().get(reg::ConfigGeneration);
  console->resize(132, 43);
  EXPECT_NE(driver().get(reg::ConfigGeneration), generation);
  EXPECT_EQ(driver().get(reg::Config), 43u << 16 | 132u);
  EXPECT_EQ(driver().get(reg::InterruptStatus) & 2, 2u);
  EXPECT_EQ(messages(), (std::vector<Message>{{0, RESIZE, 0, std::string("\x84\0\x2b\0", 4)}}));
  rig.take_interrupt();
  console->resize(132, 43);  // the same again is no change
  EXPECT_FALSE(rig.line.level);
}

TEST_F(VirtioConsoleTest, EmergencyOutputNeedsNoDriver) {
  plug();
  EXPECT_TRUE(driver().offered() & F_EMERG_WRITE);
  driver().set(reg::Config + 8, '!');
  EXPECT_EQ(port0.text, "!");
}

TEST_F(VirtioConsoleTest, APortThatIsFullStopsTheGuestWithoutLosingAByte) {
  start(0);
  port0.limit = 7;
  write(tx0, "0123");
  write(tx0, "456789");
  write(tx0, "abc");
  EXPECT_EQ(port0.text, "0123456");
  EXPECT_EQ(driver().used(tx0).size(), 1u);
  driver().notify(tx0);
  EXPECT_EQ(port0.text, "0123456");
  port0.limit = SIZE_MAX;
  console->output_ready(0);
  EXPECT_EQ(port0.text, "0123456789abc");
  EXPECT_EQ(driver().used(tx0).size(), 2u);
}

TEST_F(VirtioConsoleTest, AHugeBufferIsOutputInBoundedSteps) {
  start(0);
  driver().send(tx0, {{ram_base + (16 << 20), 8 << 20, false}});
  EXPECT_LE(port0.text.size(), 1u << 20);
  EXPECT_TRUE(driver().used(tx0).empty());
  while (!rig.later.empty()) rig.later.run();
  EXPECT_EQ(port0.text.size(), 8u << 20);
  EXPECT_EQ(driver().used(tx0).size(), 1u);
}

TEST_F(VirtioConsoleTest, BadControlMessagesAreIgnored) {
  start(F_MULTIPORT);
  for (int i = 0; i < 8; i++) give(control_rx, 128);
  for (std::uint32_t id : {2u, 0x8000'0000u, 0xffff'ffffu})
    for (std::uint16_t event = 0; event < 20; event++) control(id, event, 2);
  driver().send(control_tx, {{driver().allocate(8), 7, false}});
  driver().send(control_tx, {{driver().allocate(8), 8, true}});
  EXPECT_TRUE(messages().empty());
  EXPECT_FALSE(driver().needs_reset());
}

TEST_F(VirtioConsoleTest, AControlBufferThatIsTooSmallDoesNotStopTheRest) {
  start(F_MULTIPORT);
  give(control_rx, 4);
  give(control_rx, 128);
  control(0, DEVICE_READY, 1);
  const auto used = driver().used(control_rx);
  ASSERT_EQ(used.size(), 2u);
  EXPECT_EQ(used[0].length, 0u);
  EXPECT_EQ(used[1].length, 8u);
}

TEST_F(VirtioConsoleTest, AnInputBufferThatCannotBeWrittenNeedsReset) {
  start(0);
  driver().send(rx0, {{driver().allocate(8), 8, false}});
  input(0, "x");
  EXPECT_TRUE(driver().needs_reset());
}

TEST_F(VirtioConsoleTest, StateInTheMiddleOfThingsSurvivesASnapshot) {
  start(F_SIZE | F_MULTIPORT);
  console->resize(90, 30);
  control(0, DEVICE_READY, 1);  // DEVICE_ADD waits: no buffers yet
  control(1, PORT_OPEN, 1);
  input(1, "waiting");
  port0.limit = 2;
  write(tx0, "abcdef");  // a part of it is out
  const auto saved = rig.save();

  auto old_driver = std::move(rig.driver);
  port0 = {};
  port1 = {};
  plug();
  Reader in{saved};
  ASSERT_TRUE(rig.mmio->restore(in).ok());
  EXPECT_EQ(rig.save(), saved);
  rig.driver = std::make_unique<Driver>(*rig.memory, *rig.mmio);
  rig.driver->rings = old_driver->rings;
  rig.driver->allocate(32 << 20);  // past what the other used
  rig.later.run();
  EXPECT_EQ(port0.text, "cdef");
  EXPECT_TRUE(console->guest_open(1));
  EXPECT_FALSE(port1.open);  // it was nothing that a program did
  EXPECT_EQ(driver().get(reg::Config), 30u << 16 | 90u);
  give(rx1, 64);
  EXPECT_EQ(received(rx1), std::vector<std::string>{"waiting"});
  give(control_rx, 64);
  EXPECT_EQ(messages(), (std::vector<Message>{{0, DEVICE_ADD, 1, ""}}));
}

TEST_F(VirtioConsoleTest, AHostileSnapshotIsRefusedOrHarmless) {
  start(F_MULTIPORT);
  input(1, "waiting");
  write(tx0, "abc");
  const auto good = rig.save();
  for (std::size_t i = 0; i < good.size(); i++) {
    Reader cut{std::span(good).first(i)};
    EXPECT_FALSE(rig.mmio->restore(cut).ok()) << i;
    for (int bit = 0; bit < 8; bit++) {
      auto bad = good;
      bad[i] ^= std::byte(1 << bit);
      Reader in{bad};
      (void)rig.mmio->restore(in).ok();
      rig.later.run();
      input(1, "x");
    }
  }
}

}  // namespace
}  // namespace doppel::testing
