#pragma once
// A bare-metal guest that drives the network card: it sends datagrams to the echo port and checks what comes back.
#include <algorithm>

#include "machine/memory_map.h"
#include "network/echo_peer.h"
#include "network/packet.h"
#include "unit/machine/guest_program.h"

namespace doppel::test {

/// Sends `requests` numbered datagrams to the peer of NetworkKind::peer, four at a time with room for two answers, and
/// writes down each answer with its time and when others came. It sleeps until the card interrupts, prints "ok" and
/// powers off; on one hart, without disks.
class NetworkGuest {
 public:
  static constexpr std::uint32_t requests = 100, in_flight = 4, receive_buffers = 2;

  ElfFile elf() {
    set_up();
    exchange();
    finish();
    ElfFile file(p_.base());
    file.code = p_.bytes();
    file.code.resize(data - dram_base);
    const auto rings = initial_data();
    file.code.insert(file.code.end(), rings.begin(), rings.end());
    file.segments.clear();
    file.add_segment(p_.base(), p_.base(), file.code.size());
    return file;
  }

 private:
  // Offsets from `data`: of each queue the descriptors, and the rings of the driver and of the device.
  static constexpr std::uint64_t data = dram_base + 0x4000, log = dram_base + 0x10'0000;
  static constexpr std::int32_t receive = 0, transmit = 0x400, driver_ring = 0x100, device_ring = 0x200;
  // The buffers lie so that the datagrams in them are aligned.
  static constexpr std::int32_t frame_at = 0x702, received_at = 0x1002, payload = 12 + 42, queue_size = 16;

  static Bytes initial_data() {
    Bytes out(0x2100);
    const auto put = [&]<typename T>(std::size_t at, T value) { std::memcpy(out.data() + at, &value, sizeof value); };
    for (std::size_t n = 0; n < receive_buffers; n++) {
      put(receive + 16 * n, data + received_at + 0x800 * n);
      put(receive + 16 * n + 8, std::uint64_t{0x800} | 2ULL << 32);  // the device writes
      put(receive + driver_ring + 4 + 2 * n, std::uint16_t(n));
    }
    put(receive + driver_ring + 2, std::uint16_t(receive_buffers));
    const auto frame = request();
    put(transmit, data + frame_at);
    put(transmit + 8, std::uint64_t(12 + frame.size()));
    put(transmit + driver_ring, std::uint16_t{1});  // no interrupts
    std::ranges::copy(frame, out.begin() + frame_at + 12);
    return out;
  }

  static Bytes request() {
    constexpr std::size_t length = 64;
    Bytes frame(14 + 20 + 8 + length);
    const std::span all(frame);
    std::ranges::copy(std::as_bytes(std::span(EchoPeer::mac)), frame.begin());
    put16(all, 6, 0x5254);
    put16(all, 12, ethertype_ipv4);
    const auto ip = all.subspan(14);
    ip[0] = std::byte{0x45}, ip[8] = std::byte{64}, ip[9] = std::byte{protocol_udp};
    put16(ip, 2, 28 + length);
    put32(ip, 12, EchoPeer::guest_address);
    put32(ip, 16, EchoPeer::address);
    put16(ip, 10, internet_checksum(ip.first(20)));
    put16(ip, 20, 5000);
    put16(ip, 22, EchoPeer::echo_port);
    put16(ip, 24, 8 + length);
    return frame;
  }

  void set(std::int32_t reg, std::uint32_t value) { p_.li(t0, value), p_.sw(t0, s0, reg); }

  void set_queue(std::uint32_t number, std::int32_t at) {
    set(0x30, number), set(0x38, queue_size);
    set(0x80, std::uint32_t(data + at)), set(0x84, 0);
    set(0x90, std::uint32_t(data + at + driver_ring)), set(0x94, 0);
    set(0xa0, std::uint32_t(data + at + device_ring)), set(0xa4, 0);
    set(0x44, 1);
  }

