#include "device/virtio/block.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace doppel {
namespace {

using Kind = DiskRequest::Kind;

enum : std::uint64_t {  // 5.2.3
  VIRTIO_BLK_F_SEG_MAX = 1 << 2,
  VIRTIO_BLK_F_RO = 1 << 5,
  VIRTIO_BLK_F_BLK_SIZE = 1 << 6,
  VIRTIO_BLK_F_FLUSH = 1 << 9,
  VIRTIO_BLK_F_TOPOLOGY = 1 << 10,
  VIRTIO_BLK_F_MQ = 1 << 12,
  VIRTIO_BLK_F_DISCARD = 1 << 13,
  VIRTIO_BLK_F_WRITE_ZEROES = 1 << 14,
};

enum : std::uint8_t { VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_IOERR = 1, VIRTIO_BLK_S_UNSUPP = 2, pending = 0xff };

constexpr std::uint32_t VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1;

struct Header {  // 5.2.6
  std::uint32_t type, reserved;
  std::uint64_t sector;
};

struct [[gnu::packed]] Config {  // 5.2.4
  std::uint64_t capacity;
  std::uint32_t size_max, seg_max;
  std::uint16_t cylinders;
  std::uint8_t heads, sectors;
  std::uint32_t blk_size;
  std::uint8_t physical_block_exp, alignment_offset;
  std::uint16_t min_io_size;
  std::uint32_t opt_io_size;
  std::uint8_t writeback, unused0;
  std::uint16_t num_queues;
  std::uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
  std::uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
  std::uint8_t write_zeroes_may_unmap, unused1[3];
};
static_assert(sizeof(Config) == 60);

std::vector<std::uint16_t> queue_sizes(unsigned queues) {
  return std::vector<std::uint16_t>(std::clamp(queues, 1u, 32u), VirtioBlock::queue_size);
}

}  // namespace

/// What a request type is: 5.2.6.
struct VirtioBlock::Type {
  enum Class { io, flush, id, segments };
  std::uint32_t type;
  Class what;
  Kind kind;
  bool writes;
  std::uint64_t feature;  // 0: always there
  std::uint32_t allowed_flags, max_segments, max_sectors;
};

const VirtioBlock::Type* VirtioBlock::find_type(std::uint32_t type) {
  static constexpr Type types[] = {
      {0, Type::io, Kind::read, false, 0, 0, 0, 0},
      {1, Type::io, Kind::write, true, 0, 0, 0, 0},
      {4, Type::flush, Kind::flush, false, VIRTIO_BLK_F_FLUSH, 0, 0, 0},
      {8, Type::id, Kind::read, false, 0, 0, 0, 0},
      {11, Type::segments, Kind::discard, true, VIRTIO_BLK_F_DISCARD, 0, max_discard_segments, max_discard_sectors},
      {13, Type::segments, Kind::write_zeroes, true, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
       max_write_zeroes_segments, max_write_zeroes_sectors},
  };
  for (const auto& row : types)
    if (row.type == type) return &row;
  return nullptr;
}

VirtioBlock::VirtioBlock(VirtioHost host, std::unique_ptr<AsyncDisk> disk, std::string serial, unsigned queues)
    : VirtioDevice(std::move(host), 2, "virtio-block", queue_sizes(queues)), disk_(std::move(disk)) {
  std::memcpy(serial_.data(), serial.data(), std::min(serial.size(), serial_.size()));
  Config config{};
  config.capacity = disk_->disk().size() / sector;
  config.seg_max = max_segments;
  config.blk_size = sector;
  config.physical_block_exp = 3;  // 4096 bytes: the unit of the host's page cache
  config.min_io_size = 8;
  config.num_queues = VirtioDevice::queues().size();
  config.max_discard_sectors = max_discard_sectors;
  config.max_discard_seg = max_discard_segments;
  config.discard_sector_alignment = 8;
  config.max_write_zeroes_sectors = max_write_zeroes_sectors;
  config.max_write_zeroes_seg = max_write_zeroes_segments;
  config.write_zeroes_may_unmap = 1;
  std::memcpy(config_.data(), &config, sizeof config);
}

std::uint64_t VirtioBlock::features() const {
  const std::uint64_t always =
      VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_TOPOLOGY | VIRTIO_BLK_F_MQ;
  return always | (disk_->disk().read_only() ? VIRTIO_BLK_F_RO : VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES);
}

bool VirtioBlock::room() const {
  return in_flight_.size() < max_requests_in_flight && bytes_in_flight_ + piece_bytes <= max_bytes_in_flight;
}

void VirtioBlock::process(unsigned queue) {
  Chain chain;
  if (!room() || !restored_.empty()) {
    stalled_ = true;
    return;
  }
  drain(queue, chain, [&](Chain& taken) {
    if (!begin(queue, std::move(taken))) return false;
    if (room()) return true;
    stalled_ = true;
    return false;
  });
  signal(queue);
}

