#include "snapshot/snapshot.h"

#include <algorithm>

namespace doppel {
namespace {

alignas(page_size) constexpr std::byte zero_page[page_size] = {};

class SpaceSource final : public PageSource {
 public:
  SpaceSource(std::shared_ptr<ResidentPacks> packs, std::vector<PageRun> runs, std::uint64_t pages)
      : packs_(std::move(packs)), runs_(std::move(runs)), pages_(pages) {}

  std::uint64_t pages() const override { return pages_; }
  bool holds(std::uint64_t page) const override {
    const auto run = ending_after(page);
    return run != runs_.end() && run->page <= page;
  }
  std::uint64_t next(std::uint64_t page) const override {
    const auto run = ending_after(page);
    return run == runs_.end() ? pages_ : std::max<std::uint64_t>(page, run->page);
  }
  const std::byte* bring(std::uint64_t page) override {
    const auto run = ending_after(page);
    if (run == runs_.end() || run->page > page) return zero_page;
    if (run->pack == PageRun::zeros) return zero_page;
    return packs_->bring(run->pack, run->at + std::uint32_t(page - run->page));
  }
  std::string failure() const override { return packs_->failure(); }

 private:
  /// The first run that ends behind the page.
  std::vector<PageRun>::const_iterator ending_after(std::uint64_t page) const {
    return std::ranges::upper_bound(runs_, page, {}, &PageRun::end);
  }

  const std::shared_ptr<ResidentPacks> packs_;
  const std::vector<PageRun> runs_;
  const std::uint64_t pages_;
};

}  // namespace

Result<std::unique_ptr<Snapshot>> Snapshot::create(Manifest manifest, std::vector<Pack> packs) {
  for (const auto& space : manifest.spaces)
    for (const auto& run : space.runs)
      if (run.pack != PageRun::zeros && !packs[run.pack].holds(run.at + run.count - 1))
        return packs[run.pack].damaged();
  std::unique_ptr<Snapshot> out(new Snapshot);
  out->made_s_ = manifest.made_s;
  out->description_ = std::move(manifest.description);
  out->state_ = std::move(manifest.state);
  out->packs_ = std::make_shared<ResidentPacks>(std::move(packs));
  for (auto& space : manifest.spaces) {
    const auto held = space.held(), pages = space.pages();
    out->spaces_.push_back({.name = std::move(space.name),
                            .base = space.base,
                            .bytes = space.bytes,
                            .held = held,
                            .hot = std::move(space.hot),
                            .source = std::make_shared<SpaceSource>(out->packs_, std::move(space.runs), pages)});
  }
  return out;
}

const Snapshot::Space* Snapshot::find(std::string_view name) const {
  const auto found = std::ranges::find(spaces_, name, &Space::name);
  return found == spaces_.end() ? nullptr : &*found;
}

std::shared_ptr<PageSource> Snapshot::space(std::string_view name) const {
  const auto* found = find(name);
  return found ? found->source : nullptr;
}

std::uint64_t Snapshot::prefetch(std::stop_token stop) const {
  std::uint64_t count = 0;
  for (const auto& space : spaces_)
    for (const auto page : space.hot) {
      if (stop.stop_requested()) return count;
      if (space.source->holds(page) && !space.source->bring(page)) return count;
      count++;
    }
  return count;
}

}  // namespace doppel
