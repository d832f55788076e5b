// Measures how long an interrupt takes from its cause to its handler, in a loop of translated code, and prints for each
// kind: name, the median, the 99th percentile and the most of all samples, in nanoseconds. Runs on the bare board
// (QEMU's `virt` and Doppel's), two harts, M-mode; the last part in S-mode.
#include "virtio_disk.h"

enum { samples_wanted = 2000, nanoseconds_per_tick = 100, uart_source = 10 };

static volatile uint8_t* const uart = (uint8_t*)0x10000000;
static volatile uint32_t* const finisher = (uint32_t*)0x100000;
static volatile uint32_t* const msip = (uint32_t*)0x2000000;
static volatile uint64_t* const mtimecmp = (uint64_t*)0x2004000;
static volatile uint32_t* const plic = (uint32_t*)0xc000000;
enum { plic_enable = 0x2000 / 4, plic_threshold = 0x200000 / 4, plic_claim = 0x200004 / 4 };
enum {
  supervisor_timer = 5,
  machine_software = 3,
  machine_timer = 7,
  machine_external = 11,
  modes_interrupt = 1UL << 63
};

void loop_tight(void), loop_long(void), loop_calls(void), loop_memory(void), loop_system(void), loop_wait(void),
    loop_left(void);
void loop_poll(volatile uint16_t* word, uint64_t usual, volatile uint64_t* noted);
void supervisor_trap(void), to_supervisor(void (*go_on)(void));

static volatile uint64_t cause_time;  // when what causes the interrupt happened
static volatile uint64_t handler_time;
static volatile uint64_t interrupts_to_come;  // at once, one after another
static volatile uint64_t ring_the_other;      // counted up for each interrupt that hart 1 is to send
static uint32_t samples[samples_wanted];

static inline uint64_t now(void) {
  uint64_t t;
  __asm__ volatile("rdtime %0" : "=r"(t));
  return t;
}

static uint64_t chance(uint64_t below) {
  static uint64_t state = 88172645463325252;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state % below;
}

static void print(const char* text) {
  for (; *text; text++) {
    while (!(uart[5] & 0x20)) {
    }
    uart[0] = *text;
  }
}
static void print_number(uint64_t number) {
  char text[24], *at = text + sizeof text;
  *--at = 0;
  do *--at = '0' + number % 10;
  while (number /= 10);
  print(" ");
  print(at);
}

// Called by the trap: `time` is when its second instruction ran. Returns where the hart goes on.
uint64_t interrupted(uint64_t time, uint64_t cause, uint64_t where) {
  switch (cause) {
    case modes_interrupt | machine_timer:
      if (interrupts_to_come && --interrupts_to_come) return where;
      mtimecmp[0] = -1;
      break;
    case modes_interrupt | supervisor_timer:
      if (interrupts_to_come && --interrupts_to_come) return where;
      __asm__ volatile("csrw 0x14d, %0" : : "r"(-1));
      break;
    case modes_interrupt | machine_software:
      msip[0] = 0;
      break;
    case modes_interrupt | machine_external: {
      const uint32_t source = plic[plic_claim];
      uart[1] = 0;
      if (source == disk_source) disk[reg_acknowledge] = disk[reg_interrupt];
      plic[plic_claim] = source;
      break;
    }
    default:
      print("failed: an exception that was not expected, cause and pc are");
      print_number(cause);
      print_number(where);
      print("\n");
      *finisher = 1 << 16 | 0x3333;
      for (;;) {
      }
  }
  handler_time = time;
  return (uint64_t)loop_left;
}

static void report(const char* kind, const char* loop) {
  for (int gap = samples_wanted / 2; gap > 0; gap /= 2)  // Shell's sort
    for (int i = gap; i < samples_wanted; i++)
      for (int j = i - gap; j >= 0 && samples[j] > samples[j + gap]; j -= gap) {
        const uint32_t kept = samples[j];
        samples[j] = samples[j + gap], samples[j + gap] = kept;
      }
  print(kind);
  print(loop);
  print_number((uint64_t)samples[samples_wanted / 2] * nanoseconds_per_tick);
  print_number((uint64_t)samples[samples_wanted * 99 / 100] * nanoseconds_per_tick);
  print_number((uint64_t)samples[samples_wanted - 1] * nanoseconds_per_tick);
  print("\n");
}

