#include "machine/peer_network.h"

#include "network/echo_peer.h"

namespace doppel {
namespace {

constexpr std::size_t max_frame = 65550;

}  // namespace

void PeerNetwork::send(std::span<const std::byte> frame) {
  auto answer = EchoPeer::answer(frame);
  if (answer.empty() || bytes_ + answer.size() > max_bytes) return;
  bytes_ += answer.size();
  answers_.push_back({input_.now_ns() + latency_ns, std::move(answer)});
  set_timer();
}

void PeerNetwork::set_receiver(Receiver receiver) {
  receiver_ = std::move(receiver);
  forget_answers();
}

void PeerNetwork::resume() {
  full_ = false;
  deliver_due();
}

void PeerNetwork::deliver_due() {
  while (!full_ && !answers_.empty() && answers_.front().due_ns <= input_.now_ns()) {
    // Out of the queue first: the receiver may call resume() or send().
    auto answer = std::move(answers_.front());
    answers_.pop_front();
    bytes_ -= answer.frame.size();
    if (!receiver_ || receiver_(answer.frame)) continue;
    full_ = true;
    bytes_ += answer.frame.size();
    answers_.push_front(std::move(answer));
  }
  set_timer();
}

void PeerNetwork::set_timer() {
  if (timer_ != 0 || full_ || answers_.empty()) return;
  timer_ = input_.at(answers_.front().due_ns, [this] {
    timer_ = 0;
    deliver_due();
  });
}

void PeerNetwork::cancel_timer() {
  if (timer_ != 0) input_.cancel(std::exchange(timer_, 0));
}

void PeerNetwork::forget_answers() {
  cancel_timer();
  answers_.clear();
  bytes_ = 0;
  full_ = false;
}

void PeerNetwork::save(Writer& out) const {
  out.put<std::uint8_t>(full_);
  out.put<std::uint32_t>(std::uint32_t(answers_.size()));
  for (const auto& answer : answers_) {
    out.put(answer.due_ns);
    out.blob(answer.frame);
  }
}

bool PeerNetwork::restore_answers(Reader& in) {
  full_ = in.get<std::uint8_t>() != 0;
  std::int64_t before = 0;
  for (auto count = in.get<std::uint32_t>(); in.ok() && count > 0; count--) {
    Answer answer{.due_ns = in.get<std::int64_t>(), .frame = in.blob(max_frame)};
    bytes_ += answer.frame.size();
    // None is due later than one that is sent now would be.
    const bool in_time = answer.due_ns >= before && answer.due_ns <= input_.now_ns() + latency_ns;
    if (!in.ok() || !in_time || answer.frame.empty() || bytes_ > max_bytes) return false;
    before = answer.due_ns;
    answers_.push_back(std::move(answer));
  }
  return in.ok() && full_ <= !answers_.empty();
}

Result<void> PeerNetwork::restore(Reader& in) {
  forget_answers();
  if (!restore_answers(in)) {
    forget_answers();
    return error("the saved machine's frames on their way to it are damaged");
  }
  set_timer();
  return {};
}

}  // namespace doppel
