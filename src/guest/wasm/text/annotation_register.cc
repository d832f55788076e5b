#include "guest/wasm/text/annotation_register.h"

#include <fmt/format.h>

#include <algorithm>

namespace doppel::wasm::text {

AnnotationRegister::AnnotationRegister(const TokenList& list, std::uint32_t begin, std::uint32_t end) {
  for (const auto& annotation : list.annotations)
    if (annotation.before >= begin && annotation.before <= end) entries_.push_back({&annotation});
}

std::vector<AnnotationRegister::Entry>::iterator AnnotationRegister::first_before(std::uint32_t position) {
  return std::ranges::lower_bound(entries_, position, {}, [](const Entry& e) { return e.annotation->before; });
}

const Annotation* AnnotationRegister::take(std::uint32_t position, std::string_view id) {
  for (auto entry = first_before(position); entry != entries_.end() && entry->annotation->before == position; ++entry) {
    if (entry->taken || entry->annotation->id != id) continue;
    entry->taken = true;
    return entry->annotation;
  }
  return nullptr;
}

std::vector<const Annotation*> AnnotationRegister::take_all(std::uint32_t position, std::string_view id) {
  std::vector<const Annotation*> found;
  for (auto entry = first_before(position); entry != entries_.end() && entry->annotation->before == position; ++entry) {
    if (entry->taken || entry->annotation->id != id) continue;
    entry->taken = true;
    found.push_back(entry->annotation);
  }
  return found;
}

const Annotation* AnnotationRegister::left() const {
  const auto entry = std::ranges::find(entries_, false, &Entry::taken);
  return entry == entries_.end() ? nullptr : entry->annotation;
}

void fail_annotation(Cursor& cursor, const Annotation& annotation, std::string_view what) {
  cursor.fail_at(annotation.offset, fmt::format("@{} annotation: {}", annotation.id, what));
}

std::string annotated_name(Cursor& cursor, const Annotation& annotation) {
  auto inside = Cursor::over(cursor.list(), annotation);
  auto name = inside.name();
  if (!inside.failed() && !inside.at_end()) inside.unexpected();
  if (inside.failed()) fail_annotation(cursor, annotation, inside.error()->message);
  return name;
}

}  // namespace doppel::wasm::text
