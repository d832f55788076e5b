#pragma once
// A folder for one test's files, and the few things that all storage tests do.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "storage/disk.h"

namespace doppel {

using Bytes = std::vector<std::byte>;

/// A fresh folder, removed at the end of the test.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "doppel-storage-XXXXXX").string();
    if (!mkdtemp(name.data())) std::abort();
    folder_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  const std::string& folder() const { return folder_; }

  /// Runs a shell command in the folder; its exit status.
  int run(const std::string& command) const {
    return std::system(("cd '" + folder_ + "' && { " + command + " ; } > log 2>&1").c_str());
  }
  std::string log() const {
    return std::string(std::istreambuf_iterator<char>(std::ifstream(path("log")).rdbuf()), {});
  }

 private:
  std::string folder_;
};

#define RUN(scratch, command) ASSERT_EQ((scratch).run(command), 0) << (command) << "\n" << (scratch).log()

inline void write_file(const std::string& path, const Bytes& content) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
}

inline Bytes read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  Bytes out(std::filesystem::file_size(path));
  in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
  EXPECT_TRUE(in.good()) << path;
  return out;
}

/// Like a disk: random parts, parts that compress well, and empty parts, in pieces of no particular size.
inline Bytes disk_content(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes out(size);
  for (std::size_t at = 0; at < size;) {
    const std::size_t piece = std::min<std::size_t>(size - at, 512 * (1 + random() % 400));
    const unsigned kind = random() % 3;
    for (std::size_t i = 0; kind != 0 && i < piece; i++) {
      out[at + i] = std::byte(kind == 1 ? random() : "doppel gaenger\n"[(at + i) % 15] + (i / 512) % 3);
    }
    at += piece;
  }
  return out;
}

inline Bytes pattern(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes out(size);
  for (auto& byte : out) byte = std::byte(random() | 1);
  return out;
}

/// What --disk PATH,OPTION means.
inline DiskSpec spec_of(const std::string& path, const std::string& option = "") {
  auto spec = parse_disk_spec(option.empty() ? path : path + "," + option);
  EXPECT_TRUE(spec.ok()) << spec.message();
  return spec ? *spec : DiskSpec{};
}

inline std::unique_ptr<Disk> must_open(const DiskSpec& spec) {
  auto disk = open_disk(spec);
  EXPECT_TRUE(disk.ok()) << disk.message();
  return disk ? std::move(*disk) : nullptr;
}

inline Bytes must_read(Disk& disk, std::uint64_t offset, std::uint64_t length) {
  Bytes out(length);
  auto got = disk.read(offset, out);
  EXPECT_TRUE(got.ok()) << got.message();
  return out;
}

/// One sentence for a terminal: some text, one line, no full stop.
inline void expect_sentence(const std::string& message) {
  EXPECT_GT(message.size(), 15u);
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_NE(message.back(), '.') << message;
}

/// Opening fails with a sentence that has `part` in it.
inline void expect_refused(const DiskSpec& spec, const std::string& part) {
  auto disk = open_disk(spec);
  ASSERT_FALSE(disk.ok()) << "opened, but should say: " << part;
  expect_sentence(disk.message());
  EXPECT_NE(disk.message().find(part), std::string::npos) << disk.message();
}

}  // namespace doppel
