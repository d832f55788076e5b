#include "device/uart16550.h"

#include <gtest/gtest.h>

#include <string>

#include "unit/device/interrupt_probe.h"

namespace doppel {
namespace {

enum Register : std::uint64_t { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = 0, FCR = 2, DLL = 0, DLM = 1 };

struct Machine {
  InterruptProbe probe;
  std::string sent;
  Uart16550 uart{{&probe, 10}, [this](std::span<const std::byte> bytes) {
                   sent.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                 }};
  std::uint64_t get(std::uint64_t at) { return peek(uart, at, 1); }
  void put(std::uint64_t at, std::uint64_t value) { EXPECT_TRUE(uart.write(at, 1, value)); }
  std::size_t type(const std::string& text) { return uart.receive(std::as_bytes(std::span(text))); }
  bool interrupt() { return probe.level[10]; }
};

// What the guest prints would not be seen, or would come out of order.
TEST(Uart16550, TransmitsEveryByteAtOnceAndIsAlwaysReadyForMore) {
  Machine m;
  for (const char c : std::string("hello\n")) {
    EXPECT_EQ(m.get(LSR), 0x60u);
    m.put(THR, static_cast<unsigned char>(c));
  }
  EXPECT_EQ(m.sent, "hello\n");
}

// Drivers with wide register accesses (reg-io-width) would read garbage above the byte.
TEST(Uart16550, TakesEveryAccessSizeAsAByte) {
  Machine m;
  for (const unsigned size : {1u, 2u, 4u, 8u}) {
    EXPECT_TRUE(m.uart.write(SCR, size, 0xffffff00 | size));
    EXPECT_EQ(peek(m.uart, SCR, size), size);
  }
}

TEST(Uart16550, RegistersThatDoNotExistReadAsZeroAndIgnoreWrites) {
  Machine m;
  const auto before = saved(m.uart);
  for (std::uint64_t at = 8; at < m.uart.window(); at++) {
    m.put(at, 0xff);
    EXPECT_EQ(m.get(at), 0u) << at;
  }
  EXPECT_EQ(saved(m.uart), before);
  EXPECT_EQ(m.sent, "");
}

// Setting the baud rate would print junk or lose the interrupt enables.
TEST(Uart16550, DivisorLatchHidesDataAndEnableRegisters) {
  Machine m;
  m.put(IER, 0x05);
  m.put(LCR, 0x83);
  m.put(DLL, 0x34);
  m.put(DLM, 0x12);
  EXPECT_EQ(m.get(DLL), 0x34u);
  EXPECT_EQ(m.get(DLM), 0x12u);
  m.put(LCR, 0x03);
  EXPECT_EQ(m.get(IER), 0x05u);
  EXPECT_EQ(m.get(LCR), 0x03u);
  EXPECT_EQ(m.sent, "");
}

// Linux's autoconfig would take it for another chip: no FIFOs, or a TI16C750 or XScale with bits that are not there.
TEST(Uart16550, LooksLikeA16550AToLinuxAutoconfiguration) {
  Machine m;
  m.put(IER, 0x00);
  EXPECT_EQ(m.get(IER), 0x00u);
  m.put(IER, 0xff);
  EXPECT_EQ(m.get(IER), 0x0fu);
  m.put(IER, 0x00);
  m.put(MCR, 0x1a);                     // loopback, OUT2, RTS
  EXPECT_EQ(m.get(MSR) & 0xf0, 0x90u);  // DCD and CTS
  m.put(MCR, 0x00);
  EXPECT_EQ(m.get(MSR) & 0xf0, 0xb0u);
  m.put(FCR, 0x01);
  EXPECT_EQ(m.get(IIR) >> 6, 3u);
  m.put(FCR, 0xa1);  // 64-byte FIFOs
  EXPECT_EQ(m.get(IIR) >> 5, 6u);
  m.put(FCR, 0x00);
  EXPECT_EQ(m.get(IIR), 0x01u);
}

// Linux's 8250 driver would poll by a timer (UART_BUG_THRE) instead of using interrupts, or never send.
TEST(Uart16550, EnablingTheTransmitterInterruptRaisesItEachTime) {
  Machine m;
  for (int i = 0; i < 2; i++) {
    m.put(IER, 0x02);
    EXPECT_TRUE(m.interrupt());
    EXPECT_EQ(m.get(IIR), 0x02u);
    EXPECT_EQ(m.get(IIR), 0x01u) << "reading IIR takes it back";
    EXPECT_FALSE(m.interrupt());
    m.put(IER, 0x02);
    EXPECT_FALSE(m.interrupt()) << "enabling what is enabled is no news";
    m.put(THR, 'x');
    EXPECT_TRUE(m.interrupt()) << "empty again after a byte";
    m.put(IER, 0x00);
    EXPECT_FALSE(m.interrupt());
  }
}

TEST(Uart16550, ReadingAHigherInterruptKeepsTheTransmitters) {
  Machine m;
  m.put(IER, 0x03);
  m.type("a");
  EXPECT_EQ(m.get(IIR), 0x04u);
  EXPECT_EQ(m.get(RBR), std::uint64_t{'a'});
  EXPECT_EQ(m.get(IIR), 0x02u);
}

// Input would hang until the trigger level is reached, or be read before it is there.
TEST(Uart16550, DataInterruptAtTheTriggerLevelAndTimeoutBelow) {
  for (const auto& [bits, level] : {std::pair{0u, 1}, {1u, 4}, {2u, 8}, {3u, 14}}) {
    Machine m;
    m.put(FCR, 1 | bits << 6);
    m.put(IER, 0x01);
    for (int i = 1; i <= 16; i++) {
      EXPECT_EQ(m.type("k"), 1u);
      EXPECT_EQ(m.get(IIR), i < level ? 0xccu : 0xc4u) << "byte " << i << " of trigger " << level;
      EXPECT_TRUE(m.interrupt());
    }
    for (int i = 0; i < 16; i++) EXPECT_EQ(m.get(RBR), std::uint64_t{'k'});
    EXPECT_EQ(m.get(IIR), 0xc1u);
    EXPECT_FALSE(m.interrupt());
    EXPECT_EQ(m.get(LSR), 0x60u);
    EXPECT_EQ(m.get(RBR), 0u);
  }
}

// Pasted text would lose characters, or the back end would never be asked for the rest.
TEST(Uart16550, TellsHowMuchFitsAndAsksForTheRestWhenEmpty) {
  Machine m;
  std::string pasted = "0123456789abcdefghijklmnopqrstuvwxyz", got;
  m.put(FCR, 1);
  m.uart.set_room_callback([&] { pasted.erase(0, m.type(pasted)); });
  pasted.erase(0, m.type(pasted));
  EXPECT_EQ(pasted.size(), 20u);
  while (m.get(LSR) & 1) got += static_cast<char>(m.get(RBR));
  EXPECT_EQ(got, "0123456789abcdefghijklmnopqrstuvwxyz");
}

TEST(Uart16550, DoesNotAskForInputThatWasNotRefused) {
  Machine m;
  int asked = 0;
  m.uart.set_room_callback([&] { asked++; });
  m.type("a");
  m.get(RBR);
  EXPECT_EQ(asked, 0);
  EXPECT_EQ(m.type("ab"), 1u) << "without FIFOs there is room for one";
  m.get(RBR);
  m.get(RBR);
  EXPECT_EQ(asked, 1);
}

// A driver that starts or resets the FIFOs (all do) would leave the terminal's input stuck for ever.
TEST(Uart16550, ClearingTheReceiverAsksForRefusedInput) {
  for (const auto value : {0x03u, 0x00u}) {
    Machine m;
    int asked = 0;
    m.put(FCR, 1);
    m.type("an input that is longer than sixteen");
    m.uart.set_room_callback([&] { asked++; });
    m.put(FCR, value);
    EXPECT_EQ(m.get(LSR) & 1, 0u);
    EXPECT_EQ(asked, 1);
  }
}

TEST(Uart16550, LoopbackReturnsWhatIsSentAndReportsOverrun) {
  Machine m;
  int asked = 0;
  m.uart.set_room_callback([&] { asked++; });
  m.put(FCR, 1);
  m.put(IER, 0x04);
  m.put(MCR, 0x10);
  EXPECT_EQ(m.type("x"), 0u) << "the pin is disconnected";
  for (int i = 0; i < 17; i++) m.put(THR, static_cast<unsigned>('a' + i));
  EXPECT_EQ(m.sent, "");
  EXPECT_TRUE(m.interrupt());
  EXPECT_EQ(m.get(IIR), 0xc6u);
  EXPECT_EQ(m.get(LSR), 0x63u);
  EXPECT_EQ(m.get(LSR), 0x61u) << "reading LSR clears the error";
  EXPECT_FALSE(m.interrupt());
  EXPECT_EQ(m.get(RBR), std::uint64_t{'a'});
  m.put(FCR, 3);
  EXPECT_EQ(asked, 0);
  m.put(MCR, 0x00);
  EXPECT_EQ(asked, 1) << "what was typed meanwhile is still there";
}

TEST(Uart16550, ModemStatusChangesInterruptOnce) {
  Machine m;
  m.put(IER, 0x08);
  m.put(MCR, 0x14);  // loopback: CTS, DSR and DCD fall, RI rises
  EXPECT_TRUE(m.interrupt());
  EXPECT_EQ(m.get(IIR), 0x00u);
  EXPECT_EQ(m.get(MSR), 0x4bu);
  EXPECT_EQ(m.get(MSR), 0x40u);
  EXPECT_FALSE(m.interrupt());
  m.put(MCR, 0x10);  // RI falls: the trailing edge
  EXPECT_EQ(m.get(MSR), 0x04u);
}

TEST(Uart16550, ResetForgetsEverythingButTheBackEnd) {
  Machine m;
  const auto fresh = saved(m.uart);
  m.put(FCR, 0xc1);
  m.put(IER, 0x0f);
  m.type("abc");
  m.uart.reset();
  EXPECT_EQ(saved(m.uart), fresh);
  EXPECT_FALSE(m.interrupt());
}

// A restored machine would lose typed input or wait for an interrupt that never comes.
TEST(Uart16550, SavedStateContinuesElsewhere) {
  Machine a, b;
  a.put(FCR, 0x81);
  a.put(LCR, 0x80);
  a.put(DLL, 7);
  a.put(LCR, 0x03);
  a.put(IER, 0x07);
  a.put(SCR, 0x5a);
  a.type("type");
  ASSERT_TRUE(restored(b.uart, saved(a.uart)));
  EXPECT_EQ(saved(b.uart), saved(a.uart));
  EXPECT_TRUE(b.interrupt());
  EXPECT_EQ(b.get(IIR), 0xccu);
  for (const char c : std::string("type")) EXPECT_EQ(b.get(RBR), static_cast<unsigned char>(c));
  EXPECT_EQ(b.get(IIR), 0xc2u);
  EXPECT_EQ(b.get(SCR), 0x5au);
}

TEST(Uart16550, HostileStatesAreRefusedAndChangeNothing) {
  Machine m;
  m.put(SCR, 0x77);
  EXPECT_TRUE(refuses_truncation(m.uart));
  const auto good = saved(m.uart);
  EXPECT_FALSE(restored(m.uart, std::vector<std::byte>(good.size(), std::byte{0xff})));
  auto too_many = good;
  too_many[11] = std::byte{17};
  EXPECT_FALSE(restored(m.uart, too_many));
  EXPECT_EQ(m.get(SCR), 0x77u);
}

}  // namespace
}  // namespace doppel
