#include "guest/wasm/module_names.h"

#include <algorithm>
#include <utility>

#include "guest/wasm/byte_reader.h"

namespace doppel::wasm {
namespace {

constexpr std::string_view section_name = "name";

constexpr bool has_owners(NameKind kind) {
  return kind == NameKind::local || kind == NameKind::label || kind == NameKind::field;
}

// Calls `found(index, text)` for each name of a name map, until it says that this was enough.
template <typename Found>
void read_names(ByteReader& in, const Found& found) {
  for (std::uint32_t left = in.u32(); left > 0 && !in.failed(); left--) {
    const std::uint32_t index = in.u32();
    const std::string_view text = in.name();
    if (!in.failed() && found(index, text)) return;
  }
}

template <typename List>
auto at_index(const List& list, std::uint32_t index) {
  const auto at = std::ranges::lower_bound(list, index, {}, [](const auto& entry) { return entry.index; });
  return at != list.end() && at->index == index ? at : list.end();
}

template <typename List>
void order(List& list) {
  std::ranges::sort(list, {}, [](const auto& entry) { return entry.index; });
}

}  // namespace

// Goes over one part of the section.
class ModuleNames::Reading {
 public:
  Reading(ByteReader& in, Part& part) : in_(in), part_(part) {}
  void names() {
    read_names(in_, [&](std::uint32_t index, std::string_view text) {
      part_.names.push_back({index, text});
      return false;
    });
    order(part_.names);
  }
  void owners() {
    for (std::uint32_t left = in_.u32(); left > 0 && !in_.failed(); left--) {
      Part::Owner owner{.index = in_.u32(), .names = {}};
      owner.names.begin = in_.offset();
      read_names(in_, [](std::uint32_t, std::string_view) { return false; });
      owner.names.end = in_.offset();
      part_.owners.push_back(owner);
    }
    order(part_.owners);
  }

 private:
  ByteReader& in_;
  Part& part_;
};

ModuleNames::ModuleNames(std::shared_ptr<const Module> module) : module_(std::move(module)) {
  const auto section = std::ranges::find(module_->custom, section_name, &CustomSection::name);
  if (section != module_->custom.end()) read(section->bytes);
  take_exports();
}

void ModuleNames::read(ByteRange section) {
  const std::uint8_t* base = module_->bytes->data();
  ByteReader in(base, section.begin, section.end);
  for (unsigned next = 0; !in.at_end();) {
    const std::uint8_t id = in.byte();
    const std::uint32_t size = in.u32(), begin = in.offset();
    if (in.skip(size) == nullptr || in.failed() || id < next) return;
    next = id + 1U;  // each at most once, in ascending order
    if (id >= parts_.size()) continue;
    ByteReader part(base, begin, begin + size);
    Reading reading(part, parts_[id]);
    if (NameKind(id) == NameKind::module) {
      module_name_ = part.name();
    } else if (has_owners(NameKind(id))) {
      reading.owners();
    } else {
      reading.names();
    }
  }
}

void ModuleNames::take_exports() {
  std::vector<Name>& functions = parts_[std::size_t(NameKind::function)].names;
  std::vector<Name> exported;
  for (const std::uint32_t n : module_->exports_by_name) {
    const Export& e = module_->exports[n];
    const bool named = e.kind == ExternKind::function && at_index(functions, e.index) != functions.end();
    if (e.kind == ExternKind::function && !named) exported.push_back({e.index, e.name});
  }
  functions.insert(functions.end(), exported.begin(), exported.end());
  std::ranges::sort(functions, {}, [](const Name& name) { return std::pair(name.index, name.text); });
}

std::string_view ModuleNames::find(NameKind kind, std::uint32_t index) const {
  const std::vector<Name>& names = parts_[std::size_t(kind)].names;
  const auto at = at_index(names, index);
  return at == names.end() ? std::string_view{} : at->text;
}

std::string_view ModuleNames::find(NameKind kind, std::uint32_t owner, std::uint32_t index) const {
  const auto& owners = parts_[std::size_t(kind)].owners;
  const auto at = at_index(owners, owner);
  std::string_view name;
  if (at == owners.end()) return name;
  ByteReader in(module_->bytes->data(), at->names.begin, at->names.end);
  read_names(in, [&](std::uint32_t n, std::string_view text) {
    if (n == index) name = text;
    return n == index;
  });
  return name;
}

}  // namespace doppel::wasm
