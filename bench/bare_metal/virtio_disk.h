// As little of a driver for a virtio disk over mmio (Virtio 1.2, 4.2 and 5.2) as reading its first sector again and
// again takes.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { source_of_slot_0 = 1, sector_size = 512 };

static volatile uint32_t* disk;  // its registers
static unsigned disk_source;     // its interrupt at the PLIC

struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags, next;
};
static struct Descriptor descriptors[4] __attribute__((aligned(64)));
static volatile struct {
  uint16_t flags, index, ring[4];
} available __attribute__((aligned(64)));
static volatile struct {
  uint16_t flags, index;
  struct {
    uint32_t id, length;
  } ring[4];
} used __attribute__((aligned(64)));
static const struct {
  uint32_t type, reserved;
  uint64_t sector;
} read_request = {0, 0, 0};
static uint8_t sector[sector_size], disk_status;

enum {
  reg_version = 1,
  reg_device = 2,
  reg_features = 8,
  reg_features_select = 9,
  reg_queue = 12,
  reg_queue_size = 14,
  reg_queue_ready = 17,
  reg_notify = 20,
  reg_interrupt = 24,
  reg_acknowledge = 25,
  reg_status = 28,
  reg_descriptors = 32,
  reg_available = 36,
  reg_used = 40
};

static inline void set_address(int reg, volatile void* address) {
  disk[reg] = (uint32_t)(uintptr_t)address;
  disk[reg + 1] = (uint32_t)((uintptr_t)address >> 32);
}

static inline void start_queue(void) {
  enum { next = 1, device_writes = 2 };
  disk[reg_status] = 0;
  disk[reg_status] = 3;
  disk[reg_features_select] = 1;
  disk[reg_features] = 1;  // VERSION_1
  disk[reg_status] = 11;
  disk[reg_queue] = 0;
  disk[reg_queue_size] = 4;
  set_address(reg_descriptors, descriptors);
  set_address(reg_available, &available);
  set_address(reg_used, &used);
  disk[reg_queue_ready] = 1;
  disk[reg_status] = 15;
  descriptors[0] = (struct Descriptor){(uintptr_t)&read_request, sizeof read_request, next, 1};
  descriptors[1] = (struct Descriptor){(uintptr_t)sector, sector_size, next | device_writes, 2};
  descriptors[2] = (struct Descriptor){(uintptr_t)&disk_status, 1, device_writes, 0};
}

/// Looks for one in the board's eight slots and prepares its queue.
static inline bool start_disk(void) {
  for (unsigned slot = 0; slot < 8; slot++) {
    disk = (volatile uint32_t*)(0x10001000UL + 0x1000 * slot);
    if (disk[0] != 0x74726976 || disk[reg_version] != 2 || disk[reg_device] != 2) continue;
    disk_source = source_of_slot_0 + slot;
    start_queue();
    return true;
  }
  return false;
}

static inline void read_sector(void) {
  available.ring[available.index % 4] = 0;
  __asm__ volatile("fence" ::: "memory");
  available.index = available.index + 1;
  __asm__ volatile("fence" ::: "memory");
  disk[reg_notify] = 0;
}
