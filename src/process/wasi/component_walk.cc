#include "process/wasi/component_walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <optional>
#include <vector>

#include "base/file_descriptor.h"

namespace doppel::wasi {
namespace {

constexpr int most_links = 40;  // as many as the kernel follows
constexpr std::size_t most_depth = PATH_MAX / 2;

/// The text of the link `name`, or of the link that `folder` is when it is empty. Error: a negative errno.
int read_link(int folder, const char* name, std::string& out) {
  char text[PATH_MAX];
  const ssize_t size = readlinkat(folder, name, text, sizeof text);
  if (size < 0) return -errno;
  out.assign(text, std::size_t(size));
  return 0;
}

class Walk {
 public:
  Walk(int folder, const std::string& path, int flags, mode_t mode)
      : folder_(folder), rest_(path), flags_(flags), mode_(mode) {}

  int run() {
    if (!rest_.empty() && rest_.back() == '/' && (flags_ & O_CREAT)) return -EISDIR;
    while (true) {
      if (rest_.empty()) return -ENOENT;
      if (rest_.front() == '/') return -EXDEV;
      const std::string name = take();
      const int result = rest_.empty() ? last(name) : enter(name);
      if (result != 0) return result < 0 ? result : result - 1;
    }
  }

 private:
  int top() const { return folders_.empty() ? folder_ : folders_.back().get(); }

  /// The next component. A slash behind the last stands for a component ".".
  std::string take() {
    const auto slash = rest_.find('/');
    std::string name = rest_.substr(0, slash);
    if (slash == std::string::npos) {
      rest_.clear();
    } else {
      const auto next = rest_.find_first_not_of('/', slash);
      rest_ = next == std::string::npos ? "." : rest_.substr(next);
    }
    return name;
  }

  /// What a link says comes before what is left. Error: a negative errno.
  int follow(const std::string& text) {
    if (++links_ > most_links) return -ELOOP;
    if (text.empty()) return -ENOENT;
    rest_ = rest_.empty() ? text : text + "/" + rest_;
    return rest_.size() > std::size_t{PATH_MAX} * 2 ? -ENAMETOOLONG : 0;
  }

  int leave() {
    if (folders_.empty()) return -EXDEV;
    folders_.pop_back();
    return 0;
  }

  /// Goes into a folder on the way: 0, or a negative errno.
  int enter(const std::string& name) {
    if (name == ".") return 0;
    if (name == "..") return leave();
    FileDescriptor next(openat(top(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status{};
    if (!next || fstat(next.get(), &status) != 0) return -errno;
    if (S_ISLNK(status.st_mode)) {
      std::string text;
      const int failed = read_link(next.get(), "", text);
      return failed ? failed : follow(text);
    }
    if (!S_ISDIR(status.st_mode)) return -ENOTDIR;
    if (folders_.size() >= most_depth) return -ENAMETOOLONG;
    folders_.push_back(std::move(next));
    return 0;
  }

  /// Opens what the path ends in: the descriptor and one, a negative errno, or 0 where a link is to be followed.
  int last(const std::string& name) {
    if (name == "..") {
      if (const int failed = leave()) return failed;
    }
    const bool dots = name == "." || name == "..";
    const int fd = openat(top(), dots ? "." : name.c_str(), flags_ | O_NOFOLLOW, mode_);
    if (fd < 0) return dots || !may_be_link(errno) ? -errno : last_link(name, errno);
    if (!(flags_ & O_PATH) || (flags_ & O_NOFOLLOW)) return fd + 1;
    struct stat status{};
    if (fstat(fd, &status) != 0 || !S_ISLNK(status.st_mode)) return fd + 1;
    ::close(fd);
    return last_link(name, ELOOP);
  }

  /// With O_DIRECTORY the kernel says of a link that it is no folder.
  static bool may_be_link(int error) { return error == ELOOP || error == ENOTDIR; }

  int last_link(const std::string& name, int error) {
    if (flags_ & O_NOFOLLOW) return -error;
    std::string text;
    if (read_link(top(), name.c_str(), text) != 0) return -error;
    return follow(text);
  }

  const int folder_;
  std::string rest_;
  const int flags_;
  const mode_t mode_;
  std::vector<FileDescriptor> folders_;
  int links_ = 0;
};

}  // namespace

int walk_components(int folder, const std::string& path, int flags, mode_t mode) {
  return Walk(folder, path, flags, mode).run();
}

}  // namespace doppel::wasi
