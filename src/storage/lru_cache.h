#pragma once
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace doppel {

/// At most `capacity` immutable values by key; the one not asked for longest goes first. Values are shared, so that one
/// can be used while it is dropped. Safe from several threads.
template <typename Key, typename Value>
class LruCache {
 public:
  explicit LruCache(std::size_t capacity) : capacity_(capacity) {}

  /// Null where it is not there.
  std::shared_ptr<const Value> find(const Key& key) {
    std::lock_guard guard(lock_);
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return found->second->second;
  }

  void insert(const Key& key, std::shared_ptr<const Value> value) {
    std::lock_guard guard(lock_);
    if (index_.contains(key)) return;  // another thread was as fast
    order_.emplace_front(key, std::move(value));
    index_[key] = order_.begin();
    if (order_.size() <= capacity_) return;
    index_.erase(order_.back().first);
    order_.pop_back();
  }

  std::size_t size() {
    std::lock_guard guard(lock_);
    return order_.size();
  }

 private:
  using Order = std::list<std::pair<Key, std::shared_ptr<const Value>>>;
  std::mutex lock_;
  std::size_t capacity_;
  Order order_;  // the latest first
  std::unordered_map<Key, typename Order::iterator> index_;
};

}  // namespace doppel
