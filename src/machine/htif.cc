#include "machine/htif.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/file_descriptor.h"

namespace doppel {
namespace {

constexpr std::uint64_t payload_mask = (1ULL << 48) - 1;
constexpr std::uint64_t system_device = 0, console_device = 1;
constexpr std::uint64_t console_read = 0, console_write = 1;

// Numbers of Linux's system calls for RISC-V (asm-generic/unistd.h), which the proxy kernel took over.
constexpr std::uint64_t sys_write = 64, sys_exit = 93;

// A program may not make one poll long, nor its answers pile up.
constexpr std::uint64_t largest_write = 1 << 20;
constexpr std::size_t most_answers = 64, most_keys = 4096;

std::uint64_t failed(int number) { return -static_cast<std::uint64_t>(number); }

}  // namespace

std::optional<std::uint64_t> Htif::poll(GuestMemory& memory) {
  std::uint64_t command = 0;
  if (!symbols_.tohost || !memory.read(*symbols_.tohost, &command, sizeof command)) return {};
  std::optional<std::uint64_t> code;
  if (command != 0) {
    constexpr std::uint64_t none = 0;
    if (!memory.write(*symbols_.tohost, &none, sizeof none)) return {};
    code = serve(memory, command);
  }
  answer_reads();
  deliver(memory);
  return code;
}

std::optional<std::uint64_t> Htif::serve(GuestMemory& memory, std::uint64_t command) {
  const auto device = command >> 56, order = command >> 48 & 0xff, payload = command & payload_mask;
  if (device == system_device && order == 0) {
    if (payload & 1) return payload >> 1;
    return system_call(memory, payload);
  }
  if (device == console_device && order == console_write) {
    const auto byte = static_cast<std::byte>(payload);
    console_({&byte, 1});
  } else if (device == console_device && order == console_read) {
    waiting_reads_ = std::min<std::uint32_t>(waiting_reads_ + 1, most_answers);
  }
  return {};
}

std::optional<std::uint64_t> Htif::system_call(GuestMemory& memory, std::uint64_t words) {
  std::array<std::uint64_t, 8> call;  // number and arguments; the result replaces the number
  if (!memory.read(words, call.data(), sizeof call)) return {};
  if (call[0] == sys_exit) return call[1];
  call[0] = call[0] == sys_write ? write_text(memory, call[1], call[2], call[3]) : failed(ENOSYS);
  if (memory.write(words, call.data(), sizeof call[0])) answer(system_device, 0, 1);
  return {};
}

std::uint64_t Htif::write_text(GuestMemory& memory, std::uint64_t file, std::uint64_t address, std::uint64_t length) {
  if (file != 1 && file != 2) return failed(EBADF);
  if (!memory.contains(address, length)) return failed(EFAULT);
  length = std::min(length, largest_write);
  std::array<std::byte, page_size> part;
  for (std::uint64_t done = 0; done < length;) {
    const auto count = std::min<std::uint64_t>(part.size(), length - done);
    if (!memory.read(address + done, part.data(), count)) return failed(EFAULT);
    console_(std::span(part).first(count));
    done += count;
  }
  return length;
}

void Htif::answer(std::uint64_t device, std::uint64_t command, std::uint64_t payload) {
  if (answers_.size() < most_answers) answers_.push_back(device << 56 | command << 48 | (payload & payload_mask));
}

void Htif::type(std::byte key) {
  if (keys_.size() < most_keys) keys_.push_back(key);
}

void Htif::answer_reads() {
  for (; waiting_reads_ > 0 && !keys_.empty(); waiting_reads_--, keys_.pop_front())
    answer(console_device, console_read, 0x100 | std::to_integer<std::uint64_t>(keys_.front()));
}

void Htif::deliver(GuestMemory& memory) {
  std::uint64_t taken = 1;
  if (answers_.empty() || !symbols_.fromhost || !memory.read(*symbols_.fromhost, &taken, sizeof taken) || taken != 0)
    return;
  if (memory.write(*symbols_.fromhost, &answers_.front(), sizeof answers_.front())) answers_.pop_front();
}

void Htif::reset() {
  answers_.clear();
  keys_.clear();
  waiting_reads_ = 0;
}

void Htif::save(Writer& out) const {
  out.put<std::uint32_t>(waiting_reads_);
  out.put<std::uint32_t>(static_cast<std::uint32_t>(answers_.size()));
  for (auto value : answers_) out.put(value);
  out.put<std::uint32_t>(static_cast<std::uint32_t>(keys_.size()));
  for (auto key : keys_) out.put(key);
}

Result<void> Htif::restore(Reader& in) {
  reset();
  const auto reads = in.get<std::uint32_t>();
  const auto answers = in.get<std::uint32_t>();
  if (reads > most_answers || answers > most_answers) return error("the saved HTIF state is corrupt");
  waiting_reads_ = reads;
  for (std::uint32_t i = 0; i < answers; i++) answers_.push_back(in.get<std::uint64_t>());
  const auto keys = in.get<std::uint32_t>();
  if (keys > most_keys) return error("the saved HTIF state is corrupt");
  for (std::uint32_t i = 0; i < keys; i++) keys_.push_back(in.get<std::byte>());
  if (!in.ok()) return error("the saved HTIF state is truncated");
  return {};
}

Result<std::string> signature_text(GuestMemory& memory, const HtifSymbols& symbols) {
  if (!symbols.begin_signature || !symbols.end_signature)
    return error("the program has no signature: it needs the symbols begin_signature and end_signature");
  const auto begin = *symbols.begin_signature, end = *symbols.end_signature;
  if (begin > end || !memory.contains(begin, end - begin))
    return error("the signature from {:#x} to {:#x} does not lie in memory", begin, end);
  std::string text;
  for (auto at = begin; at < end; at += 4) {
    std::uint32_t word = 0;
    if (!memory.read(at, &word, std::min<std::uint64_t>(4, end - at)))
      return error("the signature from {:#x} to {:#x} does not lie in memory", begin, end);
    text += fmt::format("{:08x}\n", word);
  }
  return text;
}

Result<void> write_signature(GuestMemory& memory, const HtifSymbols& symbols, const std::string& path) {
  const auto text = signature_text(memory, symbols);
  if (!text) return text.failure();
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file) return error("cannot write the signature to {}: {}", path, std::strerror(errno));
  for (std::size_t done = 0; done < text->size();) {
    const auto count = ::write(file.get(), text->data() + done, text->size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return error("cannot write the signature to {}: {}", path, std::strerror(errno));
    done += static_cast<std::size_t>(count);
  }
  return {};
}

}  // namespace doppel