void VirtioBlock::continue_stalled() {
  while (!restored_.empty() && running() && room()) {
    auto [queue, chain] = std::move(restored_.front());
    restored_.pop_front();
    if (usable(queue)) begin(queue, std::move(chain));
    signal(queue);
  }
  if (!stalled_ || !room() || !restored_.empty()) return;
  stalled_ = false;
  const auto first = next_queue_++;
  for (unsigned i = 0; i < queues().size() && running(); i++) notify((first + i) % queues().size());
}

/// Starts a request, or completes it when it is wrong; false when the driver broke the device.
bool VirtioBlock::begin(unsigned queue, Chain&& chain) {
  Header header;
  // 5.2.6.1: without a whole header or a byte for the status there is no way to answer.
  if (chain.writable_bytes == 0 ||
      !read_spans(memory(), chain.readable, 0, std::as_writable_bytes(std::span(&header, 1)))) {
    fail();
    return false;
  }
  auto request = std::make_shared<Request>();
  request->id = next_id_++;
  request->queue = queue;
  request->chain = std::move(chain);
  in_flight_.emplace(request->id, request);
  const auto status = prepare(*request, header.type, header.sector);
  if (status != pending)
    finish(*request, status);
  else if (!submit_next(request))
    finish(*request, VIRTIO_BLK_S_OK);
  return running();
}

/// Checks a request; `pending` if it is to be submitted, otherwise its status.
std::uint8_t VirtioBlock::prepare(Request& request, std::uint32_t type, std::uint64_t sector) {
  const auto* row = find_type(type);
  if (!row || (row->feature && !has(row->feature))) return VIRTIO_BLK_S_UNSUPP;
  if (row->writes && disk_->disk().read_only()) return VIRTIO_BLK_S_IOERR;
  request.kind = row->kind;
  switch (row->what) {
    case Type::id:
      return write_id(request);
    case Type::flush:
      request.length = 1;
      return pending;
    case Type::segments:
      return prepare_segments(request, *row);
    case Type::io:
      break;
  }
  const auto& chain = request.chain;
  return prepare_io(request, sector, row->writes ? chain.readable_bytes - sizeof(Header) : chain.writable_bytes - 1);
}

std::uint8_t VirtioBlock::prepare_io(Request& request, std::uint64_t sector, std::uint64_t length) {
  if (length % VirtioBlock::sector != 0 || !inside(sector, length)) return VIRTIO_BLK_S_IOERR;
  request.offset = sector * VirtioBlock::sector;
  request.length = length;
  return pending;
}

std::uint8_t VirtioBlock::prepare_segments(Request& request, const Type& type) {
  const auto bytes = request.chain.readable_bytes - sizeof(Header);
  const auto count = bytes / sizeof(Segment);
  if (bytes % sizeof(Segment) != 0 || count == 0 || count > type.max_segments) return VIRTIO_BLK_S_IOERR;
  request.segments.resize(count);
  if (!read_spans(memory(), request.chain.readable, sizeof(Header),
                  std::as_writable_bytes(std::span(request.segments))))
    return VIRTIO_BLK_S_IOERR;
  for (const auto& s : request.segments) {
    if (s.flags & ~type.allowed_flags) return VIRTIO_BLK_S_UNSUPP;  // 5.2.6.2
    if (s.num_sectors == 0 || s.num_sectors > type.max_sectors || !inside(s.sector, s.num_sectors * sector))
      return VIRTIO_BLK_S_IOERR;
  }
  request.length = count;
  return pending;
}

std::uint8_t VirtioBlock::write_id(Request& request) {
  const bool fits = request.chain.writable_bytes > serial_.size();
  if (!fits || !write_spans(memory(), request.chain.writable, 0, std::as_bytes(std::span(serial_))))
    return VIRTIO_BLK_S_IOERR;
  request.done = serial_.size();
  return VIRTIO_BLK_S_OK;
}

bool VirtioBlock::inside(std::uint64_t first, std::uint64_t bytes) const {
  const auto capacity = disk_->disk().size() / sector;
  return first <= capacity && bytes / sector <= capacity - first;
}

/// Submits the next piece; false when there is none.
bool VirtioBlock::submit_next(const RequestPtr& request) {
  auto& r = *request;
  if (r.done >= r.length) return false;
  DiskRequest io;
  io.kind = r.kind;
  if (!r.segments.empty()) {
    fill_segment(r, io);
  } else if (r.kind != Kind::flush && !fill_piece(r, io)) {
    finish(r, VIRTIO_BLK_S_IOERR);
    return true;
  }
  submit(request, std::move(io));
  return true;
}

