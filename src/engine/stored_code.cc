// The engine and its code store: blocks of the fast generator as objects and back.
#include <type_traits>

#include "engine/code_identity.h"
#include "engine/engine.h"

namespace doppel {
namespace {

constexpr std::uint32_t separate_link = 1;  // CodeLink::flags of a block: fast::LinkSite::separate

/// A page as the engine copied it, with the two bytes behind it where an instruction reaches into them.
class CopiedPages final : public SourcePages {
 public:
  explicit CopiedPages(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> page(std::int32_t number) override {
    if (number == 0) return bytes_.first(page_size);
    return number == 1 ? bytes_.subspan(page_size) : std::span<const std::byte>();
  }

 private:
  std::span<const std::byte> bytes_;
};

/// Where the bytes are that a block was made from: in the page, and behind it the half of an instruction that lies on
/// two. A block that ends in front of the page's last two bytes may do so because of what is in them, so that they
/// belong to it: with others it could be longer, and in exact blocks that shows.
void set_ranges(CodeObject& object, std::uint16_t begin, std::uint16_t end) {
  constexpr std::uint16_t last = page_size - 2;
  const auto inside = std::uint16_t(std::min<unsigned>(end, page_size) - begin);
  object.ranges.assign(1, {.page = 0, .offset = begin, .length = inside});
  if (end > page_size) object.ranges.push_back({.page = 1, .offset = 0, .length = std::uint16_t(end - page_size)});
  if (end == last) object.ranges.push_back({.page = 0, .offset = last, .length = 2});
}

/// The reverse: where the block ends.
std::uint16_t end_of(const CodeObject& object) {
  auto end = object.key.entry + object.ranges[0].length;
  if (object.ranges.size() > 1 && object.ranges[1].page == 1) end += object.ranges[1].length;
  return std::uint16_t(end);
}

}  // namespace

Result<void> Engine::open_store(const CodeStoreOptions& options) {
  if (options.folder.empty()) return {};
  const auto& layout = generator_->layout();
  static_assert(std::has_unique_object_representations_v<GuestLayout>, "all of its bytes are values");
  auto store = CodeStore::open(options, code_identity(std::as_bytes(std::span(&layout, 1))));
  if (store) {
    store_ = std::move(*store);
  } else {
    if (options.must) return store.failure();
    store_problem_ = store.message();
  }
  return {};
}

void Engine::start_store() {
  if (store_) store_->start();
}

void Engine::close_store() {
  if (store_) store_->close();
}

std::optional<CodeStoreCounters> Engine::store_counters() const {
  if (store_) return store_->counters();
  if (store_problem_.empty()) return std::nullopt;
  return CodeStoreCounters{.problem = store_problem_};
}

bool Engine::find_stored(const Key& key, std::span<const std::byte> bytes) {
  const auto entry = std::uint16_t(key.physical & page_mask);
  CopiedPages pages(bytes);
  if (!store_->find({.kind = CodeKind::block, .mode = key.mode.key(), .entry = entry}, pages, object_)) return false;
  if (object_.guest_count == 0 || object_.guest_count > riscv64::longest_translation) return false;
  ir_.instructions.clear();  // what it was made of nobody knows any more
  ir_.begin = entry;
  ir_.end = end_of(object_);
  ir_.guest_count = object_.guest_count;
  generated_.bytes = object_.code;
  generated_.links.clear();
  for (const auto& link : object_.links)
    generated_.links.push_back({.displacement = link.displacement,
                                .stub = link.stub,
                                .stub_return = link.stub_return,
                                .target = std::uint16_t(link.target),
                                .separate = (link.flags & separate_link) != 0});
  return true;
}

void Engine::store(const Key& key, std::span<const std::byte> bytes) {
  object_.key = {.kind = CodeKind::block, .mode = key.mode.key(), .entry = ir_.begin};
  object_.guest_count = ir_.guest_count;
  set_ranges(object_, ir_.begin, ir_.end);
  object_.source.clear();
  for (const auto& range : object_.ranges) {
    const auto part = bytes.subspan(range.page * page_size + range.offset, range.length);
    object_.source.insert(object_.source.end(), part.begin(), part.end());
  }
  object_.code = generated_.bytes;
  object_.links.clear();
  for (const auto& link : generated_.links)
    object_.links.push_back({.displacement = link.displacement,
                             .stub = link.stub,
                             .stub_return = link.stub_return,
                             .target = link.target,
                             .flags = link.separate ? separate_link : 0});
  object_.extra.clear();
  store_->add(object_);
}

}  // namespace doppel
