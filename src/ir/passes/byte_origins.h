#pragma once
// Bytes that are read one by one and put together, as compilers do where loads must be aligned, are one load.
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "ir/code.h"

namespace doppel::ir {

/// Follows, of values in a list that grows, where in memory each of their bytes comes from.
class ByteOrigins {
 public:
  explicit ByteOrigins(const std::vector<Instruction>& list) : list_(list) {}

  struct Origin {
    Value root;             // addresses are this value and an offset
    std::uint32_t version;  // of memory
    Value first, lowest;    // the first load of the list that bytes are from, and that of the lowest address
    std::array<std::int32_t, 8> at;
  };
  struct Joined {
    Instruction load;
    bool swapped;   // its bytes are then to be reversed
    Origin origin;  // of the load
  };

  /// What the list has been extended by.
  void appended(const Instruction& i);
  void appended(const Joined& joined) { note(joined.origin); }
  /// The load that gives what `i`, not in the list yet, is put together from. Nothing where it is no load's worth of
  /// bytes, or memory may have changed meanwhile.
  std::optional<Joined> joined(const Instruction& i) const;

 private:
  static constexpr std::int32_t zero = INT32_MIN, unknown = INT32_MAX;
  void note(const std::optional<Origin>& found);
  const Instruction& at(Value value) const { return list_[value]; }
  const Origin* origin(Value value) const {
    return value == no_value || index_[value] == 0 ? nullptr : &origins_[index_[value] - 1];
  }
  std::optional<std::int64_t> constant(Value value) const;
  std::optional<Origin> of_load(const Instruction& i, Value value) const;
  std::optional<Origin> of(const Instruction& i) const;
  std::optional<Origin> both(const Origin& x, const Origin& y) const;
  bool only_these(const Origin& o, std::int32_t low, unsigned size) const;

  const std::vector<Instruction>& list_;
  std::vector<std::uint16_t> index_;  // of values: their origin's, counted from 1; 0: none
  std::vector<Origin> origins_;
  std::uint32_t version_ = 0;
};

}  // namespace doppel::ir
