#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "guest/wasm/id_ranges.h"
#include "guest/wasm/type_structure.h"
#include "guest/wasm/types.h"

namespace doppel::wasm {
namespace {

// What is known of a number. `jump` is a supertype further up, chosen so that any supertype is reached in a logarithmic
// number of steps: as far as twice the jumps of the one above if those are equally long, else just one up.
struct Entry {
  const DefinedType* type = nullptr;
  const TypeGroup* group = nullptr;
  TypeId super = 0, jump = 0;  // of a type without a supertype: itself
  std::uint32_t depth = 0;
};

struct Known {
  const TypeGroup* group = nullptr;
  std::weak_ptr<const TypeGroup> owner;
};

class Registry {
 public:
  std::shared_ptr<const TypeGroup> intern(std::vector<DefinedType> types);
  void release(const TypeGroup& group);

  // Without a lock: who asks holds the group, so its entries were written before the number came to this thread.
  const Entry& entry(TypeId id) const {
    return chunks_[id / chunk_size].load(std::memory_order_acquire)[id % chunk_size];
  }
  TypeId supertype_at(TypeId id, std::uint32_t depth) const;

 private:
  static constexpr std::uint32_t chunk_size = 4096;
  Entry& place(TypeId id);
  std::shared_ptr<const TypeGroup> find(std::uint64_t key, std::span<const DefinedType> types) const;
  std::vector<std::shared_ptr<const TypeGroup>> named_by(std::vector<DefinedType>& types) const;
  void number(TypeGroup& group);
  void enter(const TypeGroup& group);

  std::mutex mutex_;  // of all but reading entries
  std::array<std::atomic<Entry*>, (most_types + chunk_size - 1) / chunk_size> chunks_{};
  IdRanges free_{most_types};
  std::unordered_multimap<std::uint64_t, Known> groups_;  // by fingerprint
};

// Never destroyed, since groups may live as long as anything.
Registry& registry() {
  static auto* const made = new Registry;
  return *made;
}

std::shared_ptr<const TypeGroup> Registry::intern(std::vector<DefinedType> types) {
  if (types.empty()) return std::make_shared<const TypeGroup>();
  const std::uint64_t key = fingerprint(types, {});
  const std::lock_guard lock(mutex_);
  if (auto found = find(key, types)) return found;
  if (types.size() > most_types) return nullptr;
  const auto first = free_.take(std::uint32_t(types.size()));
  if (!first) return nullptr;
  const auto group = std::make_shared<TypeGroup>();
  group->first = *first;
  group->named = named_by(types);
  group->types = std::move(types);
  number(*group);
  enter(*group);
  groups_.emplace(key, Known{group.get(), group});
  return group;
}

// A group that is found but has no owner any more waits in its destructor for the lock. No owner may come and go here:
// were it the last, it would wait for the lock that it has.
std::shared_ptr<const TypeGroup> Registry::find(std::uint64_t key, std::span<const DefinedType> types) const {
  for (auto [at, end] = groups_.equal_range(key); at != end; ++at) {
    if (!is_same_group(*at->second.group, types)) continue;
    if (auto group = at->second.owner.lock()) return group;
  }
  return nullptr;
}

std::vector<std::shared_ptr<const TypeGroup>> Registry::named_by(std::vector<DefinedType>& types) const {
  std::vector<const TypeGroup*> groups;
  for (DefinedType& type : types)
    change_heap_types(type, [&](HeapType heap) {
      if (heap.is_defined()) groups.push_back(entry(heap.id()).group);
      return heap;
    });
  std::ranges::sort(groups);
  groups.erase(std::ranges::unique(groups).begin(), groups.end());
  std::vector<std::shared_ptr<const TypeGroup>> held;
  held.reserve(groups.size());
  for (const TypeGroup* group : groups) held.push_back(group->shared_from_this());
  return held;
}

void Registry::number(TypeGroup& group) {
  for (DefinedType& type : group.types)
    change_heap_types(type, [&](HeapType heap) {
      return heap.is_of_group() ? HeapType::defined(group.first + heap.place_in_group()) : heap;
    });
}

void Registry::enter(const TypeGroup& group) {
  for (std::uint32_t n = 0; n < group.types.size(); n++) {
    const TypeId id = group.first + n;
    Entry made{.type = &group.types[n], .group = &group, .super = id, .jump = id};
    if (const auto super = group.types[n].super) {
      made.super = super->id();
      const Entry &above = entry(made.super), &further = entry(above.jump);
      const bool even = above.depth - further.depth == further.depth - entry(further.jump).depth;
      made.jump = even ? further.jump : made.super;
      made.depth = above.depth + 1;
    }
    place(id) = made;
  }
}

Entry& Registry::place(TypeId id) {
  std::atomic<Entry*>& chunk = chunks_[id / chunk_size];
  if (chunk.load(std::memory_order_relaxed) == nullptr) chunk.store(new Entry[chunk_size], std::memory_order_release);
  return chunk.load(std::memory_order_relaxed)[id % chunk_size];
}

void Registry::release(const TypeGroup& group) {
  const OwnTypes own{group.first, std::uint32_t(group.types.size())};
  const std::uint64_t key = fingerprint(group.types, own);
  const std::lock_guard lock(mutex_);
  const auto [begin, end] = groups_.equal_range(key);
  const auto at = std::find_if(begin, end, [&](const auto& known) { return known.second.group == &group; });
  if (at == end) return;
  groups_.erase(at);
  free_.give(own.first, own.size);
}

TypeId Registry::supertype_at(TypeId id, std::uint32_t depth) const {
  for (const Entry* at = &entry(id); at->depth > depth; at = &entry(id))
    id = entry(at->jump).depth >= depth ? at->jump : at->super;
  return id;
}

}  // namespace

// Groups that only this one holds go one after the other, not one inside the other: a module may have a million of them
// in a row.
TypeGroup::~TypeGroup() {
  if (types.empty()) return;
  registry().release(*this);
  thread_local std::vector<std::shared_ptr<const TypeGroup>>* leaving = nullptr;
  if (leaving != nullptr) {
    std::ranges::move(named, std::back_inserter(*leaving));
    return;
  }
  std::vector<std::shared_ptr<const TypeGroup>> queue = std::move(named);
  leaving = &queue;
  while (!queue.empty()) {
    const auto next = std::move(queue.back());
    queue.pop_back();
  }
  leaving = nullptr;
}

namespace type_registry {

std::shared_ptr<const TypeGroup> intern(std::vector<DefinedType> types) { return registry().intern(std::move(types)); }
const DefinedType& type(TypeId id) { return *registry().entry(id).type; }
std::uint32_t depth(TypeId id) { return registry().entry(id).depth; }

}  // namespace type_registry

bool is_subtype(TypeId sub, TypeId super) {
  return sub == super || registry().supertype_at(sub, registry().entry(super).depth) == super;
}

}  // namespace doppel::wasm
