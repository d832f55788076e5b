// The functions as modules import them, and what they do with arguments that nobody in good faith passes.
#include "process/wasi/function_table.h"

#include <map>
#include <random>
#include <set>

#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

std::string letters(const std::vector<wasm::ValueType>& types) {
  std::string out;
  for (const auto type : types) out += type == wasm::i32 ? 'i' : type == wasm::i64 ? 'I' : '?';
  return out;
}

/// As the C library declares them (legacy/preview1/docs.md).
const std::map<std::string, std::string> expected = {{"args_get", "ii"},
                                                     {"args_sizes_get", "ii"},
                                                     {"environ_get", "ii"},
                                                     {"environ_sizes_get", "ii"},
                                                     {"clock_res_get", "ii"},
                                                     {"clock_time_get", "iIi"},
                                                     {"fd_advise", "iIIi"},
                                                     {"fd_allocate", "iII"},
                                                     {"fd_close", "i"},
                                                     {"fd_datasync", "i"},
                                                     {"fd_fdstat_get", "ii"},
                                                     {"fd_fdstat_set_flags", "ii"},
                                                     {"fd_fdstat_set_rights", "iII"},
                                                     {"fd_filestat_get", "ii"},
                                                     {"fd_filestat_set_size", "iI"},
                                                     {"fd_filestat_set_times", "iIIi"},
                                                     {"fd_pread", "iiiIi"},
                                                     {"fd_prestat_get", "ii"},
                                                     {"fd_prestat_dir_name", "iii"},
                                                     {"fd_pwrite", "iiiIi"},
                                                     {"fd_read", "iiii"},
                                                     {"fd_readdir", "iiiIi"},
                                                     {"fd_renumber", "ii"},
                                                     {"fd_seek", "iIii"},
                                                     {"fd_sync", "i"},
                                                     {"fd_tell", "ii"},
                                                     {"fd_write", "iiii"},
                                                     {"path_create_directory", "iii"},
                                                     {"path_filestat_get", "iiiii"},
                                                     {"path_filestat_set_times", "iiiiIIi"},
                                                     {"path_link", "iiiiiii"},
                                                     {"path_open", "iiiiiIIii"},
                                                     {"path_readlink", "iiiiii"},
                                                     {"path_remove_directory", "iii"},
                                                     {"path_rename", "iiiiii"},
                                                     {"path_symlink", "iiiii"},
                                                     {"path_unlink_file", "iii"},
                                                     {"poll_oneoff", "iiii"},
                                                     {"proc_exit", "i"},
                                                     {"proc_raise", "i"},
                                                     {"random_get", "ii"},
                                                     {"sched_yield", ""},
                                                     {"sock_accept", "iii"},
                                                     {"sock_recv", "iiiiii"},
                                                     {"sock_send", "iiiii"},
                                                     {"sock_shutdown", "ii"}};

TEST(FunctionTable, EveryFunctionOfBothModulesIsThereOnceWithItsType) {
  const Folders folders;
  Rig rig(Rig::configuration(folders));
  std::map<std::string, std::string> found, old;
  for (const auto& function : rig.functions()) {
    auto& module = function.module == "wasi_unstable" ? old : found;
    EXPECT_TRUE(module.emplace(function.name, letters(function.parameters)).second) << function.name << " twice";
    EXPECT_EQ(letters(function.results), function.name == "proc_exit" ? "" : "i") << function.name;
  }
  EXPECT_EQ(found, expected);
  auto without = expected;
  without.erase("sock_accept");
  EXPECT_EQ(old, without);
}

/// A call that succeeds, and which of its arguments are addresses.
struct Sample {
  std::string name;
  std::vector<std::uint64_t> arguments;
  std::vector<std::size_t> addresses;
};

