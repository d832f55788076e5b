#pragma once
// Looks at everything that an engine under test translates: the IR must be sound, and its text must read back.
#include <cstdio>
#include <cstdlib>

#include "engine/translation_observer.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"

namespace doppel {

class SoundIr final : public TranslationObserver {
 public:
  void made(const MadeTranslation& translation) override {
    ir::expect_sound(translation.ir, "the engine under test");
    const auto text = ir::print(translation.ir);
    const auto again = ir::parse(text);
    if (again && *again == translation.ir) return;
    std::fputs(("this text does not read back as what it was printed from:\n" + text).c_str(), stderr);
    std::abort();
  }
};

}  // namespace doppel
