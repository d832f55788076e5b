#pragma once
#include <memory>
#include <string>

#include "storage/image_file.h"

namespace doppel {

/// An unnamed file in $TMPDIR, or /var/tmp, whose file systems are for large things. Messages call it WHAT in FOLDER.
Result<std::unique_ptr<ImageFile>> make_temporary_file(const std::string& what);

}  // namespace doppel