  void set_up() {
    const auto card = virtio_map(0);
    p_.li(s0, card.base), p_.li(s1, data), p_.li(s2, 0), p_.li(s3, 0);
    p_.li(s4, receive_buffers), p_.li(s5, log), p_.li(s6, requests), p_.li(s8, 0);
    // The interrupt controller: the card for this hart's S-mode, which only sleeps until it comes.
    p_.li(t0, 1), p_.li(t1, plic_map.base + 4 * card.irq), p_.sw(t0, t1);
    p_.li(t0, 1U << card.irq), p_.li(t1, plic_map.base + 0x2080), p_.sw(t0, t1);
    p_.li(t1, plic_map.base + 0x20'1000), p_.sw(zero, t1);
    p_.addi(s7, t1, 4);
    p_.li(t0, 1 << 9), p_.csrs(csr::sie, t0);
    set(0x70, 0), set(0x70, 3);
    set(0x24, 1), set(0x20, 1), set(0x24, 0), set(0x20, 0);  // VIRTIO_F_VERSION_1 and nothing else
    set(0x70, 11);
    set_queue(0, receive), set_queue(1, transmit);
    set(0x70, 15);
  }

  void send_one() {
    p_.sd(s2, s1, frame_at + payload);
    slot(s2, 1, t0);
    p_.sh(zero, t0, transmit + driver_ring + 4);
    p_.addi(s2, s2, 1);
    p_.sh(s2, s1, transmit + driver_ring + 2);
    set(0x50, 1);
  }

  /// `out` becomes `data` plus where the ring has entry number `count`, each of 1 << `shift` bytes.
  void slot(Reg count, std::int32_t shift, Reg out) {
    p_.andi(out, count, queue_size - 1), p_.slli(out, out, shift), p_.add(out, out, s1);
  }

  void sleep_until_interrupt() {
    p_.wfi();
    p_.lw(t1, s7), p_.lw(t2, s0, 0x60);
    p_.sw(t2, s0, 0x64), p_.sw(t1, s7);
  }

  /// Takes an answer and gives its buffer back, which the device is told of a while later.
  void take_one() {
    slot(s3, 3, t0);
    p_.lw(t1, t0, receive + device_ring + 4);
    p_.slli(t3, t1, 11), p_.add(t3, t3, s1), p_.li(t4, received_at), p_.add(t3, t3, t4);
    p_.ld(t4, t3, payload), p_.csrr(t5, csr::time);
    p_.sd(t4, s5), p_.sd(t5, s5, 8), p_.sd(s8, s5, 16), p_.addi(s5, s5, 24);
    slot(s4, 1, t0);
    p_.sh(t1, t0, receive + driver_ring + 4);
    p_.addi(s4, s4, 1), p_.sh(s4, s1, receive + driver_ring + 2);
    p_.li(t0, 4000);  // longer than a quantum, so that machines are captured in the middle of it
    const auto work = p_.here();
    p_.lhu(t5, s1, receive + device_ring + 2), p_.add(s8, s8, t5);
    p_.addi(t0, t0, -1);
    p_.bne(t0, zero, work);
    p_.sw(zero, s0, 0x50);
  }

  void exchange() {
    const auto again = p_.here();
    const auto all_sent = p_.beq_forward(s2, s6);
    p_.addi(t0, s3, in_flight);
    const auto enough = p_.beq_forward(s2, t0);
    send_one();
    p_.jump(again);
    p_.land(all_sent), p_.land(enough);
    const auto wait = p_.here();
    p_.lhu(t0, s1, receive + device_ring + 2);
    const auto arrived = p_.bne_forward(t0, s3);
    sleep_until_interrupt();
    p_.jump(wait);
    p_.land(arrived);
    take_one();
    const auto right = p_.beq_forward(t4, s3);
    p_.loop_forever();  // an answer is missing, or came twice
    p_.land(right);
    p_.addi(s3, s3, 1);
    p_.bne(s3, s6, again);
  }

  void finish() {
    p_.li(t0, uart_map.base);
    for (const char letter : {'o', 'k'}) p_.li(t1, std::uint64_t(letter)), p_.sb(t1, t0);
    p_.li(t0, test_finisher_map.base), p_.li(t1, 0x5555), p_.sw(t1, t0);
    p_.loop_forever();
  }

  Program p_;
};

inline ElfFile network_guest() { return NetworkGuest().elf(); }

}  // namespace doppel::test
