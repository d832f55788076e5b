#include "engine/optimizer.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>

namespace doppel {
namespace {

constexpr const char* program = "doppel-optimizer";
constexpr std::uint32_t longest_object = 64 << 20;

/// Beside this program, as in a build folder and an installation, or in the folder above.
std::string find_program() {
  std::error_code failed;
  auto folder = std::filesystem::read_symlink("/proc/self/exe", failed).parent_path();
  for (int level = 0; level < 3; level++, folder = folder.parent_path())
    if (access((folder / program).c_str(), X_OK) == 0) return folder / program;
  return {};
}

bool write_all(int fd, const void* from, std::size_t size) {
  const auto* bytes = static_cast<const char*>(from);
  while (size > 0) {
    const auto put = write(fd, bytes, size);
    if (put <= 0) return false;
    bytes += put, size -= std::size_t(put);
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<Optimizer>> Optimizer::start(Receiver receiver) {
  const auto path = find_program();
  if (path.empty()) return error("{} is not installed beside doppel: use --engine fast", program);
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) != 0) return error("cannot make a pipe: {}", std::strerror(errno));
  FileDescriptor read_request(in[0]), write_request(in[1]);
  if (pipe2(out, O_CLOEXEC) != 0) return error("cannot make a pipe: {}", std::strerror(errno));
  FileDescriptor read_object(out[0]), write_object(out[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, read_request.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, write_object.get(), STDOUT_FILENO);
  std::array<char*, 2> arguments = {const_cast<char*>(program), nullptr};
  pid_t process;
  const auto problem = posix_spawn(&process, path.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (problem) return error("cannot start {}: {}", path, std::strerror(problem));
  return std::unique_ptr<Optimizer>(
      new Optimizer(std::move(write_request), std::move(read_object), std::move(receiver)));
}

Optimizer::Optimizer(FileDescriptor to, FileDescriptor from, Receiver receiver)
    : to_(std::move(to)),
      from_(std::move(from)),
      stop_(eventfd(0, EFD_CLOEXEC)),
      receiver_(std::move(receiver)),
      thread_([this] { work(); }) {}

Optimizer::~Optimizer() {
  {
    std::lock_guard guard(lock_);
    quit_ = true;
  }
  wake_.notify_all();
  const std::uint64_t one = 1;
  if (write(stop_.get(), &one, sizeof one) < 0) return;  // cannot be: the counter is far from its end
  thread_.join();
}

bool Optimizer::submit(const RegionRequest& request) {
  std::lock_guard guard(lock_);
  if (queue_.size() >= longest_queue || quit_) return false;
  queue_.push_back(to_bytes(request));
  wake_.notify_one();
  return true;
}

/// False when the other side is gone or this one ends.
bool Optimizer::read_all(void* to, std::size_t size) {
  auto* bytes = static_cast<char*>(to);
  while (size > 0) {
    pollfd events[] = {{from_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(events, 2, -1) < 0 && errno != EINTR) return false;
    if (events[1].revents) return false;
    if (!events[0].revents) continue;
    const auto got = read(from_.get(), bytes, size);
    if (got <= 0) return false;
    bytes += got, size -= std::size_t(got);
  }
  return true;
}

void Optimizer::work() {
  pthread_setname_np(pthread_self(), "optimizer");
  std::unique_lock guard(lock_);
  while (true) {
    wake_.wait(guard, [&] { return quit_ || !queue_.empty(); });
    if (quit_) return;
    const auto request = std::move(queue_.front());
    queue_.erase(queue_.begin());
    guard.unlock();
    const auto length = std::uint32_t(request.size());
    std::uint32_t answer_length = 0;
    std::vector<std::byte> answer;
    bool good = write_all(to_.get(), &length, sizeof length) && write_all(to_.get(), request.data(), length) &&
                read_all(&answer_length, sizeof answer_length) && answer_length <= longest_object;
    if (good) {
      answer.resize(answer_length);
      good = read_all(answer.data(), answer_length);
    }
    auto object = good ? object_from(answer) : std::nullopt;
    if (object && !object->text.empty()) receiver_(std::move(*object));
    guard.lock();
    if (!object) {  // the process died: the machine goes on without
      quit_ = true;
      return;
    }
  }
}

}  // namespace doppel
