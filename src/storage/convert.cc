#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "storage/disk.h"
#include "storage/image_file.h"
#include "storage/qcow2_format.h"
#include "storage/qcow2_writer.h"
#include "storage/sparse.h"

namespace doppel {
namespace {

constexpr std::uint64_t chunk_size = 2 << 20;

bool all_zero(std::span<const std::byte> data) {
  // Comparing a range with itself one byte on is memcmp's speed for "all bytes are the first one".
  return data.empty() || (data[0] == std::byte{0} && std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0);
}

/// Copies what is not zero of a disk, in pieces of `grain` bytes.
class SparseCopy {
 public:
  using Progress = std::function<void(std::uint64_t, std::uint64_t)>;
  using Put = std::function<Result<void>(std::uint64_t, std::span<const std::byte>)>;
  SparseCopy(Disk& from, std::uint64_t grain, const Progress& progress)
      : from_(from), grain_(grain), progress_(progress), buffer_(chunk_size) {}

  Result<void> run(const Put& put) {
    for (std::uint64_t at = 0; at < from_.size();) {
      const std::uint64_t empty = zeros_at(from_, at, from_.size() - at);
      const std::uint64_t rest = from_.size() - at;
      if (empty == rest || empty >= grain_) {
        at += empty == rest ? rest : empty / grain_ * grain_;
      } else {
        const auto chunk = std::span(buffer_).first(std::min(chunk_size, rest));
        if (auto got = from_.read(at, chunk); !got) return got;
        if (auto copied = copy_chunk(at, chunk, put); !copied) return copied;
        at += chunk.size();
      }
      if (progress_) progress_(at, from_.size());
    }
    return {};
  }

 private:
  Result<void> copy_chunk(std::uint64_t at, std::span<const std::byte> chunk, const Put& put) const {
    while (!chunk.empty()) {
      const auto piece = chunk.first(std::min<std::uint64_t>(grain_, chunk.size()));
      if (!all_zero(piece)) {
        if (auto done = put(at, piece); !done) return done;
      }
      at += piece.size();
      chunk = chunk.subspan(piece.size());
    }
    return {};
  }

  Disk& from_;
  std::uint64_t grain_;
  const Progress& progress_;
  std::vector<std::byte> buffer_;
};

Result<void> write_raw(Disk& from, ImageFile& to, const SparseCopy::Progress& progress) {
  if (ftruncate(to.fd(), static_cast<off_t>(from.size())) != 0) {
    return error("cannot make {} {} bytes long: {}", to.path(), from.size(), std::strerror(errno));
  }
  return SparseCopy(from, 16 << 10, progress).run([&](std::uint64_t at, std::span<const std::byte> piece) {
    return to.write(at, piece);
  });
}

Result<void> write_qcow2(Disk& from, ImageFile& to, const SparseCopy::Progress& progress) {
  constexpr std::uint64_t limit = (qcow2::max_l1_bytes / 8) << (2 * Qcow2Writer::cluster_bits - 3);
  if (from.size() > limit) return error("a disk of {} bytes is too large for qcow2", from.size());
  Qcow2Writer writer(to, from.size());
  auto copied =
      SparseCopy(from, Qcow2Writer::cluster_size, progress)
          .run([&](std::uint64_t at, std::span<const std::byte> piece) { return writer.write_cluster(at, piece); });
  return copied ? writer.finish() : copied;
}

}  // namespace

Result<void> convert_disk(const DiskSpec& from, const std::string& to, const std::string& format,
                          const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  if (format != "raw" && format != "qcow2") return error("{} is not a format to convert to (raw or qcow2)", format);
  if (access(to.c_str(), F_OK) == 0) return error("{} exists already; remove it or choose another name", to);
  DiskSpec source = from;
  source.read_only = true;
  auto disk = open_disk(source);
  if (!disk) return disk.failure();
  auto file = create_unfinished(to, 0666);
  if (!file) return file.failure();
  auto written = (format == "raw" ? write_raw : write_qcow2)(**disk, **file, progress);
  if (written) written = finish(**file, to);
  if (!written) unlink((*file)->path().c_str());
  return written;
}

}  // namespace doppel
