// The engine and its code store: what both generators make as objects and back.
#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <type_traits>

#include "engine/code_identity.h"
#include "engine/engine.h"
#include "memory/racing_copy.h"

namespace doppel {
namespace {

constexpr std::uint32_t separate_link = 1;  // CodeLink::flags: fast::LinkSite::separate

/// A page as the engine copied it, with the two bytes behind it where an instruction reaches into them.
class CopiedPages final : public SourcePages {
 public:
  explicit CopiedPages(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> page(std::int32_t number) override {
    const auto first = bytes_.first(std::min<std::size_t>(bytes_.size(), page_size));
    return number == 0 ? first : number == 1 ? bytes_.subspan(first.size()) : std::span<const std::byte>();
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

/// Links as objects have them, whose targets count from the begin of the entry's page, and as generators have them.
void put_links(std::span<const fast::LinkSite> links, CodeObject& object) {
  object.links.clear();
  for (const auto& link : links)
    object.links.push_back({.displacement = link.displacement,
                            .stub = link.stub,
                            .stub_return = link.stub_return,
                            .target = std::int32_t(std::int64_t(link.page) * std::int64_t(page_size) + link.target),
                            .flags = link.separate ? separate_link : 0});
}
void take_links(const CodeObject& object, std::vector<fast::LinkSite>& links) {
  links.clear();
  for (const auto& link : object.links)
    links.push_back({.displacement = link.displacement,
                     .stub = link.stub,
                     .stub_return = link.stub_return,
                     .target = std::uint16_t(std::uint32_t(link.target) & page_mask),
                     .separate = (link.flags & separate_link) != 0,
                     .page = link.target >> page_shift});
}

/// What is kept of a path besides.
struct StoredPath {
  optimizing::PathSites sites;
  std::uint32_t goes_round = 0;

  /// False where the object's words do not lie in its code, or its jumps go to pages that it has nothing of.
  bool read(const CodeObject& object) {
    if (object.extra.size() != sizeof *this || object.guest_count == 0 || object.guest_count > riscv64::longest_path)
      return false;
    std::memcpy(this, object.extra.data(), sizeof *this);
    for (const auto site : {sites.view, sites.page, sites.number, sites.entry_count, sites.fallback})
      if (object.code.size() < sizeof site || site > object.code.size() - sizeof site) return false;
    return std::ranges::all_of(object.links, [&](const CodeLink& link) {
      return std::ranges::find(object.ranges, link.target >> page_shift, &SourceRange::page) != object.ranges.end();
    });
  }
};

/// The pages around where a hart is, as it would fetch from them; copied, for other harts may write there.
class MappedPages final : public SourcePages {
 public:
  MappedPages(riscv64::Hart& hart, GuestMemory& memory) : hart_(hart), memory_(memory) {}
  std::span<const std::byte> page(std::int32_t number) override {
    if (const auto* known = find(number)) return known->bytes;
    const auto physical =
        hart_.page_fetched_from(hart_.state().pc + (std::uint64_t(std::int64_t(number)) << page_shift));
    auto& page = pages_.emplace_back(Page{.number = number, .physical = physical, .bytes = {}});
    if (physical == 0) return page.bytes;
    page.bytes.resize(page_size);
    racing_copy(page.bytes.data(), memory_.page_for_read(physical), page_size);
    return page.bytes;
  }
  std::uint64_t physical(std::int32_t number) const { return find(number)->physical; }

 private:
  struct Page {
    std::int32_t number;
    std::uint64_t physical;
    std::vector<std::byte> bytes;
  };
  const Page* find(std::int32_t number) const {
    const auto found = std::ranges::find(pages_, number, &Page::number);
    return found == pages_.end() ? nullptr : &*found;
  }

  riscv64::Hart& hart_;
  GuestMemory& memory_;
  std::deque<Page> pages_;
};

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

bool Engine::may_be_stored(const Key& key) {
  if (!store_) return false;
  const auto entry = std::uint16_t(key.physical & page_mask);
  const auto length = std::min<std::size_t>(longest_source, page_size - entry);
  std::array<std::byte, page_size> part;
  racing_copy(part.data() + entry, memory_.page_for_read(key.first_page()) + entry, length);
  CopiedPages page(std::span(part).first(entry + length));
  return store_->may_have({.kind = CodeKind::block, .mode = key.mode.key(), .entry = entry}, page);
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
  std::swap(generated_.bytes, object_.code);
  take_links(object_, generated_.links);
  if (std::ranges::any_of(generated_.links, [](const auto& link) { return link.page != 0; })) return false;
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
  put_links(generated_.links, object_);
  object_.extra.clear();
  store_->add(object_);
}

void Engine::store_path(const Key& key, const PathSource& source) {
  object_.key = {.kind = CodeKind::path, .mode = key.mode.key(), .entry = std::uint16_t(key.physical & page_mask)};
  object_.guest_count = source.guest_count;
  object_.ranges.clear();
  object_.source.clear();
  for (const auto& part : source.parts) {
    object_.ranges.push_back({.page = part.page, .offset = part.offset, .length = std::uint16_t(part.source.size())});
    object_.source.insert(object_.source.end(), part.source.begin(), part.source.end());
  }
  object_.code = path_code_.code.bytes;
  put_links(path_code_.code.links, object_);
  const StoredPath rest{.sites = path_code_.sites, .goes_round = source.goes_round};
  const auto bytes = std::as_bytes(std::span(&rest, 1));
  object_.extra.assign(bytes.begin(), bytes.end());
  store_->add(object_);
}

/// Whether the store had a path for where the hart is, which begins there now.
bool Engine::load_path(Hart& hart, const Key& key) {
  MappedPages pages(hart, memory_);
  CodeObject object;
  const CodeKey wanted{
      .kind = CodeKind::path, .mode = key.mode.key(), .entry = std::uint16_t(key.physical & page_mask)};
  StoredPath rest;
  if (!store_->find(wanted, pages, object) || !rest.read(object)) return false;
  PathSource source{
      .address = hart.state().pc, .guest_count = object.guest_count, .goes_round = rest.goes_round != 0, .parts = {}};
  std::span<const std::byte> left = object.source;
  for (const auto& range : object.ranges) {
    const auto bytes = left.first(range.length);
    left = left.subspan(range.length);
    source.parts.push_back({.physical = pages.physical(range.page),
                            .page = range.page,
                            .offset = range.offset,
                            .source = {bytes.begin(), bytes.end()}});
    mark_page(hart, source.parts.back().physical);
  }
  std::lock_guard guard(lock_);
  // Marked by now: what was found may have been written to before.
  if (!holds(source.parts)) return false;
  ir_.instructions.clear();
  path_code_.sites = rest.sites;
  path_code_.code.bytes = std::move(object.code);
  take_links(object, path_code_.code.links);
  return install(key, source);
}

}  // namespace doppel
