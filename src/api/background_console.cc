#include "api/background_console.h"

#include <algorithm>

#include "base/clock.h"

namespace doppel {
namespace {

constexpr std::size_t most_printed = 1 << 20;  // bytes that wait for the loop's thread
constexpr std::int64_t first_retry_ns = 5'000'000, longest_retry_ns = 500'000'000;
constexpr int last_words_ms = 1000;

}  // namespace

// The loop's thread may be waiting for the lock under which this is called, so this cannot wait for it: when that is
// too far behind, the log gets its part from here.
void BackgroundConsole::output(std::span<const std::byte> data) {
  std::lock_guard guard(lock_);
  const bool first = printed_.empty();
  printed_.insert(printed_.end(), data.begin(), data.end());
  if (printed_.size() > most_printed) {
    log_.write(std::span(printed_).subspan(logged_));
    printed_.erase(printed_.begin(), printed_.end() - most_recent);
    logged_ = printed_.size();
    clients_lost_some_ = true;
  }
  if (first) loop_.post([this] { distribute(); });
}

void BackgroundConsole::distribute() {
  std::vector<std::byte> data;
  bool lost;
  {
    std::lock_guard guard(lock_);
    log_.write(std::span(printed_).subspan(logged_));
    data.swap(printed_);
    logged_ = 0;
    lost = std::exchange(clients_lost_some_, false);
  }
  remember(data);
  for (auto* client : clients_) lost ? client->close() : client->send(data);
}

void BackgroundConsole::remember(std::span<const std::byte> data) {
  recent_.insert(recent_.end(), data.begin(), data.end());
  // Twice the size before it is cut: not every byte shall move all the others.
  if (recent_.size() > 2 * most_recent) recent_.erase(recent_.begin(), recent_.end() - most_recent);
}

void BackgroundConsole::attach(ControlConnection& connection) {
  distribute();
  auto shown = std::span<const std::byte>(recent_);
  if (shown.size() >= most_recent) {
    shown = shown.last(most_recent);
    const auto line = std::ranges::find(shown, std::byte{'\n'});  // not in the middle of one
    if (line != shown.end()) shown = shown.subspan(std::size_t(line - shown.begin()) + 1);
  }
  connection.send(shown);
  clients_.push_back(&connection);
  connection.stream([this](std::span<const std::byte> keys) { return type(keys); },
                    [this, &connection] {
                      distribute();
                      connection.finish();
                    });
}

void BackgroundConsole::detach(const ControlConnection& connection) { std::erase(clients_, &connection); }

std::size_t BackgroundConsole::type(std::span<const std::byte> keys) {
  const auto taken = keyboard_(keys);
  if (taken > 0) retry_ns_ = first_retry_ns;
  if (taken < keys.size()) type_later();
  return taken;
}

// The guest does not say when it has read. It is asked less and less often.
void BackgroundConsole::type_later() {
  if (retrying_) return;
  retrying_ = true;
  retry_ns_ = std::clamp(retry_ns_ * 2, first_retry_ns, longest_retry_ns);
  loop_.at(monotonic_ns() + retry_ns_, [this] { type_again(); });
}

void BackgroundConsole::type_again() {
  retrying_ = false;
  const auto clients = clients_;
  for (auto* client : clients)
    if (client->waiting()) client->offer();
}

void BackgroundConsole::finish() {
  distribute();
  const auto deadline = monotonic_ns() + last_words_ms * 1'000'000LL;
  for (auto* client : clients_) client->drain(int(std::max<std::int64_t>(0, (deadline - monotonic_ns()) / 1'000'000)));
}

void BackgroundConsole::clear_log() {
  std::lock_guard guard(lock_);
  log_.clear();
}

}  // namespace doppel
