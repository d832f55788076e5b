#pragma once
// The process confines itself before the first guest instruction: whoever breaks out of the guest finds a process that
// can do nothing but what a running machine does.
#include <string>
#include <vector>

#include "base/result.h"

namespace doppel {

/// What the machine needs beyond computing and the files that it has open.
struct SandboxOptions {
  bool network = false;   // the user-mode network: internet sockets, and reading the host's resolver configuration
  bool io_uring = false;  // submitting to rings that exist already
  bool threads = false;   // starting threads; not needed where all exist before
  bool control_socket = false;  // clients of a socket that listens already, and descriptors that they pass
  /// The directory where a console's socket is removed at the end (Console::socket_directory()); its clients are
  /// accepted.
  std::string socket_directory = {};
  /// Files that may still be opened for reading; what is empty or not there is left out.
  std::vector<std::string> readable = {};
};

/// Where the kernel has Landlock: from now on the calling thread and the threads that it starts can open no file but
/// the resolver's configuration (only with `network`), and make or remove none but in socket_directory; so do the rings
/// that they submit to. Threads that exist are not restricted, so this comes when all files are open and before threads
/// start: at the latest before the thread of the event loop and those of the harts. False: this kernel has no Landlock.
/// An error is a directory that is not there.
Result<bool> restrict_files(const SandboxOptions& options);

/// No new privileges, and a filter of system calls on all threads of the process: what is not allowed ends the process
/// with SIGSYS. There is no way back. Opening a file for reading where it is not allowed fails with EACCES instead,
/// because C library functions do it that live without (time zones, message catalogues). Everything that is written
/// after the run (signatures, statistics) goes to files that are open before. Calls restrict_files() if nobody did.
/// Where the kernel or an outer sandbox does not allow filters, it is an error that names --no-sandbox.
Result<void> enter_sandbox(const SandboxOptions& options);

}  // namespace doppel
