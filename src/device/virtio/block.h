#pragma once
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device/virtio/device.h"
#include "storage/async_disk.h"

namespace doppel {

/// The block device (Virtio 1.2, 5.2) over an AsyncDisk. The disk reads and writes guest memory, which a read pins. A
/// large request is done piece by piece, and when the bytes in flight reach a limit the rest waits in the driver's
/// queues, so that a reset, which waits for the disk, does not take long.
class VirtioBlock : public VirtioDevice {
 public:
  static constexpr std::uint64_t sector = 512;
  static constexpr std::uint16_t queue_size = 256;
  static constexpr std::uint64_t piece_bytes = 1 << 20;  // the most in one request to the disk
  static constexpr std::uint64_t max_bytes_in_flight = 16 << 20;
  static constexpr unsigned max_requests_in_flight = 1024;  // over all queues
  static constexpr std::uint32_t max_segments = 254;        // a full direct chain has a header and a status too
  static constexpr std::uint32_t max_discard_sectors = 1 << 22, max_discard_segments = 16;
  static constexpr std::uint32_t max_write_zeroes_sectors = 1 << 18, max_write_zeroes_segments = 4;

  /// `serial` is what VIRTIO_BLK_T_GET_ID gives, cut to 20 bytes; `queues` from 1 to 32.
  VirtioBlock(VirtioHost host, std::unique_ptr<AsyncDisk> disk, std::string serial, unsigned queues);

  std::span<const std::byte> config() const override { return config_; }
  /// Requests that have begun and are not complete.
  std::size_t in_flight() const { return in_flight_.size(); }
  std::uint64_t bytes_in_flight() const { return bytes_in_flight_; }

 protected:
  std::uint64_t features() const override;
  void cleared() override;
  void process(unsigned queue) override;
  void queue_stopped(unsigned queue) override;
  void save_state(Writer& out) const override;
  Result<void> restore_state(Reader& in) override;
  void resumed() override;

 private:
  struct Segment {  // 5.2.6: struct virtio_blk_discard_write_zeroes
    std::uint64_t sector;
    std::uint32_t num_sectors, flags;
  };
  struct Request {
    std::uint64_t id = 0;
    unsigned queue = 0;
    Chain chain;
    DiskRequest::Kind kind = DiskRequest::Kind::read;
    std::uint64_t offset = 0, length = 0, done = 0;  // bytes; for segments `done` counts segments
    std::vector<Segment> segments;
    std::uint64_t piece = 0;  // bytes that the disk is transferring
    DiskDue due;              // of what it is doing
    bool due_restored = false;
    PinnedSpans pinned;   // where to, of a read
    bool orphan = false;  // its driver is gone
  };
  using RequestPtr = std::shared_ptr<Request>;
  /// Saved as in flight, and not begun again yet.
  struct Restored {
    unsigned queue = 0;
    Chain chain;
    std::uint64_t done = 0;
    DiskDue due;
  };
  struct Type;

  static const Type* find_type(std::uint32_t type);
  bool room() const;
  bool begin(unsigned queue, Chain&& chain, const Restored* before = nullptr);
  void begin_restored();
  void go_on(const RequestPtr& request);
  std::uint8_t prepare(Request& request, std::uint32_t type, std::uint64_t sector);
  std::uint8_t prepare_io(Request& request, std::uint64_t sector, std::uint64_t length);
  std::uint8_t prepare_segments(Request& request, const Type& type);
  std::uint8_t write_id(Request& request);
  bool inside(std::uint64_t sector, std::uint64_t bytes) const;
  bool submit_next(const RequestPtr& request);
  void measure_piece(Request& request, DiskRequest& io);
  bool locate(Request& request, DiskRequest& io);
  void end_piece(Request& request);
  void fill_segment(const Request& request, DiskRequest& io) const;
  void submit(const RequestPtr& request, DiskRequest io);
  static void save_request(Writer& out, unsigned queue, const Chain& chain, std::uint64_t done, DiskDue due);
  void piece_done(const RequestPtr& request, DiskRequest::Kind kind, bool ok);
  void count_piece(Request& request, DiskRequest::Kind kind);
  void finish(Request& request, std::uint8_t status);
  void orphan(Request& request);
  void continue_stalled();

  std::unique_ptr<AsyncDisk> disk_;
  std::array<char, 20> serial_{};
  std::array<std::byte, 60> config_{};
  // The state: requests in flight, in the order in which they began. Their data is not state: what the disk had not
  // done of them is done again.
  std::map<std::uint64_t, RequestPtr> in_flight_;
  std::deque<Restored> restored_;
  std::uint64_t next_id_ = 0;
  unsigned next_queue_ = 0;  // where continue_stalled() begins, so that no queue starves
  std::uint64_t bytes_in_flight_ = 0;
  bool stalled_ = false;  // something waits in a queue for room
};

}  // namespace doppel
