// What a program asks its kernel for: system calls, signals, memory, page faults.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

enum { page = 4096, pages = 128 };
static int file = -1;

static uint64_t get_parent(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) sum += syscall(SYS_getppid);
  return sum;
}

static void open_zero(void) { must((file = open("/dev/zero", O_RDONLY)) >= 0, "/dev/zero"); }
static void open_null(void) { must((file = open("/dev/null", O_WRONLY)) >= 0, "/dev/null"); }
static void close_file(void) { close(file); }
static char buffer[65536];
static uint64_t read_one(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) sum += read(file, buffer, 1);
  return sum;
}
static uint64_t read_64k(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) sum += read(file, buffer, sizeof buffer);
  return sum;
}
static uint64_t write_one(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) sum += write(file, buffer, 1);
  return sum;
}
static uint64_t look_at_file(uint64_t n) {
  struct stat status;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) sum += stat("/dev/null", &status) == 0;
  return sum;
}

static volatile uint64_t signals;
static void on_signal(int number) { signals += number == SIGUSR1; }
static uint64_t signal_itself(uint64_t n) {
  struct sigaction action = {.sa_handler = on_signal}, old;
  signals = 0;
  sigaction(SIGUSR1, &action, &old);
  const pid_t self = getpid();
  for (uint64_t i = 0; i < n; i++) kill(self, SIGUSR1);
  sigaction(SIGUSR1, &old, NULL);
  return signals;
}

// A fault that the program handles itself, as garbage collectors and just-in-time compilers use it.
static char* guarded;
static void on_fault(int number) {
  signals += number == SIGSEGV;
  mprotect(guarded, page, PROT_READ | PROT_WRITE);
}
static uint64_t handle_fault(uint64_t n) {
  struct sigaction action = {.sa_handler = on_fault}, old;
  signals = 0;
  sigaction(SIGSEGV, &action, &old);
  guarded = must_map(page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (uint64_t i = 0; i < n; i++) {
    *(volatile char*)guarded = 1;
    mprotect(guarded, page, PROT_READ);
  }
  munmap(guarded, page);
  sigaction(SIGSEGV, &old, NULL);
  return signals;
}

static uint64_t map_and_unmap(uint64_t n) {
  for (uint64_t i = 0; i < n; i++)
    munmap(must_map(page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1), page);
  return n;
}
static uint64_t map_touch_unmap(uint64_t n) {
  for (uint64_t i = 0; i < n; i++) {
    char* p = must_map(page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    *(volatile char*)p = 1;
    munmap(p, page);
  }
  return n;
}

// Both directions of a change of permission, the page being used in between: each needs an SFENCE.VMA.
static uint64_t change_permission(uint64_t n) {
  char* p = must_map(page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    *(volatile char*)p = i;
    mprotect(p, page, PROT_READ);
    sum += *(volatile char*)p;
    mprotect(p, page, PROT_READ | PROT_WRITE);
  }
  munmap(p, page);
  return sum;
}

static uint64_t touch(char* p, uint64_t n, bool write) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++)
    if (write)
      ((volatile char*)p)[i * page] = 1;
    else
      sum += ((volatile char*)p)[i * page];
  return sum;
}
static uint64_t fault_anonymous(uint64_t n) {
  char* p = must_map(n * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  madvise(p, n * page, MADV_NOHUGEPAGE);
  touch(p, n, true);
  munmap(p, n * page);
  return n;
}
static uint64_t fault_huge(uint64_t n) {
  enum { huge = 2 << 20 };
  char* all = must_map((n + 1) * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  char* p = (char*)(((uintptr_t)all + huge - 1) & -(uintptr_t)huge);
  madvise(p, n * huge, MADV_HUGEPAGE);
  for (uint64_t i = 0; i < n; i++) ((volatile char*)p)[i * huge] = 1;
  munmap(all, (n + 1) * huge);
  return n;
}

static void make_file(void) {
  must((file = open("/file", O_RDWR | O_CREAT, 0600)) >= 0, "/file");
  memset(buffer, 3, sizeof buffer);
  for (size_t i = 0; i < (size_t)pages * page; i += sizeof buffer)
    must(write(file, buffer, sizeof buffer) == sizeof buffer, "write");
}
static void remove_file(void) {
  close(file);
  unlink("/file");
}
static uint64_t fault_file(uint64_t n, bool write) {
  char* p = must_map(n * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, file);
  madvise(p, n * page, MADV_RANDOM);  // no pages around the one that was asked for
  const uint64_t sum = touch(p, n, write);
  munmap(p, n * page);
  return sum;
}
static uint64_t fault_file_read(uint64_t n) { return fault_file(n, false); }
static uint64_t fault_file_copy(uint64_t n) { return fault_file(n, true); }

// An interrupt from one hart to another and its answer: the kernel makes the other run a fence.
static volatile bool stop, spinning;
static pthread_t spinner;
static void* spin(void* unused) {
  stay_on(1);
  spinning = true;
  while (!stop) {
  }
  return unused;
}
static void start_spinner(void) {
  stop = spinning = false;
  must(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0, "membarrier");
  must(pthread_create(&spinner, NULL, spin, NULL) == 0, "pthread_create");
  while (!spinning) {
  }
}
static void stop_spinner(void) {
  stop = true;
  pthread_join(spinner, NULL);
}
static uint64_t interrupt_other(uint64_t n) {
  for (uint64_t i = 0; i < n; i++) syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  return n;
}

const struct Case system_cases[] = {
    {.name = "syscall", .operations = 1000, .batch = get_parent},
    {.name = "read-1", .operations = 1000, .batch = read_one, .prepare = open_zero, .finish = close_file},
    {.name = "read-64K", .operations = 20, .batch = read_64k, .prepare = open_zero, .finish = close_file},
    {.name = "write-1", .operations = 1000, .batch = write_one, .prepare = open_null, .finish = close_file},
    {.name = "stat", .operations = 200, .batch = look_at_file},
    {.name = "signal", .operations = 100, .batch = signal_itself},
    {.name = "fault-to-signal", .operations = 50, .batch = handle_fault},
    {.name = "mmap+munmap", .operations = 50, .batch = map_and_unmap},
    {.name = "mmap+touch+munmap", .operations = 40, .batch = map_touch_unmap},
    {.name = "mprotect-both-ways", .operations = 100, .batch = change_permission},
    {.name = "page-fault-anonymous", .operations = 128, .batch = fault_anonymous},
    {.name = "page-fault-huge", .operations = 2, .batch = fault_huge},
    {.name = "page-fault-file",
     .operations = 128,
     .batch = fault_file_read,
     .prepare = make_file,
     .finish = remove_file},
    {.name = "page-fault-file-copy",
     .operations = 128,
     .batch = fault_file_copy,
     .prepare = make_file,
     .finish = remove_file},
    {.name = "interrupt-other-hart",
     .operations = 100,
     .batch = interrupt_other,
     .prepare = start_spinner,
     .finish = stop_spinner},
    {0},
};
