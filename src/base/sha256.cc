#include "base/sha256.h"

// The functions below the provider interface: that one reads the system's configuration on first use, which a process
// in its sandbox cannot.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

namespace doppel {

Sha256 sha256(std::initializer_list<std::span<const std::byte>> parts) {
  SHA256_CTX context;
  SHA256_Init(&context);
  for (const auto part : parts) SHA256_Update(&context, part.data(), part.size());
  Sha256 out;
  SHA256_Final(reinterpret_cast<unsigned char*>(out.data()), &context);
  return out;
}

}  // namespace doppel