class Addresses : public testing::Test {
 protected:
  Addresses() : rig_(configuration(folders_)) {
    Folders::write(folders_.granted("file"), "content");
    EXPECT_EQ(symlink("file", folders_.granted("link").c_str()), 0);
    file_ = rig_.must_open("file");
  }
  static WasiConfiguration configuration(const Folders& folders) {
    auto out = Rig::configuration(folders);
    out.arguments = {"program", "argument"};
    out.environment = {"A=B"};
    return out;
  }
  std::vector<Sample> samples() {
    const auto file = rig_.put("file"), link = rig_.put("link");
    const std::uint64_t buffer = rig_.room(64), vector = rig_.vector(std::uint32_t(buffer), 8), fd = file_, root = 3;
    const std::uint64_t subscription = rig_.room(48);
    rig_.set<std::uint8_t>(std::uint32_t(subscription) + 8, 1);
    rig_.set<std::uint32_t>(std::uint32_t(subscription) + 16, file_);
    return {{"args_get", {512, 1024}, {0, 1}},
            {"args_sizes_get", {0, 8}, {0, 1}},
            {"environ_get", {512, 1024}, {0, 1}},
            {"environ_sizes_get", {0, 8}, {0, 1}},
            {"clock_res_get", {0, 8}, {1}},
            {"clock_time_get", {1, 0, 8}, {2}},
            {"fd_fdstat_get", {fd, 8}, {1}},
            {"fd_filestat_get", {fd, 8}, {1}},
            {"fd_pread", {fd, vector, 1, 0, 8}, {1, 4}},
            {"fd_prestat_get", {root, 8}, {1}},
            {"fd_prestat_dir_name", {root, 8, 1}, {1}},
            {"fd_pwrite", {fd, vector, 1, 0, 8}, {1, 4}},
            {"fd_read", {fd, vector, 1, 8}, {1, 3}},
            {"fd_readdir", {root, 512, 100, 0, 8}, {1, 4}},
            {"fd_seek", {fd, 0, 0, 8}, {3}},
            {"fd_tell", {fd, 8}, {1}},
            {"fd_write", {fd, vector, 1, 8}, {1, 3}},
            {"path_create_directory", {root, rig_.put("new folder").at, 10}, {1}},
            {"path_filestat_get", {root, 0, file.at, 4, 512}, {2, 4}},
            {"path_filestat_set_times", {root, 0, file.at, 4, 0, 0, 1}, {2}},
            {"path_link", {root, 0, file.at, 4, root, rig_.put("hard").at, 4}, {2, 5}},
            {"path_open", {root, 0, file.at, 4, 0, 2, 0, 0, 8}, {2, 8}},
            {"path_readlink", {root, link.at, 4, 512, 16, 8}, {1, 3, 5}},
            {"path_rename", {root, rig_.put("hard").at, 4, root, rig_.put("moved").at, 5}, {1, 4}},
            {"path_symlink", {file.at, 4, root, rig_.put("soft").at, 4}, {0, 3}},
            {"path_unlink_file", {root, rig_.put("moved").at, 5}, {1}},
            {"path_remove_directory", {root, rig_.put("new folder").at, 10}, {1}},
            {"poll_oneoff", {subscription, 512, 1, 8}, {0, 1, 3}},
            {"random_get", {512, 16}, {0}}};
  }

  Folders folders_;
  Rig rig_;
  std::uint32_t file_ = 0;
};

TEST_F(Addresses, ThatAreBadAreAnErrorOfTheGuests) {
  for (const auto& sample : samples()) {
    for (const auto place : sample.addresses)
      for (const std::uint64_t bad :
           std::initializer_list<std::uint64_t>{0xffffffff, 0xfffffff8, 0x80000000, Rig::bytes, Rig::bytes - 1}) {
        auto arguments = sample.arguments;
        arguments[place] = bad;
        // One byte may lie there, and is all that a call wants of it.
        if (bad == Rig::bytes - 1 && sample.name == "fd_prestat_dir_name") continue;
        rig_.run("wasi_snapshot_preview1", sample.name, arguments);
        EXPECT_EQ(rig_.error(), Errno::fault) << sample.name << " with argument " << place << " = " << bad;
      }
    rig_.run("wasi_snapshot_preview1", sample.name, sample.arguments);
    EXPECT_EQ(rig_.error(), Errno::success) << sample.name << " (else the test is of nothing)";
  }
}

TEST_F(Addresses, AndSizesThatOverflowTogetherAreAnErrorToo) {
  for (const std::uint64_t size : std::initializer_list<std::uint64_t>{0xffffffff, 0x80000000, Rig::bytes}) {
    EXPECT_EQ(rig_.call("random_get", 8, size), Errno::fault);
    EXPECT_EQ(rig_.call("fd_read", file_, 8, size, 0), Errno::fault);
    EXPECT_EQ(rig_.call("fd_readdir", 3, 8, size, 0, 0), Errno::fault);
    EXPECT_EQ(rig_.call("path_readlink", 3, rig_.put("link").at, 4, 8, size, 0), Errno::fault);
    EXPECT_EQ(rig_.call("path_unlink_file", 3, 8, size), Errno::nametoolong);
    EXPECT_EQ(rig_.call("poll_oneoff", 8, 8, size, 0), Errno::inval);
  }
  const auto vector = rig_.vector(Rig::bytes - 4, 5);
  EXPECT_EQ(rig_.call("fd_write", file_, vector, 1, 0), Errno::fault);
}

