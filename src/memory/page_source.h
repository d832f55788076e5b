#pragma once
// Where the pages of a memory come from that are not in it yet: a snapshot on disk, of which only what is touched is
// read.
#include <cstddef>
#include <cstdint>
#include <string>

namespace doppel {

/// The pages of one space (a memory, or the blocks of a disk that lie over another), by their number from its
/// beginning. All functions may be called by any thread, several at once.
class PageSource {
 public:
  virtual ~PageSource() = default;
  /// How many pages the space has; numbers are below it. Not all of them are held.
  virtual std::uint64_t pages() const = 0;
  virtual bool holds(std::uint64_t page) const = 0;
  /// The first page from this one on that is held; pages() if there is none.
  virtual std::uint64_t next(std::uint64_t page) const {
    while (page < pages() && !holds(page)) page++;
    return page;
  }
  /// The bytes of a page that is held. They never change, and stay where they are as long as the source lives. Null
  /// when they cannot be had: failure() says why.
  virtual const std::byte* bring(std::uint64_t page) = 0;
  /// One sentence about the first page that could not be had; empty as long as all could.
  virtual std::string failure() const = 0;
};

}  // namespace doppel
