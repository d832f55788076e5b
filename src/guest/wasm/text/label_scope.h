#pragma once
// The labels of the blocks that are open (core specification, 6.5.1).
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doppel::wasm::text {

class LabelScope {
 public:
  /// A block is entered; its label may be empty.
  void push(std::string label) {
    if (!label.empty()) depths_[label].push_back(std::uint32_t(labels_.size()));
    labels_.push_back(std::move(label));
  }
  void pop() {
    if (const auto found = depths_.find(labels_.back()); found != depths_.end()) {
      found->second.pop_back();
      if (found->second.empty()) depths_.erase(found);
    }
    labels_.pop_back();
  }
  std::uint32_t depth() const { return std::uint32_t(labels_.size()); }
  /// Of the block that has `inside` others in it; empty if it has none.
  const std::string& at(std::uint32_t inside) const { return labels_[labels_.size() - 1 - inside]; }
  const std::string& innermost() const { return labels_.back(); }
  /// How many blocks are inside the one with this label.
  std::optional<std::uint32_t> find(std::string_view label) const {
    const auto found = depths_.find(label);
    if (found == depths_.end()) return {};
    return std::uint32_t(labels_.size()) - 1 - found->second.back();
  }

 private:
  std::vector<std::string> labels_;
  std::map<std::string, std::vector<std::uint32_t>, std::less<>> depths_;
};

}  // namespace doppel::wasm::text
