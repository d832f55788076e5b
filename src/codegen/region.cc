#include "codegen/region.h"

#include <cstring>
#include <type_traits>

namespace doppel {
namespace {

class Writer {
 public:
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void add(const T& value) {
    append(&value, sizeof value);
  }
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void add(const std::vector<T>& list) {
    add(std::uint32_t(list.size()));
    append(list.data(), list.size() * sizeof(T));
  }
  std::vector<std::byte> bytes;

 private:
  void append(const void* data, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(data);
    bytes.insert(bytes.end(), begin, begin + size);
  }
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void get(T& value) {
    copy(&value, sizeof value);
  }
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void get(std::vector<T>& list) {
    std::uint32_t count = 0;
    get(count);
    if (count > rest_.size() / sizeof(T)) good_ = false;
    list.resize(good_ ? count : 0);
    copy(list.data(), list.size() * sizeof(T));
  }
  bool good() const { return good_; }
  bool done() const { return good_ && rest_.empty(); }

 private:
  void copy(void* to, std::size_t size) {
    good_ &= size <= rest_.size();
    if (!good_ || size == 0) return;
    std::memcpy(to, rest_.data(), size);
    rest_ = rest_.subspan(size);
  }
  std::span<const std::byte> rest_;
  bool good_ = true;
};

}  // namespace

std::vector<std::byte> to_bytes(const RegionRequest& request) {
  Writer w;
  w.add(request.id);
  w.add(request.layout);
  w.add(std::uint32_t(request.blocks.size()));
  for (const auto& block : request.blocks) {
    w.add(block.begin);
    w.add(block.end);
    w.add(block.guest_count);
    w.add(block.instructions);
  }
  return std::move(w.bytes);
}

std::optional<RegionRequest> request_from(std::span<const std::byte> bytes) {
  Reader r(bytes);
  RegionRequest request;
  std::uint32_t count = 0;
  r.get(request.id);
  r.get(request.layout);
  r.get(count);
  while (r.good() && count-- > 0) {
    auto& block = request.blocks.emplace_back();
    r.get(block.begin);
    r.get(block.end);
    r.get(block.guest_count);
    r.get(block.instructions);
  }
  if (!r.done() || request.blocks.empty()) return std::nullopt;
  return request;
}

std::vector<std::byte> to_bytes(const RegionObject& object) {
  Writer w;
  w.add(object.id);
  w.add(object.text);
  w.add(object.jumps);
  w.add(object.exits);
  return std::move(w.bytes);
}

std::optional<RegionObject> object_from(std::span<const std::byte> bytes) {
  Reader r(bytes);
  RegionObject object;
  r.get(object.id);
  r.get(object.text);
  r.get(object.jumps);
  r.get(object.exits);
  if (!r.done()) return std::nullopt;
  for (const auto& jump : object.jumps)
    if (jump.displacement + 4 > object.text.size() || jump.exit >= object.exits.size()) return std::nullopt;
  return object;
}

}  // namespace doppel
