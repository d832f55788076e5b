#pragma once
#include <functional>

#include "stream.h"

namespace doppel::differential {

/// The stream with as many items left out as `still_fails` allows; it must fail as it is.
Stream shrink(Stream stream, const std::function<bool(const Stream&)>& still_fails);

}  // namespace doppel::differential
