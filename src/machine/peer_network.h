#pragma once
#include <deque>
#include <memory>
#include <vector>

#include "machine/input.h"
#include "network/network.h"

namespace doppel {

/// A cable to an EchoPeer inside this process. Its answers take a fixed guest time, so that by the instruction clock
/// a run with it is repeatable, and what is on its way is part of a captured machine.
class PeerNetwork final : public Network {
 public:
  static constexpr std::int64_t latency_ns = 50'000;
  /// Answers on their way, in bytes of frames; more are lost, as on a real cable.
  static constexpr std::size_t max_bytes = 1 << 20;

  explicit PeerNetwork(Input& input) : input_(input) {}
  ~PeerNetwork() override { cancel_timer(); }
  void send(std::span<const std::byte> frame) override;
  void set_receiver(Receiver receiver) override;
  void resume() override;
  std::string_view kind() const override { return "network to a peer"; }
  void save(Writer& out) const override;
  Result<void> restore(Reader& in) override;

 private:
  struct Answer {
    std::int64_t due_ns;  // guest time
    std::vector<std::byte> frame;
  };
  void deliver_due();
  void set_timer();
  void cancel_timer();
  void forget_answers();
  bool restore_answers(Reader& in);

  Input& input_;
  Receiver receiver_;
  std::deque<Answer> answers_;  // the first one is due first
  std::size_t bytes_ = 0;
  bool full_ = false;        // the receiver has no room, and will call resume()
  std::uint64_t timer_ = 0;  // for the first answer, unless full_; 0 is none
};

}  // namespace doppel