static void choose(int interrupt) { __asm__ volatile("csrw mie, %0" : : "r"(1UL << interrupt)); }

// Between 50 and 150 microseconds from now: the loop is hot by then.
static uint64_t soon(void) { return now() + 500 + chance(1000); }
static void arm_machine_timer(void) { mtimecmp[0] = cause_time = soon(); }
static void arm_supervisor_timer(void) {
  cause_time = soon();
  __asm__ volatile("csrw 0x14d, %0" : : "r"(cause_time));  // stimecmp
}
static void arm_other_hart(void) { ring_the_other = ring_the_other + 1; }
// The transmitter is empty: enabling its interrupt raises it.
static void arm_uart(void) {
  cause_time = now();
  uart[1] = 2;
}
static void arm_disk(void) {
  cause_time = now();
  read_sector();
}

static void measure(const char* kind, const char* name, void (*arm)(void), void (*loop)(void)) {
  for (int i = 0; i < samples_wanted; i++) {
    arm();
    loop();
    samples[i] = handler_time > cause_time ? handler_time - cause_time : 0;
  }
  report(kind, name);
}

static void measure_in_loops(const char* kind, void (*arm)(void)) {
  measure(kind, "/tight", arm, loop_tight);
  measure(kind, "/long", arm, loop_long);
  measure(kind, "/calls", arm, loop_calls);
  measure(kind, "/memory", arm, loop_memory);
  measure(kind, "/wfi", arm, loop_wait);
}

// From the moment at which memory shows the request as done.
static void poll_disk(void) {
  cause_time = -1;
  const uint16_t usual = used.index;
  read_sector();
  loop_poll(&used.index, usual, &cause_time);
}
static void nothing_to_arm(void) {}

static void one_after_another(const char* name, void (*set)(uint64_t)) {
  enum { many = 20000 };
  uint64_t best = -1;
  for (int turn = 0; turn < 10; turn++) {
    const uint64_t begin = now();
    interrupts_to_come = many;
    set(0);
    loop_tight();
    if (now() - begin < best) best = now() - begin;
  }
  print(name);
  print_number(best * nanoseconds_per_tick / many);
  print("\n");
}
static void set_machine_timer(uint64_t when) { mtimecmp[0] = when; }
static void set_supervisor_timer(uint64_t when) { __asm__ volatile("csrw 0x14d, %0" : : "r"(when)); }

static void in_supervisor_mode(void) {
  __asm__ volatile("csrw stvec, %0\n csrw sie, %1" : : "r"(supervisor_trap), "r"(1UL << supervisor_timer));
  measure_in_loops("stimecmp", arm_supervisor_timer);
  one_after_another("stimecmp-each", set_supervisor_timer);
  print("interrupts is done\n");
  *finisher = 0x5555;
  for (;;) {
  }
}

static void enable_source(unsigned source) {
  plic[source] = 1;
  plic[plic_enable] = 1u << source;
  plic[plic_threshold] = 0;
}

void first_hart(void) {
  mtimecmp[0] = -1;
  choose(machine_timer);
  measure_in_loops("mtimecmp", arm_machine_timer);
  measure("mtimecmp", "/system", arm_machine_timer, loop_system);  // needs M-mode
  one_after_another("mtimecmp-each", set_machine_timer);
  choose(machine_software);
  measure_in_loops("other-hart", arm_other_hart);
  choose(machine_external);
  enable_source(uart_source);
  measure_in_loops("uart", arm_uart);
  if (start_disk()) {
    enable_source(disk_source);
    measure_in_loops("disk-doorbell", arm_disk);
    measure("disk-used", "/poll", nothing_to_arm, poll_disk);
  }
  __asm__ volatile("csrw mie, zero\n csrw mideleg, %0\n csrs 0x30a, %1\n csrw mcounteren, %2"
                   :
                   : "r"(1UL << supervisor_timer), "r"(1UL << 63 /* menvcfg.STCE */), "r"(7));
  set_supervisor_timer(-1);
  to_supervisor(in_supervisor_mode);
}

// Sends hart 0 a software interrupt each time it asks, a while later.
void other_hart(void) {
  for (uint64_t sent = 0;;) {
    while (ring_the_other == sent) {
    }
    sent = ring_the_other;
    const uint64_t when = soon();
    while (now() < when) {
    }
    cause_time = now();
    __asm__ volatile("fence" ::: "memory");
    msip[0] = 1;
  }
}