TEST_F(Addresses, AModuleWithoutAMemoryGetsAnErrorForEach) {
  wasm::Store store;
  auto& instance = store.instances.emplace_back();
  for (const auto& function : rig_.functions()) {
    if (function.name == "proc_exit" || function.name == "fd_close") continue;
    std::vector<wasm::Cell> arguments(function.parameters.size(), wasm::Cell::of_i32(3)), results(1);
    for (wasm::Instance* caller : {&instance, static_cast<wasm::Instance*>(nullptr)})
      function.call({store, caller, arguments, results});
  }
}

TEST_F(Addresses, AnythingAtAllEndsInAnAnswer) {
  std::mt19937_64 random(1);
  const std::uint64_t interesting[] = {0, 1, 2, 3, 4, 5, 8, 64, 4096, 0xffffffff, 0x7fffffff, Rig::bytes - 8, ~0ULL};
  for (int round = 0; round < 20'000; round++) {
    const auto& function = rig_.functions()[random() % rig_.functions().size()];
    // Without a deadline it may wait for ever, as it should.
    if (function.name == "poll_oneoff") continue;
    std::vector<std::uint64_t> arguments;
    for (std::size_t n = 0; n < function.parameters.size(); n++)
      arguments.push_back(random() % 4 ? interesting[random() % std::size(interesting)] : random());
    const auto outcome = rig_.run(function, arguments);
    if (outcome.kind == wasm::HostOutcome::Kind::returned) EXPECT_LE(unsigned(rig_.error()), 76u) << function.name;
  }
}

TEST(GuestView, ReadsAndWritesOnlyWhatIsThere) {
  std::uint8_t bytes[16] = {1, 2, 3, 4, 5, 6, 7, 8};
  const GuestView view(bytes);
  EXPECT_EQ(view.read<std::uint32_t>(1), 0x05040302u);
  EXPECT_EQ(view.read<std::uint64_t>(8), 0u);
  EXPECT_EQ(view.read<std::uint64_t>(9), std::nullopt);
  EXPECT_EQ(view.read<std::uint8_t>(~0ULL), std::nullopt);
  EXPECT_EQ(view.write<std::uint16_t>(14, 0x1234), Errno::success);
  EXPECT_EQ(bytes[15], 0x12);
  EXPECT_EQ(view.write<std::uint16_t>(15, 1), Errno::fault);
  EXPECT_TRUE(view.bytes(16, 0)) << "nothing, at the end";
  EXPECT_FALSE(view.bytes(17, 0));
  EXPECT_FALSE(view.bytes(1, ~0ULL));
}

TEST(GuestView, ScatteredSizesAreBoundedTogether) {
  std::vector<std::uint8_t> bytes(8 << 20);
  const GuestView view(bytes);
  const auto put = [&](std::uint32_t n, std::uint32_t at, std::uint32_t size) {
    view.write(n * 8, at);
    view.write(n * 8 + 4, size);
  };
  std::vector<iovec> out;
  for (std::uint32_t n = 0; n < 5000; n++) put(n, 0, 8 << 20);
  EXPECT_EQ(view.vectors(0, 5000, out), Errno::inval) << "more than 2^32-1 bytes in all";
  ASSERT_EQ(view.vectors(0, 500, out), Errno::success);
  std::uint64_t total = 0;
  for (const auto& vector : out) total += vector.iov_len;
  EXPECT_LE(total, 1ULL << 31);
  for (std::uint32_t n = 0; n < 5000; n++) put(n, n, 1);
  ASSERT_EQ(view.vectors(0, 5000, out), Errno::success);
  EXPECT_EQ(out.size(), 1024u) << "as many as the host takes";
  EXPECT_EQ(view.vectors(0, (1 << 20) + 1, out), Errno::fault);
}

}  // namespace
}  // namespace doppel::wasi
