/* The program in each of a million machines: it is told its number, keeps it, and answers what only who has it can. It is the
   first process; no library is needed. Lines: "number N" and "question TEXT"; each answer is the SHA-256 of the number, and of the
   number, a colon and the text, in hexadecimal. */
typedef unsigned int u32;
typedef unsigned long u64;

static long call(long number, long a, long b, long c) {
  register long a0 asm("a0") = a, a1 asm("a1") = b, a2 asm("a2") = c, a7 asm("a7") = number;
  asm volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
  return a0;
}

enum { read_call = 63, write_call = 64, room = 256 };

static const u32 constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static u32 turn(u32 x, int n) { return x >> n | x << (32 - n); }

static void block(u32 h[8], const unsigned char* data) {
  u32 w[64], s[8];
  for (int i = 0; i < 16; i++) w[i] = (u32)data[4 * i] << 24 | data[4 * i + 1] << 16 | data[4 * i + 2] << 8 | data[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    u32 a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + w[i - 7] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
  }
  for (int i = 0; i < 8; i++) s[i] = h[i];
  for (int i = 0; i < 64; i++) {
    u32 t = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i];
    u32 u = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    for (int j = 7; j > 0; j--) s[j] = s[j - 1];
    s[4] += t, s[0] = t + u;
  }
  for (int i = 0; i < 8; i++) h[i] += s[i];
}

/* The answer, of at most 247 bytes, as 64 digits and an end of line. */
static void hash(const char* text, int length, char out[65]) {
  u32 h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  unsigned char data[room] = {0};
  for (int i = 0; i < length; i++) data[i] = text[i];
  data[length] = 0x80;
  int bytes = (length + 9 + 63) / 64 * 64;
  for (int i = 0; i < 8; i++) data[bytes - 1 - i] = (u64)length * 8 >> 8 * i;
  for (int i = 0; i < bytes; i += 64) block(h, data + i);
  for (int i = 0; i < 64; i++) out[i] = "0123456789abcdef"[h[i / 8] >> (28 - 4 * (i % 8)) & 15];
  out[64] = '\n';
}

void* memset(void* to, int value, u64 count) {
  for (volatile char* p = to; count > 0; count--) *p++ = value;
  return to;
}

void* memcpy(void* to, const void* from, u64 count) {
  volatile char* p = to;
  for (const char* q = from; count > 0; count--) *p++ = *q++;
  return to;
}

void _start(void) {
  static char number[room];
  int digits = 0;
  call(write_call, 1, (long)"READY\n", 6);
  for (;;) {
    char line[64], text[room], answer[65];
    long length = call(read_call, 0, (long)line, sizeof line);
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) length--;
    if (length > 7 && line[0] == 'n') {
      for (digits = 0; digits < length - 7; digits++) number[digits] = line[7 + digits];
      hash(number, digits, answer);
    } else if (length > 9 && line[0] == 'q') {
      int end = digits;
      for (int i = 0; i < digits; i++) text[i] = number[i];
      text[end++] = ':';
      for (int i = 9; i < length; i++) text[end++] = line[i];
      hash(text, end, answer);
    } else {
      continue;
    }
    call(write_call, 1, (long)answer, sizeof answer);
  }
}
