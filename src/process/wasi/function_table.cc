#include "process/wasi/function_table.h"

#include <utility>

namespace doppel::wasi {
namespace {

template <typename T>
constexpr char letter() {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  return sizeof(T) == 4 ? 'i' : 'I';
}

/// A member function of Context as a row wants it.
template <auto member>
struct Handler;
template <typename Ending, typename... Arguments, Ending (Context::*member)(const GuestView&, Arguments...)>
struct Handler<member> {
  static constexpr std::size_t count = sizeof...(Arguments);
  static constexpr bool takes(std::string_view parameters) {
    const char own[] = {letter<Arguments>()..., '\0'};
    return parameters == std::string_view(own, count);
  }
  static Answer call(Context& context, const GuestView& memory, std::span<const wasm::Cell> arguments) {
    return [&]<std::size_t... n>(std::index_sequence<n...>) {
      return Answer((context.*member)(memory, Arguments(arguments[n].low)...));
    }(std::make_index_sequence<count>());
  }
};

/// Does not compile where the letters are not the member's.
template <auto member>
consteval FunctionRow row(std::string_view name, std::string_view parameters, std::string_view results = "i") {
  if (!Handler<member>::takes(parameters)) throw "the parameters are not those of the member function";
  return {name, parameters, results, Handler<member>::call};
}

using C = Context;
constexpr FunctionRow preview1[] = {
    row<&C::args_get>("args_get", "ii"),
    row<&C::args_sizes_get>("args_sizes_get", "ii"),
    row<&C::environ_get>("environ_get", "ii"),
    row<&C::environ_sizes_get>("environ_sizes_get", "ii"),
    row<&C::clock_res_get>("clock_res_get", "ii"),
    row<&C::clock_time_get>("clock_time_get", "iIi"),
    row<&C::fd_advise>("fd_advise", "iIIi"),
    row<&C::fd_allocate>("fd_allocate", "iII"),
    row<&C::fd_close>("fd_close", "i"),
    row<&C::fd_datasync>("fd_datasync", "i"),
    row<&C::fd_fdstat_get>("fd_fdstat_get", "ii"),
    row<&C::fd_fdstat_set_flags>("fd_fdstat_set_flags", "ii"),
    row<&C::fd_fdstat_set_rights>("fd_fdstat_set_rights", "iII"),
    row<&C::fd_filestat_get>("fd_filestat_get", "ii"),
    row<&C::fd_filestat_set_size>("fd_filestat_set_size", "iI"),
    row<&C::fd_filestat_set_times>("fd_filestat_set_times", "iIIi"),
    row<&C::fd_pread>("fd_pread", "iiiIi"),
    row<&C::fd_prestat_get>("fd_prestat_get", "ii"),
    row<&C::fd_prestat_dir_name>("fd_prestat_dir_name", "iii"),
    row<&C::fd_pwrite>("fd_pwrite", "iiiIi"),
    row<&C::fd_read>("fd_read", "iiii"),
    row<&C::fd_readdir>("fd_readdir", "iiiIi"),
    row<&C::fd_renumber>("fd_renumber", "ii"),
    row<&C::fd_seek>("fd_seek", "iIii"),
    row<&C::fd_sync>("fd_sync", "i"),
    row<&C::fd_tell>("fd_tell", "ii"),
    row<&C::fd_write>("fd_write", "iiii"),
    row<&C::path_create_directory>("path_create_directory", "iii"),
    row<&C::path_filestat_get>("path_filestat_get", "iiiii"),
    row<&C::path_filestat_set_times>("path_filestat_set_times", "iiiiIIi"),
    row<&C::path_link>("path_link", "iiiiiii"),
    row<&C::path_open>("path_open", "iiiiiIIii"),
    row<&C::path_readlink>("path_readlink", "iiiiii"),
    row<&C::path_remove_directory>("path_remove_directory", "iii"),
    row<&C::path_rename>("path_rename", "iiiiii"),
    row<&C::path_symlink>("path_symlink", "iiiii"),
    row<&C::path_unlink_file>("path_unlink_file", "iii"),
    row<&C::poll_oneoff>("poll_oneoff", "iiii"),
    row<&C::proc_exit>("proc_exit", "i", ""),
    row<&C::proc_raise>("proc_raise", "i"),
    row<&C::random_get>("random_get", "ii"),
    row<&C::sched_yield>("sched_yield", ""),
    row<&C::sock_accept>("sock_accept", "iii"),
    row<&C::sock_recv>("sock_recv", "iiiiii"),
    row<&C::sock_send>("sock_send", "iiiii"),
    row<&C::sock_shutdown>("sock_shutdown", "ii"),
};

constexpr FunctionRow unstable[] = {
    row<&C::fd_filestat_get_unstable>("fd_filestat_get", "ii"),
    row<&C::fd_seek_unstable>("fd_seek", "iIii"),
    row<&C::path_filestat_get_unstable>("path_filestat_get", "iiiii"),
    row<&C::poll_oneoff_unstable>("poll_oneoff", "iiii"),
};

}  // namespace

std::span<const FunctionRow> preview1_functions() { return preview1; }
std::span<const FunctionRow> unstable_functions() { return unstable; }

}  // namespace doppel::wasi