bool VirtioBlock::fill_piece(Request& r, DiskRequest& io) {
  const bool reads = r.kind == Kind::read;
  const auto& spans = reads ? r.chain.writable : r.chain.readable;
  io.offset = r.offset + r.done;
  io.length = std::min(r.length - r.done, piece_bytes);
  bytes_in_flight_ += r.piece = io.length;
  std::vector<GuestSpan> part;
  return slice_spans(spans, r.done + (reads ? 0 : sizeof(Header)), io.length, part) &&
         (reads ? memory().pin(part, r.pinned, io.pieces) : memory().find_bytes(part, io.pieces));
}

void VirtioBlock::end_piece(Request& r) {
  r.pinned.release();
  bytes_in_flight_ -= std::exchange(r.piece, 0);
}

void VirtioBlock::fill_segment(const Request& r, DiskRequest& io) const {
  const auto& segment = r.segments[r.done];
  io.may_unmap = segment.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
  io.offset = segment.sector * sector;
  io.length = segment.num_sectors * sector;
}

void VirtioBlock::submit(const RequestPtr& request, DiskRequest io) {
  // The disk is ours and calls nothing once it is destroyed, so `this` is there.
  io.done = [this, request, kind = io.kind](bool ok) { piece_done(request, kind, ok); };
  disk_->submit(std::move(io));
}

void VirtioBlock::piece_done(const RequestPtr& request, Kind kind, bool ok) {
  auto& r = *request;
  if (r.orphan) return;
  count_piece(r, kind);
  if (!ok) {
    finish(r, VIRTIO_BLK_S_IOERR);
  } else if (!submit_next(request)) {
    // 5.2.6.2: for a driver that cannot flush, a write is complete only when it is durable.
    if (r.kind != Kind::flush && r.kind != Kind::read && kind != Kind::flush && !has(VIRTIO_BLK_F_FLUSH)) {
      DiskRequest flush;
      flush.kind = Kind::flush;
      submit(request, std::move(flush));
    } else {
      finish(r, VIRTIO_BLK_S_OK);
    }
  }
  signal(r.queue);
  continue_stalled();
}

void VirtioBlock::count_piece(Request& r, Kind kind) {
  if (kind == r.kind) r.done += r.piece ? r.piece : 1;  // otherwise it is the flush after a write
  end_piece(r);
}

/// Answers; the interrupt is the caller's. The status is the last byte that the device may write, wherever the driver
/// put it.
void VirtioBlock::finish(Request& r, std::uint8_t status) {
  const auto byte = static_cast<std::byte>(status);
  const bool to_driver = r.kind == Kind::read && status == VIRTIO_BLK_S_OK;
  end_piece(r);
  if (usable(r.queue)) {
    if (!write_spans(memory(), r.chain.writable, r.chain.writable_bytes - 1, {&byte, 1})) fail();
    complete(r.queue, r.chain, static_cast<std::uint32_t>(to_driver ? r.done + 1 : 1));
  }
  in_flight_.erase(r.id);
}

/// Of a request that the disk is no longer at.
void VirtioBlock::orphan(Request& r) {
  r.orphan = true;
  end_piece(r);
}

// An old write must not land on a new one, nor what an old driver reads in the memory of a new one.
void VirtioBlock::cleared() {
  disk_->drain();
  for (auto& [id, request] : in_flight_) orphan(*request);
  in_flight_.clear();
  restored_.clear();
  stalled_ = false;
}

void VirtioBlock::queue_stopped(unsigned queue) {
  disk_->drain();
  for (auto& [id, request] : in_flight_)
    if (request->queue == queue) orphan(*request);
  std::erase_if(in_flight_, [&](const auto& entry) { return entry.second->queue == queue; });
  std::erase_if(restored_, [&](const auto& entry) { return entry.first == queue; });
}

void VirtioBlock::save_state(Writer& out) const {
  out.put<std::uint8_t>(stalled_);
  out.put<std::uint32_t>(in_flight_.size() + restored_.size());
  for (const auto& [id, request] : in_flight_) {
    out.put<std::uint32_t>(request->queue);
    request->chain.save(out);
  }
  for (const auto& [queue, chain] : restored_) {
    out.put<std::uint32_t>(queue);
    chain.save(out);
  }
}

Result<void> VirtioBlock::restore_state(Reader& in) {
  stalled_ = in.get<std::uint8_t>() != 0;
  const auto count = in.get<std::uint32_t>();
  std::vector<unsigned> requests(queues().size());
  for (std::uint32_t i = 0; i < count && in.ok(); i++) {
    const auto queue = in.get<std::uint32_t>();
    Chain chain;
    if (!chain.restore(in, memory()) || queue >= queues().size() || ++requests[queue] > queues()[queue].outstanding())
      return error("the snapshot's record of {} has a request in flight that cannot be", name());
    restored_.emplace_back(queue, std::move(chain));
  }
  return {};
}

void VirtioBlock::resumed() { continue_stalled(); }

}  // namespace doppel
